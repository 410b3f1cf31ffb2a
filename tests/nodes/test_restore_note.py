"""Restore leaves clean images alone, shows what it is doing, and says on the node what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch

from mofe_restore.model.guidance import Guidance
from mofe_restore.model.vocabulary import PRESENT
from mofe_restore.tests.nodes.standins import Host, run

pytestmark = pytest.mark.field


@pytest.fixture
def restore(nodes: ModuleType, restorer: Any) -> Callable[..., Any]:
    def restore(image: torch.Tensor, **settings: Any) -> Any:
        settings = {"restorer": restorer, "image": image, "strength": 1.0, "tile_size": 0, **settings}
        return run(nodes.Restore, **settings).args[0]

    return restore


@pytest.fixture
def guidance_of(make_guidance: Callable[..., Guidance]) -> Callable[..., Guidance]:
    """Guidance with these scores of haze, one per image; of the others nothing is seen."""

    def guidance_of(*haze: float) -> Guidance:
        scores = torch.zeros(len(haze), 7)
        scores[:, 1] = torch.tensor(haze)
        return replace(make_guidance(len(haze)), scores=scores)

    return guidance_of


IMAGE = torch.rand(1, 40, 56, 3, generator=torch.Generator().manual_seed(3))


def test_row9_a_clean_image_passes_bit_exact_and_the_node_says_so(
    restore: Callable[..., Any], guidance_of: Callable[..., Guidance], host: Host
) -> None:
    assert torch.equal(restore(IMAGE, guidance=guidance_of(0.3), threshold=0.5), IMAGE)
    assert host.texts[-1] == (
        "Left alone, bit by bit: nothing that is to be removed reaches the threshold of 0.50. "
        "Nothing is clearly seen, haze 0.30 at most.",
        "1",
    )
    assert host.loaded == [], "the network is not even loaded"


def test_row9_by_default_what_is_called_clean_is_left_alone(
    restore: Callable[..., Any], guidance_of: Callable[..., Guidance]
) -> None:
    assert torch.equal(restore(IMAGE, guidance=guidance_of(PRESENT - 0.01)), IMAGE)
    assert not torch.equal(restore(IMAGE, guidance=guidance_of(PRESENT)), IMAGE)
    assert not torch.equal(restore(IMAGE, guidance=guidance_of(0.0), threshold=0.0), IMAGE)


def test_what_is_not_certain_is_repaired_in_part_and_the_node_says_so(
    restore: Callable[..., Any], guidance_of: Callable[..., Guidance], host: Host
) -> None:
    images, seen = IMAGE.repeat(2, 1, 1, 1), guidance_of(0.7, 0.7)
    doubted = replace(seen, certainty=torch.tensor([[0.0] * 7, [0.0] * 7]).index_fill(1, torch.tensor([1]), 0.694))
    part, whole = restore(images, guidance=doubted), restore(images, guidance=seen)
    assert "Repaired in part: 2 of 2 images, by 69 %: what is seen is not certain." in host.texts[0][0]
    assert "in part" not in host.texts[1][0]
    assert torch.allclose(part, torch.lerp(images, whole, 0.694), atol=2e-3)
    restore(images, guidance=doubted.with_removal({}, forced=["haze"]))
    assert "in part" not in host.texts[2][0]


def test_row9_without_guidance_the_default_says_nothing(restore: Callable[..., Any], host: Host) -> None:
    assert not torch.equal(restore(IMAGE), IMAGE)
    assert "threshold" not in host.texts[-1][0]


def test_row9_what_reaches_the_threshold_is_repaired_as_ever(
    restore: Callable[..., Any], guidance_of: Callable[..., Guidance], host: Host
) -> None:
    images, guidance = IMAGE.repeat(3, 1, 1, 1), guidance_of(0.7, 0.2, 0.5)
    result = restore(images, guidance=guidance, threshold=0.5)
    assert torch.equal(result[1], IMAGE[0])
    assert torch.equal(result[::2], restore(images, guidance=guidance)[::2])
    assert "Repaired: 2 of 3 images. Seen: haze 0.70." in host.texts[0][0]
    assert "Left alone, bit by bit: 1 of 3 images" in host.texts[0][0]


def test_row9_what_is_kept_does_not_count_and_what_is_ordered_does(
    restore: Callable[..., Any], guidance_of: Callable[..., Guidance]
) -> None:
    kept = guidance_of(0.9).with_removal({"haze": 0.0})
    assert torch.equal(restore(IMAGE, guidance=kept, threshold=0.5), IMAGE)
    ordered = guidance_of(0.0).with_removal({}, forced=["noise"])
    assert not torch.equal(restore(IMAGE, guidance=ordered, threshold=0.5), IMAGE)


def test_row9_without_guidance_the_node_says_that_the_threshold_has_no_effect(
    restore: Callable[..., Any], host: Host
) -> None:
    assert not torch.equal(restore(IMAGE, threshold=0.3), IMAGE)
    assert "threshold has no effect without guidance" in host.texts[-1][0]


def test_row9_what_the_guidance_leaves_alone_is_said_too(
    restore: Callable[..., Any], guidance_of: Callable[..., Guidance], host: Host
) -> None:
    drawing = replace(guidance_of(0.9), protected=torch.tensor([True]))
    assert torch.equal(restore(IMAGE, guidance=drawing), IMAGE)
    assert "the image only looks degraded" in host.texts[-1][0]


def test_row9_no_strength_is_said_on_the_node(restore: Callable[..., Any], host: Host) -> None:
    restore(IMAGE, strength=0.0)
    assert host.texts[-1][0] == "Nothing was changed: the strength is 0."


def test_row8_tiles_are_previewed_while_they_are_done(
    restore: Callable[..., Any], host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mofe_restore.nodes import host as bridge

    monkeypatch.setattr(bridge, "PREVIEW_SECONDS", 0.0)
    image = torch.rand(1, 1088, 64, 3)
    result = restore(image, tile_size=512)
    assert [(kind, side) for kind, _, side in host.previews] == [("JPEG", 512)] * 3
    first, last = host.previews[0][1], host.previews[-1][1]
    assert first.size == last.size == (22, 363)
    before, after = (torch.tensor((each[0, ::3, ::3] * 255).round().tolist()) for each in (image, result))
    seen = [torch.tensor(list(each.getdata())).reshape(363, 22, 3) for each in (first, last)]
    assert torch.equal(seen[0][:170], after[:170]) and torch.equal(seen[0][180:], before[180:])
    assert torch.equal(seen[1], after)


def test_row8_previews_are_few_and_a_single_tile_has_none(restore: Callable[..., Any], host: Host) -> None:
    restore(torch.rand(1, 40, 56, 3))
    assert host.previews == []
    restore(torch.rand(1, 128, 128, 4), tile_size=64)
    assert 1 <= len(host.previews) < 4


@pytest.mark.parametrize("size", [1, 16, 32, 63, -5, 9000])
def test_row4_a_tile_below_the_smallest_is_not_offered(nodes: ModuleType, size: int) -> None:
    sentence = nodes.Restore.validate_inputs(tile_size=size)
    assert sentence == f"The tile size is {size}: give 64 to 8192 px, or 0 to choose it by the image."
    port = next(port for port in nodes.Restore.define_schema().inputs if port.id == "tile_size")
    from mofe_restore.model.inference.tiled import MIN_TILE

    assert port.step == MIN_TILE
    assert all(nodes.Restore.validate_inputs(tile_size=good) is True for good in (None, 0, 64, 65, 8192))
