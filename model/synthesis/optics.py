"""The blur of lens and motion: its kernel, and the convolution of an image with it."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from ..blur_kernel import Blur
from ..images import fft_size
from .severities import Severities


def point_spread(severities: Severities) -> np.ndarray | None:
    """Return defocus, motion and Gaussian blur as one kernel [K, K] with odd K and sum 1, or None without blur."""
    return Blur(
        severities.defocus_radius, severities.gaussian_sigma, severities.motion_length, severities.motion_angle
    ).kernel()


def blur(planes: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve planes [3, H, W] with a square kernel.

    The image is mirrored at its edges; its edge pixels are repeated if it is no larger than half the kernel.
    """
    half = kernel.shape[0] // 2
    height, width = planes.shape[1:]
    mode = "reflect" if half < min(height, width) else "replicate"
    padded = functional.pad(torch.from_numpy(planes)[None], (half, half, half, half), mode=mode)[0]
    size = [fft_size(height + 2 * half), fft_size(width + 2 * half)]
    spectrum = torch.fft.rfft2(padded, s=size)
    spectrum *= torch.fft.rfft2(torch.from_numpy(kernel.astype(np.float32)), s=size)
    blurred = torch.fft.irfft2(spectrum, s=size)
    inside: torch.Tensor = blurred[:, 2 * half : 2 * half + height, 2 * half : 2 * half + width]
    return inside.contiguous().numpy()
