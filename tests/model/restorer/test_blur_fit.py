"""The size of a kernel that is fitted to a spectrum is the one that blurred the image."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mofe_restore.model.blur_kernel import Blur
from mofe_restore.model.restorer.blur_fit import SIDE, fit_size
from mofe_restore.model.synthesis.degrade import degrade
from mofe_restore.model.synthesis.severities import Severities


@pytest.fixture(scope="module")
def scene() -> Tensor:
    """Blocks of many sizes, whose power falls with frequency as that of photographs does, [1, 3, 320, 384]."""
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(1, 3, 320, 384)
    for side in (2, 4, 8, 16, 32):
        image += F.interpolate(torch.rand(1, 3, 320 // side, 384 // side, generator=generator), (320, 384))
    return image / 5


@pytest.mark.parametrize("noise", [0.0, 2 / 255])
@pytest.mark.parametrize(
    ("true", "guess"),
    [
        (Blur(motion_length=9.0, motion_angle=40.0), Blur(motion_length=11.0, motion_angle=43.0)),
        (Blur(motion_length=21.0, motion_angle=115.0), Blur(motion_length=13.0, motion_angle=112.0)),
        (Blur(defocus_radius=3.0), Blur(defocus_radius=2.6)),
        (Blur(defocus_radius=8.0), Blur(defocus_radius=5.0)),
    ],
)
def test_the_size_and_the_direction_are_found(scene: Tensor, true: Blur, guess: Blur, noise: float) -> None:
    blurred = degrade(scene, Severities(**asdict(true), noise_sigma=noise))[0]
    found = fit_size(blurred, guess)
    assert found.motion_length == pytest.approx(true.motion_length, rel=0.05)
    assert found.defocus_radius == pytest.approx(true.defocus_radius, rel=0.05)
    assert found.motion_angle == pytest.approx(true.motion_angle, abs=1.5)


def test_a_gaussian_and_a_small_image_keep_the_first_estimate(scene: Tensor) -> None:
    gaussian, motion = Blur(gaussian_sigma=1.3), Blur(motion_length=9.0, motion_angle=40.0)
    assert fit_size(scene[0], gaussian) is gaussian
    assert fit_size(scene[0, :, : SIDE - 1], motion) is motion


def test_an_angle_stays_between_0_and_180(scene: Tensor) -> None:
    level = degrade(scene, Severities(motion_length=11.0, motion_angle=0.0))[0]
    angle = fit_size(level, Blur(motion_length=11.0, motion_angle=178.0)).motion_angle
    assert 0 <= angle < 180 and min(angle, 180 - angle) < 2
