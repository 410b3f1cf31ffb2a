"""Masks that are none: what decoders make of an opaque image, and black masks that are meant."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

from mofe_restore.tests.nodes.standins import Host, Prompt, run

STEP = 1 / 255

pytestmark = pytest.mark.field


def prompt_with(source: str, output: int, **inputs: Any) -> dict[str, Any]:
    """Restore is node 1, its mask comes from node 2."""
    return {
        "1": {"class_type": "MoFE_Restore", "inputs": {"mask": ["2", output]}},
        "2": {"class_type": source, "inputs": inputs},
    }


@pytest.fixture
def restore(nodes: ModuleType, restorer: Any) -> Callable[..., Any]:
    def restore(image: torch.Tensor, **settings: Any) -> Any:
        settings = {"restorer": restorer, "image": image, "strength": 1.0, "tile_size": 0, **settings}
        return run(nodes.Restore, **settings)

    return restore


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(1, 40, 56, 3, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("value", [0.0, STEP, 0.00390625])
@pytest.mark.parametrize("source", [("LoadImage", 1), ("LoadImageOutput", 1), ("SplitImageWithAlpha", 1)])
def test_row1_the_mask_of_an_opaque_image_is_no_mask(
    restore: Callable[..., Any], image: torch.Tensor, host: Host, value: float, source: tuple[str, int]
) -> None:
    output = restore(image, mask=torch.full((1, 40, 56), value), _prompt=prompt_with(*source))
    assert torch.equal(output.args[0], restore(image).args[0])
    assert "counts as no mask" in host.texts[0][0]


def test_row1_an_image_of_the_empty_masks_own_size_is_repaired_too(restore: Callable[..., Any]) -> None:
    image = torch.rand(1, 64, 64, 3)
    output = restore(image, mask=torch.zeros(1, 64, 64), _prompt=prompt_with("LoadImage", 1))
    assert torch.equal(output.args[0], restore(image).args[0])


@pytest.mark.parametrize("value", [0.0, STEP])
@pytest.mark.parametrize("prompt", [None, prompt_with("SolidMask", 0), prompt_with("LoadImageMask", 0, channel="red")])
def test_row1_a_black_mask_of_another_origin_is_obeyed_and_the_node_says_so(
    restore: Callable[..., Any], image: torch.Tensor, host: Host, value: float, prompt: Any
) -> None:
    output = restore(image, mask=torch.full((1, 40, 56), value), _prompt=prompt)
    assert torch.equal(output.args[0], image)
    ((text, node_id),) = host.texts
    assert text.startswith("Nothing was changed: the mask is black everywhere.") and node_id == "1"
    assert output.ui == {"text": (text,)}, "and the history of the run has it, for scripts"


def test_row1_black_areas_beside_painted_ones_stay_bit_exact(restore: Callable[..., Any], image: torch.Tensor) -> None:
    mask = torch.full((1, 40, 56), STEP)
    mask[:, 10:30, 20:40] = 1
    for settings in ({}, {"feather": 5}, {"_prompt": prompt_with("LoadImage", 1)}):
        result = restore(image, mask=mask, **settings).args[0]
        assert torch.equal(result[mask < 1], image[mask < 1])
        assert not torch.equal(result[mask == 1], image[mask == 1])


def test_row1_a_mask_of_another_size_has_black_areas_too(restore: Callable[..., Any], image: torch.Tensor) -> None:
    mask = torch.full((1, 80, 112), STEP)
    mask[:, :, 60:] = 1
    result = restore(image, mask=mask).args[0]
    assert torch.equal(result[:, :, :28], image[:, :, :28]) and not torch.equal(result, image)


def test_thin_strokes_of_a_larger_mask_are_repaired(restore: Callable[..., Any], image: torch.Tensor) -> None:
    from mofe_restore.nodes.masks import fit_mask

    for axis in (1, 2):
        strokes = torch.zeros(1, 640, 896).index_fill(axis, torch.tensor([160, 320, 321, 500]), 1.0)
        fitted = fit_mask(strokes, 40, 56, 0)
        assert fitted is not None
        painted = (fitted > 0).all(3 - axis)[0]
        assert painted[[10, 20, 31]].all() and not painted[[5, 15, 25]].any()
        assert float(fitted.sum()) * 16**2 == pytest.approx(float(strokes.sum()), rel=0.05), "as much as was painted"
        assert not torch.equal(restore(image, mask=strokes).args[0], image)


def test_a_mask_that_is_shrunk_on_one_side_grows_on_the_other_as_ever(nodes: ModuleType) -> None:
    from mofe_restore.nodes.masks import fit_mask

    mask = torch.zeros(1, 20, 560)
    mask[:, 10:] = 1
    fitted, smooth = fit_mask(mask, 40, 56, 0), fit_mask(mask[:, :, :56], 40, 56, 0)
    assert fitted is not None and smooth is not None and torch.allclose(fitted, smooth, atol=1e-6)
    assert not fitted[:, :19].any() and bool((fitted[:, 21:] > 0.999).all())


def test_row1_the_node_counts_the_images_that_a_mask_leaves_out(
    restore: Callable[..., Any], image: torch.Tensor, host: Host
) -> None:
    mask = torch.zeros(3, 40, 56)
    mask[1] = 1
    result = restore(image.repeat(3, 1, 1, 1), mask=mask).args[0]
    assert [torch.equal(frame, image[0]) for frame in result] == [True, False, True]
    assert "Repaired: 1 of 3 images." in host.texts[0][0]
    assert "Unchanged: 2 of 3 images: the mask is black there." in host.texts[0][0]


def test_the_node_tells_what_is_transparent_from_what_is_masked(
    restore: Callable[..., Any], image: torch.Tensor, host: Host
) -> None:
    batch, mask = torch.cat([image, torch.ones(1, 40, 56, 1)], -1).repeat(4, 1, 1, 1), torch.ones(4, 40, 56)
    batch[0, ..., 3] = 0
    mask[1] = 0
    batch[2, :20, :, 3], mask[2, 20:] = 0, 0

    def said(frames: slice, **settings: Any) -> str:
        result = restore(batch[frames], **settings).args[0]
        assert torch.equal(result[:3], batch[frames][:3])
        return host.texts[-1][0]

    black, there = "Nothing was changed: the mask is black everywhere.", "Unchanged: 1 of 4 images: "
    assert said(slice(1)) == said(slice(1), mask=mask[:1]) == "Nothing was changed: all of it is fully transparent."
    assert said(slice(1, 2), mask=mask[1:2]).startswith(black)
    covered = "Nothing was changed: what the mask leaves to repair is fully transparent."
    assert said(slice(2, 3), mask=mask[2:3]) == covered
    assert said(slice(4), mask=mask).splitlines()[1:] == [
        f"{there}fully transparent.",
        f"{there}the mask is black there.",
        f"{there}what the mask leaves to repair there is fully transparent.",
    ]


def test_row1_a_mask_that_is_not_finite_is_still_refused(restore: Callable[..., Any], image: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="not finite"):
        restore(image, mask=torch.full((1, 40, 56), torch.nan), _prompt=prompt_with("LoadImage", 1))
    with pytest.raises(ValueError, match="mask batch is empty"):
        restore(image, mask=torch.zeros(0, 40, 56))


def test_row1_only_a_mask_straight_from_the_image_is_its_alpha(nodes: ModuleType) -> None:
    from mofe_restore.nodes.masks import is_alpha_of_an_image

    assert is_alpha_of_an_image(Prompt(prompt_with("LoadImageMask", 0, channel="alpha")), "1")
    assert not is_alpha_of_an_image(Prompt(prompt_with("LoadImage", 0)), "1"), "not its mask"
    assert not is_alpha_of_an_image(Prompt(prompt_with("InvertMask", 0)), "1")
    assert not is_alpha_of_an_image(Prompt({"1": {"class_type": "MoFE_Restore", "inputs": {}}}), "1")
    assert not is_alpha_of_an_image(None, None)
