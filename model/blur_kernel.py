"""The blur of lens and motion: its kernel, and that kernel's width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Blur:
    """What blurs an image, in px; 0 means that it is absent.

    Attributes:
        defocus_radius: Radius of the disc.
        gaussian_sigma: Sigma of Gaussian blur.
        motion_length: Length of the motion path.
        motion_angle: Direction of the motion path in degrees; 0 is horizontal, 90 is vertical.
    """

    defocus_radius: float = 0.0
    gaussian_sigma: float = 0.0
    motion_length: float = 0.0
    motion_angle: float = 0.0

    def words(self) -> str:
        """Return what it is in words, such as "motion of 9.0 px at 30 degrees"."""
        parts = {"defocus": self.defocus_radius, "Gaussian": self.gaussian_sigma, "motion": self.motion_length}
        words = [f"{name} of {size:.1f} px" for name, size in parts.items() if size > 0]
        return " and ".join(words) + (f" at {self.motion_angle:.0f} degrees" if self.motion_length > 0 else "")

    def kernel(self) -> np.ndarray | None:
        """Return all of it as one kernel [K, K] with odd K and sum 1, or None without blur."""
        if self.gaussian_sigma <= 0.0 and self.defocus_radius <= 0.0 and self.motion_length <= 0.0:
            return None
        reach = 3.0 * self.gaussian_sigma + self.defocus_radius + 0.5 * self.motion_length
        half = max(1, int(np.ceil(reach)))
        axis = np.arange(-half, half + 1, dtype=np.float64)
        kernel = np.zeros((2 * half + 1, 2 * half + 1))
        kernel[half, half] = 1.0
        radius = np.hypot(axis[:, None], axis[None])
        if self.defocus_radius > 0.0:
            kernel = _convolve(kernel, np.clip(self.defocus_radius - radius + 0.5, 0.0, 1.0))
        if self.motion_length > 0.0:
            kernel = _convolve(kernel, _path(self.motion_length, self.motion_angle, half))
        if self.gaussian_sigma > 0.0:
            kernel = _convolve(kernel, np.exp(-0.5 * (radius / self.gaussian_sigma) ** 2))
        kernel /= kernel.sum()
        return kernel


def kernel_sigma(kernel: np.ndarray) -> float:
    """Return the sigma in px of the Gaussian of the same variance, which is the mean of both axes."""
    axis = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
    squared = axis[:, None] ** 2 + axis[None] ** 2
    return float(np.sqrt(0.5 * (kernel * squared).sum()))


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
