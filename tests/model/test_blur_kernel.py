"""A blur's kernel keeps brightness and position, goes along its angle, and is as wide as it says."""

from __future__ import annotations

import numpy as np
import pytest

from mofe_restore.model.blur_kernel import Blur, kernel_sigma
from mofe_restore.model.synthesis.degrade import synthesize
from mofe_restore.model.synthesis.severities import Severities


def test_blur_keeps_the_mean_and_the_place_of_a_point() -> None:
    point = np.zeros((33, 41, 3), dtype=np.float32)
    point[12:15, 19:22] = 1.0
    degraded = synthesize(point, Severities(defocus_radius=3.0), np.random.default_rng(3))
    blurred = degraded.image[..., 0].astype(np.float64)
    assert blurred.sum() == pytest.approx(9.0, rel=0.05)
    assert (blurred.sum(1) @ np.arange(33)) / blurred.sum() == pytest.approx(13.0, abs=0.1)
    assert (blurred.sum(0) @ np.arange(41)) / blurred.sum() == pytest.approx(20.0, abs=0.1)


def test_motion_blur_goes_along_its_angle() -> None:
    level = Blur(motion_length=10.0, motion_angle=0.0).kernel()
    upright = Blur(motion_length=10.0, motion_angle=90.0).kernel()
    rising = Blur(motion_length=10.0, motion_angle=45.0).kernel()
    assert level is not None and upright is not None and rising is not None
    assert np.count_nonzero(level.sum(0) > 0.02) > 8 > np.count_nonzero(level.sum(1) > 0.02)
    assert np.allclose(level, upright.T, atol=1e-6)
    assert rising[: len(rising) // 2, len(rising) // 2 + 1 :].sum() > 0.3, "to the upper right"


@pytest.mark.parametrize("blur", [Blur(gaussian_sigma=2.0), Blur(defocus_radius=4.0), Blur(motion_length=96**0.5)])
def test_sizes_of_equal_width_have_the_same_sigma(blur: Blur) -> None:
    kernel = blur.kernel()
    assert kernel is not None and kernel.sum() == pytest.approx(1.0)
    assert kernel_sigma(kernel) == pytest.approx(2.0, rel=0.05)


def test_no_blur_has_no_kernel() -> None:
    assert Blur(motion_angle=30.0).kernel() is None


@pytest.mark.parametrize(
    ("blur", "words"),
    [
        (Blur(motion_length=9.04, motion_angle=29.7), "motion of 9.0 px at 30 degrees"),
        (Blur(defocus_radius=3.0), "defocus of 3.0 px"),
        (Blur(defocus_radius=2.0, gaussian_sigma=0.8), "defocus of 2.0 px and Gaussian of 0.8 px"),
    ],
)
def test_a_blur_in_words(blur: Blur, words: str) -> None:
    assert blur.words() == words
