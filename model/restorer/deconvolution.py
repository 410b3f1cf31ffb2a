"""Deconvolution of an image that a known kernel has blurred, which the camera branch sees beside the image itself.

It is Wiener's filter, cut to a finite reach so that tiles equal the whole image. What the division brings out of noise
and of a kernel that is not quite right, the network removes (as in deep Wiener deconvolution, arXiv 2103.09962, there
on features; the reach and the two levels of caution are our design).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ..blur_kernel import Blur
from ..images import fft_size

REACH = 32
"""How far a filter reaches, in px a side."""

CAUTION = (2.0, 50.0)
"""Factors on the variance of the noise, one for each filter. A kernel is estimated, and what it is wrong by acts like
noise that grows with the image."""

NATURAL = 6e-4
"""Power of a photograph at a frequency of 1 cycle per px: its spectrum is taken to fall with the frequency's square."""

_GRID = 256
"""Side in px of the square in which filters are designed. Those of kernels with zeros fall off slowly, and what wraps
around in a square that is hardly larger than the filter costs up to 2 dB of long motion."""

_RANGE = 0.25
"""How far beyond 0..1 a deconvolved value may lie."""


def deconvolve(pixels: Tensor, blur: Blur, variance: float) -> Tensor:
    """Return what Wiener's filters for a blur make of an image, without its margin.

    Args:
        pixels: [B, 3, H + 2 REACH, W + 2 REACH] in 0..1.
        blur: That the filters undo.
        variance: Of the noise, for values in 0..1.

    Returns:
        [B, 3 F, H, W] fp32, the results of the F filters one after the other, within `_RANGE` around 0..1.
    """
    filters = wiener_filters(blur, variance).to(pixels.device)
    batch, _, rows, columns = pixels.shape
    size = (fft_size(rows), fft_size(columns))  # cyclic: what wraps falls into the margin
    spectrum = torch.fft.rfft2(pixels.float(), s=size)[:, None] * torch.fft.rfft2(filters, s=size)[None, :, None]
    filtered: Tensor = torch.fft.irfft2(spectrum, s=size)[..., 2 * REACH : rows, 2 * REACH : columns]
    return filtered.reshape(batch, -1, *filtered.shape[3:]).clamp(-_RANGE, 1 + _RANGE)


@lru_cache(maxsize=8)
def wiener_filters(blur: Blur, variance: float) -> Tensor:
    """Return Wiener's filters for a blur, [F, 2 REACH + 1, 2 REACH + 1] fp32 of sum 1, one for each of `CAUTION`.

    Args:
        blur: What they undo; not none.
        variance: Of the noise, for values in 0..1.
    """
    kernel = blur.kernel()
    assert kernel is not None
    spread = torch.from_numpy(kernel)
    if len(spread) > _GRID:
        raise ValueError(f"a kernel of {len(spread)} px is larger than the {_GRID} px of the filters")
    transfer = torch.fft.rfft2(_centered(spread))
    frequency = torch.fft.fftfreq(_GRID, dtype=torch.float64)[:, None] ** 2 + torch.fft.rfftfreq(_GRID).double() ** 2
    cautions = torch.tensor(CAUTION, dtype=torch.float64)[:, None, None]
    inverse = transfer.conj() / (transfer.abs().square() + cautions * variance * frequency / NATURAL)
    filters: Tensor = torch.fft.irfft2(inverse, s=(_GRID, _GRID)).roll((REACH, REACH), (1, 2))
    filters = filters[:, : 2 * REACH + 1, : 2 * REACH + 1]
    taper = torch.hann_window(2 * REACH + 3, periodic=False, dtype=torch.float64)[1:-1].sqrt()
    filters = filters * (taper[:, None] * taper)
    return (filters / filters.sum((1, 2), keepdim=True)).float()


def _centered(kernel: Tensor) -> Tensor:
    """Put a kernel [K, K] into a square of `_GRID` px with its middle at the origin."""
    square = kernel.new_zeros(_GRID, _GRID)
    square[: len(kernel), : len(kernel)] = kernel
    half = len(kernel) // 2
    return square.roll((-half, -half), (0, 1))
