"""What the estimator is shown, and what it makes of it; how well the shipped one does is measured elsewhere."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mofe_restore.model.blur_kernel import Blur
from mofe_restore.model.restorer.blur_estimator import (
    DISC,
    KINDS,
    SIDE,
    SIGMAS,
    WINDOWS,
    BlurEstimator,
    window_spectra,
)
from mofe_restore.model.restorer.deconvolution import wiener_filters
from mofe_restore.model.synthesis.degrade import degrade
from mofe_restore.model.synthesis.severities import Severities


def test_a_spectrum_shows_where_a_kernel_has_zeros() -> None:
    torch.manual_seed(0)
    texture = torch.rand(1, 3, 200, 200)
    moved = degrade(texture, Severities(motion_length=8.0))[0]
    columns = window_spectra(moved).mean((0, 1))
    assert columns.shape == (SIDE // 2 + 1,)
    assert int(columns[4:12].argmin()) + 4 == pytest.approx(SIDE / 8, abs=1), "the first zero is at 1/8 cycle per px"


def test_windows_are_those_with_most_detail_and_come_again_where_there_are_few() -> None:
    torch.manual_seed(0)
    image = torch.full((3, 640, 640), 0.5)
    image[:, 192:256, 320:384] = torch.rand(3, 64, 64)
    levels = window_spectra(image).mean((1, 2))
    assert levels.shape == (WINDOWS,) and levels[0] > levels[-1] + 3
    few = window_spectra(torch.rand(3, SIDE, SIDE + 40))
    assert torch.equal(few[0], few[2]) and not torch.equal(few[0], few[1])


def test_grey_and_color_of_one_grey_are_alike() -> None:
    grey = torch.rand(1, 100, 120)
    assert torch.allclose(window_spectra(grey), window_spectra(grey.repeat(3, 1, 1)), atol=1e-4)


def answering(
    kind: str, sigma: float = 1.0, direction: tuple[float, float] = (1.0, 0.0), logit: float = 5.0
) -> BlurEstimator:
    """An estimator that answers the same whatever it is shown."""
    estimator = BlurEstimator(8).eval()
    logits = [logit * (name == kind) for name in KINDS]
    with torch.no_grad():
        estimator.answer.weight.zero_()
        estimator.answer.bias.copy_(torch.tensor([*logits, *[math.log(sigma)] * 3, *direction]))
    return estimator


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (answering("gaussian", 1.6), Blur(gaussian_sigma=1.6)),
        (answering("defocus", 1.5), Blur(defocus_radius=3.0)),
        (answering("motion", 2.0, (0.0, 1.0)), Blur(motion_length=2 * 24**0.5, motion_angle=45.0)),
        (answering("motion", 2.0, (0.0, -1.0)), Blur(motion_length=2 * 24**0.5, motion_angle=135.0)),
    ],
)
def test_an_answer_becomes_a_blur(estimator: BlurEstimator, expected: Blur) -> None:
    found = estimator.estimate(torch.rand(3, 80, 80))
    assert found is not None
    for name in ("defocus_radius", "gaussian_sigma", "motion_length", "motion_angle"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-4)


def test_an_answer_beyond_all_bounds_is_a_kernel_that_can_be_undone() -> None:
    found = answering("defocus", 1e6).estimate(torch.rand(3, 80, 80))
    assert found == Blur(defocus_radius=DISC * SIGMAS[1])
    assert wiener_filters(found, 1e-6).isfinite().all()


@pytest.mark.parametrize("image", [torch.rand(3, 80, SIDE - 1), torch.rand(3, 20, 300)])
def test_what_is_smaller_than_a_window_is_not_looked_at(image: Tensor) -> None:
    assert answering("gaussian").estimate(image) is None


def test_what_is_not_certain_is_not_told() -> None:
    """Among four kinds a logit of 3.2 has a probability of 0.89."""
    image = torch.rand(3, 80, 80)
    assert answering("motion", logit=3.2).estimate(image) is None
    assert answering("motion", logit=3.4).estimate(image) is not None


def test_a_sharp_image_has_no_blur() -> None:
    assert answering("none").estimate(torch.rand(3, 80, 80)) is None
