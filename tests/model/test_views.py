"""The overview and the native-resolution crops."""

from __future__ import annotations

import pytest
import torch

from mofe_restore.model.views import (
    BLOCK,
    CROPS,
    SHIFTS,
    VIEW_SIDE,
    amplified,
    crop_origins,
    origins_around,
    pad_to_side,
    views,
)


@pytest.mark.parametrize("size", [(8, 8), (96, 96), (97, 300), (517, 389)])
def test_any_size_gives_the_same_number_of_square_views(size: tuple[int, int]) -> None:
    looks = views(torch.rand(3, *size))
    assert looks.shape == (1 + CROPS, 3, VIEW_SIDE, VIEW_SIDE)
    assert looks.dtype == torch.uint8


def test_crops_show_the_picture_at_native_resolution() -> None:
    picture = torch.randint(0, 256, (3, 400, 500)) / 255
    looks = views(picture)
    for look, (top, left) in zip(looks[1:], crop_origins(400, 500), strict=True):
        expected = (picture[:, top : top + VIEW_SIDE, left : left + VIEW_SIDE] * 255).round().to(torch.uint8)
        assert torch.equal(look, expected)


def test_crops_lie_inside_on_the_jpeg_grid_one_in_each_quarter() -> None:
    origins = crop_origins(517, 389)
    assert all(top % BLOCK == 0 and left % BLOCK == 0 for top, left in origins)
    assert all(0 <= top <= 517 - VIEW_SIDE and 0 <= left <= 389 - VIEW_SIDE for top, left in origins)
    assert len(set(origins)) == CROPS


def test_further_looks_show_other_places_as_long_as_there_are_any() -> None:
    first, *others = origins_around(517, 389)
    assert first == crop_origins(517, 389)
    assert len(others) == len(SHIFTS) - 1
    places = {place for origins in [first, *others] for place in origins}
    assert len(places) == CROPS * len(SHIFTS)
    assert all(
        top % BLOCK == 0 and 0 <= top <= 517 - VIEW_SIDE and 0 <= left <= 389 - VIEW_SIDE for top, left in places
    )
    assert origins_around(60, 96)[1:] == []


def test_amplified_detail_shows_small_differences_large_and_smooth_areas_grey() -> None:
    slope = torch.linspace(0.2, 0.8, 96).expand(1, 3, 96, 96).clone()
    assert (amplified(slope)[..., 16:-16] - 0.5).abs().max() < 0.05
    slope[..., 40, 40] += 2 / 255
    assert float(amplified(slope)[0, 0, 40, 40]) - 0.5 > 0.05  # the two grey levels of 255 become more than 12


def test_only_the_crops_are_shown_as_detail() -> None:
    picture = torch.rand(3, 200, 220)
    plain, detail = views(picture), views(picture, detail=True)
    assert torch.equal(plain[0], detail[0])
    expected = amplified(plain[1:].float() / 255)
    assert torch.allclose(detail[1:].float() / 255, expected, atol=0.1)


def test_the_overview_keeps_the_mean_colour() -> None:
    picture = torch.rand(3, 300, 200) * torch.tensor([0.2, 0.5, 0.9])[:, None, None]
    overview = views(picture)[0].float() / 255
    assert torch.allclose(overview.mean((1, 2)), picture.mean((1, 2)), atol=0.01)


def test_small_pictures_are_mirrored_and_a_line_is_refused() -> None:
    padded = pad_to_side(torch.arange(3.0).repeat(3, 2, 1), 5)
    assert padded[0, 0].tolist() == [0, 1, 2, 1, 0]
    with pytest.raises(ValueError, match="too small to be looked at"):
        pad_to_side(torch.rand(3, 1, 50), 96)
