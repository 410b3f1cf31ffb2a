"""Measures of quality: SSIM and PSNR-B of images, precision and recall, rank correlation (PSNR: `model.images`)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional import spearman_corrcoef
from torchmetrics.functional.image import structural_similarity_index_measure

from ..model.images import LUMA, PSNR_CAP

SSIM_WINDOW = 11
"""Side in px of the Gaussian window, which follows from sigma 1.5."""

UNIFORM_WINDOW = 7
"""Side in px of the window of `uniform_ssim`, the default of scikit-image."""

JPEG_BLOCK = 8
"""Side in px of the blocks that JPEG codes one by one."""


def quantise(image: Tensor) -> Tensor:
    """Return an image as an 8-bit file would hold it: clamped to 0..1 in steps of 1/255, float32 on the CPU."""
    return (image.detach().float().cpu().clamp(0.0, 1.0) * 255.0).round() / 255.0


def ssim(image: Tensor, truth: Tensor) -> float:
    """Return the structural similarity of two images.

    Gaussian window of 11 x 11 px with sigma 1.5, K1 = 0.01, K2 = 0.03; the mean is over the three color channels and
    over the windows that lie inside the image, so that no padding takes part.

    Args:
        image: [1, 3, H, W] in 0..1, from 16 px a side up.
        truth: Of the same shape.
    """
    # torch's grouped convolution on the CPU is twice as fast in this memory format
    image, truth = (each.contiguous(memory_format=torch.channels_last) for each in (image, truth))
    _, full = structural_similarity_index_measure(
        image, truth, gaussian_kernel=True, sigma=1.5, data_range=1.0, k1=0.01, k2=0.03, return_full_image=True
    )
    # versions of torchmetrics differ in whether their mean includes the padded borders, so it is taken here
    half = SSIM_WINDOW // 2
    return float(full[..., half:-half, half:-half].mean())


def uniform_ssim(image: Tensor, truth: Tensor) -> float:
    """Return the structural similarity as `skimage.metrics.structural_similarity` measures it by default.

    All pixels of a window of 7 x 7 px count the same, and variances are those of a sample, 49/48 of what torchmetrics
    takes; K1 = 0.01, K2 = 0.03; the mean is over the channels and over the windows that lie inside the image.

    Args:
        image: [1, C, H, W] in 0..1, from 7 px a side up.
        truth: Of the same shape.
    """
    a, b = image.double(), truth.double()
    count = UNIFORM_WINDOW**2

    def local(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, UNIFORM_WINDOW, stride=1)

    mean_a, mean_b = local(a), local(b)
    sample = count / (count - 1)
    var_a, var_b = sample * (local(a * a) - mean_a**2), sample * (local(b * b) - mean_b**2)
    covariance = sample * (local(a * b) - mean_a * mean_b)
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float((similarity / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())


def psnr_b(image: Tensor, truth: Tensor) -> float:
    """Return PSNR-B in dB: PSNR whose error grows with the steps that an image has at the borders of JPEG's blocks.

    As in the code of FBCNN, which follows Yim and Bovik (2011): the mean squared error is that of all channels, the
    steps are those of luminance, for RGB that of studio range (16..235) in whole numbers. torchmetrics takes one
    border more per line than there is between blocks, and so comes out higher, the more the smaller the image.

    Args:
        image: [1, C, H, W] in 0..1, C being 1 or 3, from 16 px a side up.
        truth: Of the same shape.

    Returns:
        At most `PSNR_CAP`.
    """
    error = float((image.double() - truth.double()).square().mean()) * 255**2
    error += _blocking(_studio_luma(image) if image.shape[1] == 3 else image.double()[0, 0] * 255)
    return PSNR_CAP if error <= 0 else min(PSNR_CAP, 10 * math.log10(255**2 / error))


def _blocking(plane: Tensor) -> float:
    """Return the blocking effect factor of a plane [H, W] in 0..255."""
    height, width = plane.shape
    sums, counts = [0.0, 0.0], [0.0, 0.0]  # inside blocks, at their borders
    for length, other, steps in (
        (width, height, plane.diff(dim=1).square().sum(0)),
        (height, width, plane.diff(dim=0).square().sum(1)),
    ):
        border = torch.zeros(length - 1, dtype=torch.bool)
        border[JPEG_BLOCK - 1 :: JPEG_BLOCK] = True
        borders = other * (length / JPEG_BLOCK - 1)
        sums = [sums[0] + float(steps[~border].sum()), sums[1] + float(steps[border].sum())]
        counts = [counts[0] + other * (length - 1) - borders, counts[1] + borders]
    inside, at_borders = (total / count for total, count in zip(sums, counts, strict=True))
    if at_borders <= inside:
        return 0.0
    return math.log2(JPEG_BLOCK) / math.log2(min(height, width)) * (at_borders - inside)


def _studio_luma(image: Tensor) -> Tensor:
    """Return the luminance [H, W] of an image [1, 3, H, W] in 0..1: 16..235, in whole numbers."""
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=torch.float64)
    return ((image.double()[0] * weights[:, None, None]).sum(0) + 16).round()


def luma(image: Tensor) -> Tensor:
    """Return an image [B, 3, H, W] in grey, [B, 1, H, W], in steps of 1/255, as image libraries read it in grey."""
    weights = torch.tensor(LUMA).reshape(1, 3, 1, 1)
    return quantise((image.detach().float().cpu() * weights).sum(1, keepdim=True))


@dataclass(frozen=True)
class Detection:
    """Counts of the detections of one degradation over many images."""

    hits: int
    false_alarms: int
    misses: int

    @property
    def precision(self) -> float:
        """The share of detections that are right; NaN without any detection."""
        return _ratio(self.hits, self.hits + self.false_alarms)

    @property
    def recall(self) -> float:
        """The share of present ones that were detected; NaN where none was present."""
        return _ratio(self.hits, self.hits + self.misses)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; NaN where nothing was present or detected."""
        return _ratio(2 * self.hits, 2 * self.hits + self.false_alarms + self.misses)


def detection(detected: Tensor, present: Tensor) -> Detection:
    """Count detections, from two boolean vectors over the same images."""
    return Detection(
        hits=int((detected & present).sum()),
        false_alarms=int((detected & ~present).sum()),
        misses=int((~detected & present).sum()),
    )


def rank_correlation(values: Tensor, truth: Tensor) -> float:
    """Return Spearman's rank correlation of two vectors, equal values sharing a rank; NaN where one is constant."""
    values, truth = values.float(), truth.float()
    if len(values) < 2 or bool((values == values[0]).all()) or bool((truth == truth[0]).all()):
        return float("nan")
    return float(spearman_corrcoef(values, truth))


def mean(values: list[float]) -> float:
    """Return the mean of the values that are not NaN; NaN where there is none."""
    numbers = torch.tensor(values, dtype=torch.float64)
    return float(torch.nanmean(numbers))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
