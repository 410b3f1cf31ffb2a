"""What the branches that see the whole image are shown of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mofe_restore.model import whole_image
from mofe_restore.model.whole_image import (
    BLOCK,
    IMAGE_STATISTICS,
    MOST,
    PREVIEW_STATISTICS,
    QUANTILES,
    STATISTICS,
    fine_statistics,
    image_statistics,
    preview_statistics,
    thumbnail_of,
    with_logarithm,
)

DARKEST, BRIGHTEST, CONTRAST = slice(0, 3), slice(3, 6), slice(12, STATISTICS)


def test_the_thumbnail_is_seen_as_it_is_and_in_logarithms() -> None:
    image = torch.rand(1, 3, 8, 8) * 0.4 + 0.3
    seen, darker = with_logarithm(image), with_logarithm(image / 2)
    assert torch.equal(seen[:, :3], image - 0.5)
    shift = (seen - darker)[:, 3:]
    assert shift.std() < 0.1 * shift.mean()  # a factor is an addition there
    assert with_logarithm(torch.tensor([-1.0, 0.0, 1.0, 2.0]).expand(1, 3, 1, 4))[:, 3:].abs().max() < 0.55


def test_statistics_tell_what_a_thumbnail_averages_away() -> None:
    flat = torch.full((1, 3, 128, 128), 0.4)
    striped = flat.clone()
    striped[..., ::4], striped[..., 1::4] = 0.7, 0.7  # stripes of two pixels
    striped[..., 2::4], striped[..., 3::4] = 0.1, 0.1
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))  # a border has half a stripe
    assert torch.allclose(thumbnail_of(flat, 16)[inner], thumbnail_of(striped, 16)[inner], atol=1e-5)
    plain, fine = fine_statistics(flat, 16), fine_statistics(striped, 16)
    assert plain.shape == (1, STATISTICS, 16, 16)
    for seen, darkest in ((plain, -0.1), (fine, -0.4)):
        assert torch.allclose(seen[:, DARKEST], torch.tensor(darkest))
    assert torch.allclose(fine[:, BRIGHTEST], torch.tensor(0.2))
    assert (fine - plain)[:, CONTRAST].amax((0, 2, 3))[1] > 0.5  # the second of three scales
    across, down = (fine - plain)[0, -2:].mean((1, 2))
    assert across > 0.5 and abs(down) < 1e-6


def test_statistics_of_a_mirrored_image_are_mirrored_and_lie_in_a_bounded_range() -> None:
    image = torch.rand(2, 3, 64, 96)
    assert torch.allclose(fine_statistics(image.flip(3), 16), fine_statistics(image, 16).flip(3), atol=1e-5)
    extremes = torch.stack([torch.zeros(3, 64, 64), torch.ones(3, 64, 64)])
    assert fine_statistics(extremes, 8).abs().max() <= 1.0


@pytest.mark.parametrize("size", [(5, 300), (100, 53), (1500, 1100)], ids=str)
def test_statistics_of_an_image_of_any_size_are_those_of_its_blocks(size: tuple[int, int]) -> None:
    stripes = (torch.arange(size[1]) // 2 % 2).float().expand(1, 3, *size)
    assert fine_statistics(stripes, 8).std((2, 3)).max() < 1e-5
    assert torch.allclose(fine_statistics(stripes, 8)[:, DARKEST], torch.tensor(-0.5))


def test_of_a_large_image_few_pixels_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Tensor] = []
    of_blocks = whole_image._of_blocks
    monkeypatch.setattr(whole_image, "_of_blocks", lambda image: read.append(image) or of_blocks(image))
    fine_statistics(torch.rand(1, 3, 2000, 3000), 32)
    assert max(read[0].shape[2:]) <= MOST * BLOCK
    small = torch.rand(1, 3, 320, 480)
    fine_statistics(small, 32)
    assert torch.equal(read[1], small)


def test_the_distribution_of_brightness_tells_a_dark_image_from_one_that_is_half_white() -> None:
    dark, half = torch.full((3, 96, 96), 0.1), torch.full((3, 96, 96), 0.1)
    half[:, 48:] = 1.0
    brightness = [image_statistics(image).reshape(-1, len(QUANTILES))[STATISTICS:][:3] for image in (dark, half)]
    assert torch.allclose(brightness[0], torch.tensor(-0.4), atol=1e-5)
    assert torch.allclose(brightness[1][:, [1, -2]], torch.tensor([-0.4, 0.5]), atol=1e-5)
    assert image_statistics(dark).shape == (IMAGE_STATISTICS,)


def test_a_preview_that_changes_nothing_has_no_change_in_its_statistics() -> None:
    image = torch.rand(2, 3, 16, 16)
    seen = preview_statistics(image, image)
    changes = seen[:, [0, 1, 2, 3, 4, 5, *range(8, 15)]]
    assert seen.shape == (2, PREVIEW_STATISTICS) and torch.equal(changes, torch.zeros_like(changes))
    other = preview_statistics(image[:1], image[1:])
    assert not torch.allclose(other, seen[:1], atol=0.01)


def test_a_preview_tells_how_much_brighter_and_richer_in_contrast_images_become() -> None:
    dark = 0.1 + 0.2 * torch.rand(1, 3, 16, 16)
    brighter = preview_statistics(dark, dark + 0.3)[0]
    assert brighter[:3].tolist() == pytest.approx([0.3] * 3, abs=1e-5), "mean change of each channel"
    assert brighter[3:6].abs().max() < 1e-4, "as much contrast as before"
    assert brighter[8:15].tolist() == pytest.approx([0.3] * 7, abs=1e-5), "the same change everywhere"
    pale = 0.4 + 0.2 * torch.rand(1, 3, 16, 16)
    clearer = preview_statistics(pale, 2 * (pale - pale.mean()) + pale.mean())[0]
    assert bool((clearer[3:6] > 0.5).all()) and clearer[:3].abs().max() < 0.02
    assert clearer[8] < -0.02 < 0.02 < clearer[14], "what is dark becomes darker, what is bright brighter"
