"""The blur of lens and motion: its kernel, the kernel's width, and the convolution of an image with it."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from .severities import Severities


def point_spread(severities: Severities) -> np.ndarray | None:
    """Return defocus, motion and Gaussian blur as one kernel [K, K] with odd K and sum 1, or None without blur."""
    spread = severities.gaussian_sigma**2 + severities.defocus_radius**2 / 4 + severities.motion_length**2 / 24
    if spread <= 0.0:
        return None
    reach = 3.0 * severities.gaussian_sigma + severities.defocus_radius + 0.5 * severities.motion_length
    half = max(1, int(np.ceil(reach)))
    axis = np.arange(-half, half + 1, dtype=np.float64)
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    kernel[half, half] = 1.0
    radius = np.hypot(axis[:, None], axis[None])
    if severities.defocus_radius > 0.0:
        kernel = _convolve(kernel, np.clip(severities.defocus_radius - radius + 0.5, 0.0, 1.0))
    if severities.motion_length > 0.0:
        kernel = _convolve(kernel, _path(severities.motion_length, severities.motion_angle, half))
    if severities.gaussian_sigma > 0.0:
        kernel = _convolve(kernel, np.exp(-0.5 * (radius / severities.gaussian_sigma) ** 2))
    kernel /= kernel.sum()
    return kernel


def _path(length: float, angle: float, half: int) -> np.ndarray:
    """Draw a straight antialiased path through the middle of a square of 2 half + 1 px a side."""
    steps = np.linspace(-0.5, 0.5, max(3, int(8 * length))) * length
    y, x = half - steps * np.sin(np.radians(angle)), half + steps * np.cos(np.radians(angle))
    side = 2 * half + 1
    kernel = np.zeros(side * side)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = np.abs(1 - down - (y - top)) * np.abs(1 - right - (x - left))
        place = np.minimum(top + down, side - 1) * side + np.minimum(left + right, side - 1)
        kernel += np.bincount(place, weights=weight, minlength=side * side)
    return kernel.reshape(side, side)


def _convolve(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Convolve two centered square kernels of one size; the result is cut to that size."""
    side = first.shape[0]
    full = np.fft.irfft2(np.fft.rfft2(first, (2 * side, 2 * side)) * np.fft.rfft2(second, (2 * side, 2 * side)))
    half = side // 2
    return np.maximum(full[half : half + side, half : half + side], 0.0)


def kernel_sigma(kernel: np.ndarray) -> float:
    """Return the sigma in px of the Gaussian of the same variance, which is the mean of both axes."""
    axis = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
    squared = axis[:, None] ** 2 + axis[None] ** 2
    return float(np.sqrt(0.5 * (kernel * squared).sum()))


def blur(planes: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve planes [3, H, W] with a square kernel.

    The image is mirrored at its edges; its edge pixels are repeated if it is no larger than half the kernel.
    """
    half = kernel.shape[0] // 2
    height, width = planes.shape[1:]
    mode = "reflect" if half < min(height, width) else "replicate"
    padded = functional.pad(torch.from_numpy(planes)[None], (half, half, half, half), mode=mode)[0]
    size = [_fft_size(height + 2 * half), _fft_size(width + 2 * half)]
    spectrum = torch.fft.rfft2(padded, s=size)
    spectrum *= torch.fft.rfft2(torch.from_numpy(kernel.astype(np.float32)), s=size)
    blurred = torch.fft.irfft2(spectrum, s=size)
    inside: torch.Tensor = blurred[:, 2 * half : 2 * half + height, 2 * half : 2 * half + width]
    return inside.contiguous().numpy()


def _fft_size(minimum: int) -> int:
    """Return the next size without prime factors above 5, for which the transform is fast."""
    size = minimum
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1
