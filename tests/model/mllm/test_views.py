"""The views of an MLLM: a thumbnail, and crops at native resolution."""

from __future__ import annotations

import pytest
import torch

from mofe_restore.model.jpeg_grid import BLOCK
from mofe_restore.model.mllm.views import (
    CROPS,
    SHIFTS,
    VIEW_SIDE,
    amplify_detail,
    crop_origin_sets,
    crop_origins,
    make_views,
    pad_to_side,
)


@pytest.mark.parametrize("size", [(8, 8), (96, 96), (97, 300), (517, 389)])
def test_any_size_gives_the_same_number_of_square_views(size: tuple[int, int]) -> None:
    views = make_views(torch.rand(3, *size))
    assert views.shape == (1 + CROPS, 3, VIEW_SIDE, VIEW_SIDE)
    assert views.dtype == torch.uint8


def test_crops_show_the_image_at_native_resolution() -> None:
    image = torch.randint(0, 256, (3, 400, 500)) / 255
    views = make_views(image)
    for view, (top, left) in zip(views[1:], crop_origins(400, 500), strict=True):
        expected = (image[:, top : top + VIEW_SIDE, left : left + VIEW_SIDE] * 255).round().to(torch.uint8)
        assert torch.equal(view, expected)


@pytest.mark.parametrize("grid", [(0, 0), (3, 7)])
def test_crops_lie_inside_on_the_jpeg_grid_one_in_each_quarter(grid: tuple[int, int]) -> None:
    origins = crop_origins(517, 389, grid=grid)
    assert {(top % BLOCK, left % BLOCK) for top, left in origins} == {grid}
    assert all(0 <= top <= 517 - VIEW_SIDE and 0 <= left <= 389 - VIEW_SIDE for top, left in origins)
    assert len(set(origins)) == CROPS


def test_further_sets_of_views_show_other_places_as_long_as_there_are_any() -> None:
    first, *others = crop_origin_sets(torch.rand(3, 517, 389))
    assert first == crop_origins(517, 389)
    assert len(others) == len(SHIFTS) - 1
    places = {place for origins in [first, *others] for place in origins}
    assert len(places) == CROPS * len(SHIFTS)
    assert all(
        top % BLOCK == 0 and 0 <= top <= 517 - VIEW_SIDE and 0 <= left <= 389 - VIEW_SIDE for top, left in places
    )
    assert crop_origin_sets(torch.rand(3, 60, 96))[1:] == []


@pytest.mark.parametrize("side", [96, 98, 103, 104, 111])
def test_a_crop_of_a_small_image_lies_inside_wherever_its_blocks_start(side: int) -> None:
    places = {place for grid in range(BLOCK) for origin in crop_origins(side, side, grid=(grid, 0)) for place in origin}
    assert min(places) >= 0 and max(places) <= side - VIEW_SIDE


def test_amplified_detail_shows_small_differences_large_and_smooth_areas_grey() -> None:
    slope = torch.linspace(0.2, 0.8, 96).expand(1, 3, 96, 96).clone()
    assert (amplify_detail(slope)[..., 16:-16] - 0.5).abs().max() < 0.05
    slope[..., 40, 40] += 2 / 255
    assert float(amplify_detail(slope)[0, 0, 40, 40]) - 0.5 > 0.05  # the two grey levels of 255 become more than 12


def test_only_the_crops_are_shown_as_detail() -> None:
    image = torch.rand(3, 200, 220)
    plain, detail = make_views(image), make_views(image, detail=True)
    assert torch.equal(plain[0], detail[0])
    expected = amplify_detail(plain[1:].float() / 255)
    assert torch.allclose(detail[1:].float() / 255, expected, atol=0.1)


def test_the_thumbnail_keeps_the_mean_color() -> None:
    image = torch.rand(3, 300, 200) * torch.tensor([0.2, 0.5, 0.9])[:, None, None]
    thumbnail = make_views(image)[0].float() / 255
    assert torch.allclose(thumbnail.mean((1, 2)), image.mean((1, 2)), atol=0.01)


def test_small_images_are_mirrored_and_a_line_is_refused() -> None:
    padded = pad_to_side(torch.arange(3.0).repeat(3, 2, 1), 5)
    assert padded[0, 0].tolist() == [0, 1, 2, 1, 0]
    with pytest.raises(ValueError, match="too small to be described"):
        pad_to_side(torch.rand(3, 1, 50), 96)
