"""Wiener's filters undo a known blur, as far as they reach and as far as noise allows."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mofe_restore.model.blur_kernel import Blur
from mofe_restore.model.images import psnr
from mofe_restore.model.restorer.deconvolution import CAUTION, REACH, deconvolve, wiener_filters
from mofe_restore.model.synthesis.degrade import degrade
from mofe_restore.model.synthesis.severities import Severities

ROUNDING = (0.4 / 255) ** 2


@pytest.fixture(scope="module")
def scene() -> Tensor:
    """Blocks of all sizes, [1, 3, 160, 192]."""
    generator = torch.Generator().manual_seed(0)
    parts = [torch.rand(1, 3, 160 // side, 192 // side, generator=generator) for side in (4, 8, 16, 32)]
    return torch.stack([F.interpolate(part, (160, 192)) for part in parts]).mean(0)


def mirrored(image: Tensor) -> Tensor:
    return F.pad(image, (REACH,) * 4, mode="reflect")


@pytest.mark.parametrize(
    ("blur", "gain"),
    [
        (Blur(gaussian_sigma=1.2), 3.0),
        (Blur(defocus_radius=2.5), 4.0),
        (Blur(motion_length=7.0, motion_angle=35.0), 3.0),
    ],
)
def test_a_known_blur_is_undone(scene: Tensor, blur: Blur, gain: float) -> None:
    blurred, inner = degrade(scene, Severities(**asdict(blur))), (..., slice(40, -40), slice(40, -40))
    bold, cautious = deconvolve(mirrored(blurred), blur, ROUNDING).clamp(0, 1).chunk(2, dim=1)
    before = psnr(blurred[inner], scene[inner])
    assert psnr(bold[inner], scene[inner]) > before + gain
    assert psnr(cautious[inner], scene[inner]) > before + 1


def test_the_filters_keep_what_is_even_and_act_less_the_more_noise_there_is() -> None:
    blur = Blur(gaussian_sigma=1.5)
    even = torch.full((2, 3, 2 * REACH + 40, 2 * REACH + 24), 0.37)
    assert torch.allclose(deconvolve(even, blur, ROUNDING), torch.full((2, 3 * len(CAUTION), 40, 24), 0.37), atol=1e-4)
    quiet, noisy = (wiener_filters(blur, variance).square().sum((1, 2)) for variance in (ROUNDING, (10 / 255) ** 2))
    assert (quiet > noisy).all() and quiet[0] > quiet[1]


def test_nothing_beyond_the_reach_is_felt() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 2 * REACH + 16, 2 * REACH + 300)
    changed, border = image.clone(), REACH + 200
    changed[..., border:] = torch.rand_like(changed[..., border:])
    blur = Blur(motion_length=15.0, motion_angle=10.0)
    before, after = (deconvolve(each, blur, ROUNDING) for each in (image, changed))
    felt = ((before - after).abs().amax((0, 1, 2)) > 1e-5).nonzero()
    assert 0 < 200 - int(felt[0]) <= REACH


def test_a_piece_is_deconvolved_like_the_whole(scene: Tensor) -> None:
    blur, padded = Blur(defocus_radius=3.0), mirrored(scene)
    whole = deconvolve(padded, blur, ROUNDING)
    piece = deconvolve(padded[..., 30 : 30 + 2 * REACH + 48, 50 : 50 + 2 * REACH + 64], blur, ROUNDING)
    assert torch.allclose(piece, whole[..., 30:78, 50:114], atol=1e-5)
