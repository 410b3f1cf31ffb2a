"""Measures of quality: SSIM of images, precision and recall of detections, rank correlation (PSNR: `model.images`)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics.functional import spearman_corrcoef
from torchmetrics.functional.image import structural_similarity_index_measure

SSIM_WINDOW = 11
"""Side in px of the Gaussian window, which follows from sigma 1.5."""


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
