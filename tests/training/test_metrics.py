"""Metrics are those of their definitions, also where there is nothing to count."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    peak_signal_noise_ratio_with_blocked_effect,
    structural_similarity_index_measure,
)

from mofe_restore.model.images import PSNR_CAP, psnr
from mofe_restore.training.metrics import (
    Detection,
    detection,
    luma,
    psnr_b,
    quantise,
    rank_correlation,
    ssim,
    uniform_ssim,
)


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


def test_field23_row7_ssim_of_a_uniform_window_is_that_of_scikit_image() -> None:
    """`skimage.metrics.structural_similarity(a, b, channel_axis=-1, data_range=1)`, window by window."""
    generator = torch.Generator().manual_seed(1)
    a = torch.rand(1, 3, 10, 9, generator=generator)
    b = (a + 0.2 * torch.rand(a.shape, generator=generator)).clamp(0, 1)
    values = []
    for channel in range(3):
        for y in range(4):
            for x in range(3):
                p, q = (image[0, channel, y : y + 7, x : x + 7].flatten().double() for image in (a, b))
                cov = torch.cov(torch.stack([p, q]))
                top = (2 * p.mean() * q.mean() + 1e-4) * (2 * cov[0, 1] + 9e-4)
                values.append(top / ((p.mean() ** 2 + q.mean() ** 2 + 1e-4) * (cov[0, 0] + cov[1, 1] + 9e-4)))
    assert uniform_ssim(a, b) == pytest.approx(float(torch.stack(values).mean()), abs=1e-9)
    assert uniform_ssim(a, a) == pytest.approx(1.0, abs=1e-12)
    population = structural_similarity_index_measure(a, b, gaussian_kernel=False, kernel_size=7, data_range=1.0)
    assert abs(float(population) - uniform_ssim(a, b)) < 0.01, "a sample's variance is 49/48 of torchmetrics'"


def test_field23_row7_psnr_is_that_of_torchmetrics() -> None:
    a, b = (torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(seed)) for seed in (2, 3))
    assert psnr(a, b) == pytest.approx(float(peak_signal_noise_ratio(a, b, data_range=1.0)), abs=1e-4)


def test_field23_row7_psnr_b_counts_the_steps_between_blocks() -> None:
    truth = torch.full((1, 1, 16, 16), 100 / 255)
    image = truth.clone()
    image[..., 8:] += 10 / 255
    # error 100/2; 16 steps of 10 at borders: 16 * 100 / (16 * 1 + 16 * 1) = 50 per step; log2(8) / log2(16) = 3/4
    assert psnr_b(image, truth) == pytest.approx(10 * math.log10(255**2 / (50 + 0.75 * 50)), abs=1e-6)
    moved = truth.clone()
    moved[..., 9:] += 10 / 255
    assert psnr_b(moved, truth) == pytest.approx(psnr(moved, truth), abs=1e-4), "a step inside a block is none"
    assert psnr_b(truth, truth) == PSNR_CAP
    color = image.expand(1, 3, -1, -1)
    step = round(110 / 255 * 219 + 16) - round(100 / 255 * 219 + 16)
    expected = 10 * math.log10(255**2 / (50 + 0.75 * 16 * step**2 / 32))
    assert psnr_b(color, truth.expand(1, 3, -1, -1)) == pytest.approx(expected, abs=1e-6)
    theirs = peak_signal_noise_ratio_with_blocked_effect(image * 255, truth * 255, data_range=255.0)
    assert float(theirs) > psnr_b(image, truth) + 0.5, "two blocks have one border between them, not two"


def test_field23_row7_grey_is_that_of_image_libraries() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    grey = luma(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)
    expected = np.asarray(Image.fromarray(pixels).convert("L"))
    difference = np.abs((grey[0, 0].numpy() * 255).round() - expected)
    assert difference.max() <= 1 and difference.mean() < 0.01
