"""Measures of quality: PSNR and SSIM of pictures, precision and recall of detections, rank correlation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics.functional import spearman_corrcoef
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

PSNR_CAP = 100.0
"""PSNR in dB of identical pictures, and the most that any two pictures get: a mean has to stay finite."""

SSIM_WINDOW = 11
"""Side of the Gaussian window in px that sigma 1.5 gives."""


def quantise(picture: Tensor) -> Tensor:
    """A picture in 0..1 as an 8-bit file would hold it: clamped and rounded to steps of 1/255, float32 on the CPU."""
    return (picture.detach().float().cpu().clamp(0.0, 1.0) * 255.0).round() / 255.0


def psnr(picture: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels of one picture in 0..1, at most `PSNR_CAP`."""
    return min(PSNR_CAP, float(peak_signal_noise_ratio(picture, truth, data_range=1.0)))


def ssim(picture: Tensor, truth: Tensor) -> float:
    """Structural similarity of two [1, 3, H, W] pictures in 0..1 from 16 px a side up.

    Gaussian window of 11 x 11 px with sigma 1.5, K1 = 0.01, K2 = 0.03, mean over the three colour channels and over
    the windows that lie inside the picture: no padding takes part.
    """
    # Torch's grouped convolution on the CPU is twice as fast in this memory format.
    picture, truth = (p.contiguous(memory_format=torch.channels_last) for p in (picture, truth))
    _, full = structural_similarity_index_measure(
        picture, truth, gaussian_kernel=True, sigma=1.5, data_range=1.0, k1=0.01, k2=0.03, return_full_image=True
    )
    # Versions of torchmetrics differ in whether their mean includes the padded borders, so it is taken here.
    half = SSIM_WINDOW // 2
    return float(full[..., half:-half, half:-half].mean())


@dataclass(frozen=True)
class Detection:
    """Counts of one degradation's detection over many pictures."""

    hits: int
    false_alarms: int
    misses: int

    @property
    def precision(self) -> float:
        """Share of the detections that are right; NaN where nothing was detected."""
        return _ratio(self.hits, self.hits + self.false_alarms)

    @property
    def recall(self) -> float:
        """Share of the present ones that were detected; NaN where none was present."""
        return _ratio(self.hits, self.hits + self.misses)

    @property
    def f1(self) -> float:
        """Harmonic mean of the two; NaN where nothing was present or detected."""
        return _ratio(2 * self.hits, 2 * self.hits + self.false_alarms + self.misses)


def detection(said: Tensor, present: Tensor) -> Detection:
    """Counts from two boolean vectors over the same pictures."""
    return Detection(int((said & present).sum()), int((said & ~present).sum()), int((~said & present).sum()))


def rank_correlation(values: Tensor, truth: Tensor) -> float:
    """Spearman's rank correlation of two vectors, equal values sharing their rank; NaN where one is constant."""
    values, truth = values.float(), truth.float()
    if len(values) < 2 or bool((values == values[0]).all()) or bool((truth == truth[0]).all()):
        return float("nan")
    return float(spearman_corrcoef(values, truth))


def mean(values: list[float]) -> float:
    """Mean of the values that are there; NaN where there is none."""
    numbers = torch.tensor(values, dtype=torch.float64)
    return float(torch.nanmean(numbers))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
