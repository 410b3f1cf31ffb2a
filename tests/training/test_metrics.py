"""Metrics are those of their definitions, also where there is nothing to count."""

from __future__ import annotations

import math

import pytest
import torch

from mofe_restore.model.images import PSNR_CAP, psnr
from mofe_restore.training.metrics import Detection, detection, quantise, rank_correlation, ssim


def test_psnr_is_that_of_its_definition_and_capped_for_identical_images() -> None:
    truth = torch.full((1, 3, 16, 16), 0.5)
    assert psnr(truth + 0.1, truth) == pytest.approx(20.0, abs=1e-4)
    assert psnr(truth, truth) == PSNR_CAP


def test_ssim_is_that_of_the_published_formula_on_its_windows() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(1, 3, 16, 16, generator=generator) for _ in range(2))
    offsets = torch.arange(11.0) - 5
    line = torch.exp(-(offsets**2) / (2 * 1.5**2))
    window = torch.outer(line, line) / line.sum() ** 2
    values = []
    for channel in range(3):
        for y in range(6):
            for x in range(6):
                p, q = (image[0, channel, y : y + 11, x : x + 11] for image in (a, b))
                mp, mq = (window * p).sum(), (window * q).sum()
                vp, vq = (window * p * p).sum() - mp**2, (window * q * q).sum() - mq**2
                cov = (window * p * q).sum() - mp * mq
                c1, c2 = 0.01**2, 0.03**2
                values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    assert ssim(a, b) == pytest.approx(float(torch.stack(values).mean()), abs=1e-4)
    assert ssim(a, a) == pytest.approx(1.0, abs=1e-5)


def test_detection_counts_and_its_ratios_are_right_also_without_any() -> None:
    detected = torch.tensor([True, True, True, False, False])
    present = torch.tensor([True, True, False, True, False])
    counts = detection(detected, present)
    assert counts == Detection(hits=2, false_alarms=1, misses=1)
    assert counts.precision == counts.recall == counts.f1 == pytest.approx(2 / 3)
    assert math.isnan(Detection(0, 0, 3).precision) and Detection(0, 0, 3).f1 == 0.0
    assert math.isnan(Detection(0, 0, 0).f1)


def test_rank_correlation_sees_order_alone_shares_ties_and_knows_no_answer_for_constants() -> None:
    truth = torch.tensor([0.1, 0.2, 0.3, 0.4])
    assert rank_correlation(truth**5, truth) == pytest.approx(1.0)
    assert rank_correlation(-truth, truth) == pytest.approx(-1.0)
    assert rank_correlation(torch.tensor([1.0, 1.0, 2.0, 2.0]), truth) == pytest.approx(0.8944, abs=1e-3)
    assert math.isnan(rank_correlation(torch.ones(4), truth)) and math.isnan(rank_correlation(truth[:1], truth[:1]))


def test_quantised_images_are_what_a_file_holds() -> None:
    values = quantise(torch.tensor([-0.3, 0.5001 / 255, 0.4999 / 255, 1.2]))
    assert values.tolist() == pytest.approx([0.0, 1 / 255, 0.0, 1.0])
