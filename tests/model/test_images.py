"""The tensor convention: colors, checks and PSNR of images."""

from __future__ import annotations

import pytest
import torch

from mofe_restore.model.errors import RestorationError
from mofe_restore.model.image_files import ImageFile
from mofe_restore.model.images import (
    PSNR_CAP,
    ceil_div,
    check_finite,
    check_image,
    fill_hidden,
    is_finite,
    is_hidden,
    pixels_of,
    psnr,
    rgb_of,
    round_up,
)


def test_psnr_is_that_of_its_definition_and_capped_for_identical_images() -> None:
    truth = torch.full((1, 3, 16, 16), 0.5)
    assert psnr(truth + 0.1, truth) == pytest.approx(20.0, abs=1e-4)
    assert psnr(truth - 0.01, truth) == pytest.approx(40.0, abs=1e-4)
    assert psnr(truth, truth) == PSNR_CAP
    assert psnr(truth + 1e-9, truth) <= PSNR_CAP


def test_psnr_sees_values_outside_0_to_1_as_a_file_would_hold_them() -> None:
    white = torch.ones(1, 3, 16, 16)
    assert psnr(white + 0.3, white) == PSNR_CAP
    assert psnr((white - 0.1).half(), white) == pytest.approx(20.0, abs=0.01)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_colors_are_three_in_fp32_without_alpha_and_clamped(channels: int, dtype: torch.dtype) -> None:
    image = (torch.rand(2, channels, 16, 20) * 1.4 - 0.2).to(dtype)
    rgb = rgb_of(image)
    assert rgb.shape == (2, 3, 16, 20) and rgb.dtype == torch.float32
    assert rgb.min() == 0 and rgb.max() == 1
    for channel in range(3):
        assert torch.equal(rgb[:, channel], image[:, min(channel, channels - 1)].float().clamp(0, 1))


def test_pixels_are_taken_from_tensors_and_from_image_files() -> None:
    tensor = torch.rand(1, 3, 16, 16)
    assert pixels_of(tensor) is tensor
    assert pixels_of(ImageFile(tensor)) is tensor


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_finite_values_are_told_from_others_even_where_their_sum_overflows(dtype: torch.dtype) -> None:
    large = torch.full((64, 64), torch.finfo(dtype).max, dtype=dtype)
    assert is_finite(large) and is_finite(torch.zeros(3), large)
    for broken in (float("nan"), float("inf"), -float("inf")):
        large[5, 5] = broken
        assert not is_finite(large) and not is_finite(torch.zeros(3), large)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_images_from_16_px_a_side_with_1_3_or_4_channels_are_accepted(channels: int, dtype: torch.dtype) -> None:
    check_image(torch.rand(2, channels, 16, 17).to(dtype))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.rand(1, 3, 15, 64), "is 64 x 15 px: it must be at least 16 px"),
        (torch.rand(1, 2, 64, 64), "1, 3 or 4 channels"),
        (torch.rand(3, 64, 64), "1, 3 or 4 channels"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "uint8: give floating-point"),
        (torch.full((1, 3, 64, 64), float("nan")), "Image 0 .* not finite"),
        (torch.full((1, 3, 64, 64), float("inf")), "not finite"),
    ],
)
def test_an_image_of_another_form_is_refused_in_words(image: torch.Tensor, words: str) -> None:
    with pytest.raises(RestorationError, match=words):
        check_image(image)


def test_the_image_with_values_that_are_not_finite_is_named_and_alpha_does_not_count() -> None:
    images = torch.rand(3, 4, 16, 16)
    images[:, 3] = float("nan")
    check_finite(images)
    images[1, 0, 2, 2] = float("inf")
    with pytest.raises(RestorationError, match="Image 1 of the batch"):
        check_finite(images)


def test_numbers_are_rounded_up() -> None:
    assert [ceil_div(value, 32) for value in (1, 32, 33, 64)] == [1, 1, 2, 2]
    assert [round_up(value, 32) for value in (1, 32, 33, 64)] == [32, 32, 64, 64]


@pytest.mark.field
class TestRow14HiddenColors:
    def test_row14_hidden_colors_are_filled_from_visible_ones(self) -> None:
        image = torch.rand(2, 4, 13, 22)
        image[:, 3] = 1
        image[0, 3, 4:9, 5:15] = 0
        image[0, 0, 4:9, 5:15] = 50.0
        filled = fill_hidden(image)
        hidden = is_hidden(image)
        assert hidden is not None and hidden.sum() == 50
        assert torch.equal(filled[1], image[1]) and torch.equal(filled[:, 3], image[:, 3])
        visible = ~hidden.expand(-1, 4, -1, -1)
        assert torch.equal(filled[visible], image[visible])
        assert filled.min() >= 0 and filled.max() <= 1

    def test_row14_grey_stays_grey_and_opaque_images_are_not_copied(self) -> None:
        image = torch.rand(1, 1, 9, 9).repeat(1, 4, 1, 1).round(decimals=1)
        filled = fill_hidden(image)
        assert torch.equal(filled[:, 0], filled[:, 1]) and torch.equal(filled[:, 0], filled[:, 2])
        for opaque in (torch.rand(1, 3, 9, 9), torch.rand(1, 4, 9, 9) + 0.1):
            assert fill_hidden(opaque) is opaque

    def test_row14_a_fully_transparent_image_has_no_colors_to_take(self) -> None:
        assert torch.isfinite(fill_hidden(torch.zeros(1, 4, 9, 9))).all()
