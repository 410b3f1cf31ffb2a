"""Whatever a graph may hand to Restore: numbers of images, channels, types, sizes and masks in every combination."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from mofe_restore.model.guidance import Guidance
from mofe_restore.tests.nodes.standins import run

SIDES = st.one_of(st.integers(16, 96), st.sampled_from([16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 255, 257]))
SIZES = st.tuples(SIDES, SIDES).filter(lambda size: size[0] * size[1] < 20_000)
MASKS = ["none", "empty of Load Image", "[H, W]", "[1, H, W]", "[B, H, W]", "soft", "of another size", "black"]

any_input = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the network is only read
)


@dataclass
class Case:
    """One call of Restore, and where it may change an image."""

    image: torch.Tensor
    mask: torch.Tensor | None
    outside: torch.Tensor
    settings: dict[str, Any]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    batch, channels = draw(st.sampled_from([1, 3])), draw(st.sampled_from([1, 3, 4]))
    height, width = draw(SIZES)
    dtype = draw(st.sampled_from([torch.float32, torch.float16, torch.bfloat16]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    # a little beyond 0..1, as some nodes leave it
    image = (torch.rand(batch, height, width, channels, generator=generator) * 1.1 - 0.05).to(dtype)
    kind = draw(st.sampled_from(MASKS))
    event(f"mask: {kind}")
    mask = a_mask(kind, batch, height, width, generator)
    return Case(
        image,
        mask,
        outside_of(mask, batch, height, width),
        {
            "strength": draw(st.sampled_from([0.0, 0.35, 1.0])),
            "tile_size": draw(st.sampled_from([0, 64])),
            "feather": draw(st.sampled_from([0, 1, 7, 40])),
        },
    )


def a_mask(kind: str, batch: int, height: int, width: int, generator: torch.Generator) -> torch.Tensor | None:
    if kind == "none":
        return None
    if kind == "empty of Load Image":
        return torch.zeros(1, 64, 64)
    if kind == "black":
        return torch.zeros(batch, height, width)
    mask = torch.zeros(batch, height, width)
    for each in mask:  # a rectangle, at another place in every image
        top, left = (int(torch.randint(side // 2, (), generator=generator)) for side in (height, width))
        each[top : top + height // 3 + 1, left : left + width // 3 + 1] = 1
    if kind == "soft":
        return mask * torch.rand(batch, height, width, generator=generator)
    if kind == "of another size":
        return F.interpolate(mask[:, None], (height // 2 + 5, width * 2), mode="nearest")[:, 0]
    return {"[H, W]": mask[0], "[1, H, W]": mask[:1], "[B, H, W]": mask}[kind]


def outside_of(mask: torch.Tensor | None, batch: int, height: int, width: int) -> torch.Tensor:
    """[B, H, W] bool, the pixels that must come back as they were."""
    if mask is None or (mask.shape[-2:] == (64, 64) != (height, width) and not mask.any()):
        return torch.zeros(batch, height, width, dtype=torch.bool)
    mask = mask.reshape(-1, 1, *mask.shape[-2:])
    if mask.shape[-2:] != (height, width):
        mask = F.interpolate(mask, (height, width), mode="bilinear", align_corners=False, antialias=True)
    return (mask[:, 0] <= 1 / 255 + 1e-3).expand(batch, height, width)  # one step of 8 bits is black


@any_input
@given(case=cases())
def test_an_image_keeps_its_size_its_alpha_and_all_that_is_outside_the_mask(
    nodes: ModuleType, restorer: Any, case: Case
) -> None:
    before = case.image.clone()
    result = run(nodes.Restore, restorer=restorer, image=case.image, mask=case.mask, **case.settings).args[0]
    expected = case.image.float()
    assert torch.equal(case.image, before), "the input is left alone"
    assert result.shape == case.image.shape
    assert (result.dtype, result.device) == (torch.float32, torch.device("cpu"))
    assert result.data_ptr() != case.image.data_ptr()
    assert torch.equal(result[..., 3:], expected[..., 3:])
    outside = case.outside if expected.shape[-1] < 4 else case.outside | (expected[..., 3] <= 0)  # transparent
    assert torch.equal(result[outside], expected[outside])
    colors = result[..., :3][~outside]
    if case.settings["strength"] == 0:
        assert torch.equal(result, expected)
    elif colors.numel():
        assert colors.min() >= 0 and colors.max() <= 1
        changed = (result[..., :3] != expected[..., :3])[~outside].float().mean()
        assert changed > 0.5, "inside the mask something happens"


@any_input
@given(case=cases(), per_frame=st.booleans())
def test_a_batch_gives_what_its_images_give_alone_whatever_they_are(
    nodes: ModuleType, restorer: Any, make_guidance: Callable[..., Guidance], case: Case, per_frame: bool
) -> None:
    frames = len(case.image)
    guidance = make_guidance(frames if per_frame else 1)

    def restored(image: torch.Tensor, mask: torch.Tensor | None, guidance: Guidance) -> torch.Tensor:
        inputs = {"image": image, "mask": mask, "guidance": guidance, **case.settings}
        return run(nodes.Restore, restorer=restorer, **inputs).args[0]

    together = restored(case.image, case.mask, guidance)
    last = slice(frames - 1, frames)
    mask = case.mask if case.mask is None or case.mask.ndim == 2 or len(case.mask) == 1 else case.mask[last]
    alone = restored(case.image[last], mask, guidance[-1])
    assert torch.equal(together[last], alone)


@pytest.mark.parametrize("size", [(4096, 16), (17, 4095), (16, 16)])
@pytest.mark.parametrize("tile", [0, 256])
def test_long_and_small_images_come_back_whole(
    nodes: ModuleType, restorer: Any, size: tuple[int, int], tile: int
) -> None:
    image = torch.rand(1, *size, 3, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(size)
    mask[-16:, -16:] = 1
    result = run(nodes.Restore, restorer=restorer, image=image, strength=1.0, tile_size=tile, mask=mask).args[0]
    assert result.shape == image.shape
    assert torch.equal(result[0][mask == 0], image[0][mask == 0])
    assert (result[0][mask == 1] != image[0][mask == 1]).float().mean() > 0.5


@any_input
@given(frames=st.integers(1, 400), size=st.tuples(st.integers(16, 4096), st.integers(16, 4096)))
def test_the_thumbnails_of_a_batch_take_bounded_memory(nodes: ModuleType, frames: int, size: tuple[int, int]) -> None:
    from mofe_restore.nodes.thumbnails import THUMBNAIL_SIDE, THUMBNAILS_BYTES, thumbnail_size

    height, width = thumbnail_size(frames, *size)
    assert 1 <= height <= min(size[0], THUMBNAIL_SIDE) and 1 <= width <= min(size[1], THUMBNAIL_SIDE)
    assert frames * 3 * height * width <= THUMBNAILS_BYTES
