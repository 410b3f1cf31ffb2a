"""The size of a blur's kernel, fitted to the spectrum of the image.

A network tells the kind of a kernel and about its direction, but its sizes are vague, above all of long motion, whose
zeros lie closer than its small windows resolve. Larger windows show where the zeros are, and a model with few unknowns
finds them: the power of a photograph falls off smoothly, times the kernel's, plus noise (our design; that zeros tell a
kernel's size is as old as Gennery, JOSA 1973).
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ..blur_kernel import Blur
from ..images import middle

SIDE = 128
"""Side of a window in px; smaller images are not fitted. Zeros of 30 px of motion are four frequencies apart."""

LOOKED_AT = 1024
"""Largest side in px of the part, from the middle of the image, from which windows are taken."""

SIZES = (0.55, 3.0)
"""Smallest and largest size that is tried, in those of the first estimate, which is short of long motion."""

TURNS = 4.5
"""Largest turn that is tried, in degrees."""

_FLOOR = 1e-8
"""Power below all noise, for values in 0..1."""

_FILLED = 0.05
"""Least power of a kernel where the scene's is measured: leakage of the windows fills zeros."""


def fit_size(image: Tensor, blur: Blur) -> Blur:
    """Return a blur whose size, and direction if it is motion, fit the image best; a Gaussian, without zeros, as it is.

    Args:
        image: [C, H, W] in 0..1, grey or in colors.
        blur: The first estimate: defocus, motion or Gaussian alone.
    """
    if blur.gaussian_sigma > 0 or min(image.shape[1:]) < SIDE:
        return blur
    spectrum = _Spectrum(image)
    smallest, largest = SIZES
    if blur.defocus_radius > 0:
        radii = _steps(smallest * blur.defocus_radius, largest * blur.defocus_radius, 60)
        radius = radii[int(spectrum.misfits(_disc(radii, spectrum)).argmin())]
        finer = _steps(0.97 * float(radius), 1.03 * float(radius), 13)
        return replace(blur, defocus_radius=float(finer[int(spectrum.misfits(_disc(finer, spectrum)).argmin())]))
    lengths = _steps(smallest * blur.motion_length, largest * blur.motion_length, 60)
    turns = torch.linspace(-TURNS, TURNS, 7).tolist()
    length, angle = spectrum.best_motion(lengths, [blur.motion_angle + turn for turn in turns])
    finer = _steps(0.97 * length, 1.03 * length, 9)
    turns = torch.linspace(-1.0, 1.0, 5).tolist()
    length, angle = spectrum.best_motion(finer, [angle + turn for turn in turns])
    return replace(blur, motion_length=length, motion_angle=angle % 180)


def window_power(windows: Tensor) -> Tensor:
    """Return the power spectra [K, S, S / 2 + 1] of windows [K, S, S] of an image, without their means.

    White noise has its variance at every frequency.
    """
    taper = torch.hann_window(windows.shape[-1], periodic=False, device=windows.device)
    taper = taper[:, None] * taper
    tapered = (windows - windows.mean((-2, -1), keepdim=True)) * taper
    power: Tensor = torch.fft.rfft2(tapered).abs().square() / taper.square().sum()
    return power


class _Spectrum:
    """The mean logarithmic power of an image's windows, at N frequencies.

    Attributes:
        x: [N], horizontal frequency in cycles per px.
        y: [N], vertical frequency.
        radius: [N], their distance from 0.
    """

    def __init__(self, image: Tensor) -> None:
        grey = middle(image, LOOKED_AT).float().clamp(0, 1).mean(0).cpu()
        windows = grey.unfold(0, SIDE, SIDE // 2).unfold(1, SIDE, SIDE // 2).reshape(-1, SIDE, SIDE)
        power = window_power(windows)
        y, x = torch.meshgrid(torch.fft.fftfreq(SIDE), torch.fft.rfftfreq(SIDE), indexing="ij")
        radius = torch.hypot(x, y)
        # not the axes, which the borders of windows fill, nor the corners, where JPEG and demosaicing leave little
        used = (radius > 4 / SIDE) & (radius < 0.48) & (x.abs() > 1.5 / SIDE) & (y.abs() > 1.5 / SIDE)
        self.x, self.y, self.radius = x[used], y[used], radius[used]
        self._log_power = (power + _FLOOR).log().mean(0)[used]
        self._noise = self._log_power[self.radius > 0.35].exp().quantile(0.02)
        log_radius, twice = self.radius.log(), 2 * torch.atan2(self.y, self.x)
        smooth = torch.stack([torch.ones_like(twice), log_radius, log_radius**2, twice.cos(), twice.sin()], dim=1)
        self._smooth = torch.linalg.qr(smooth)[0]

    def misfits(self, kernels: Tensor) -> Tensor:
        """Return how badly the power [S, N] of each of S kernels explains the spectrum, [S].

        That is the mean size of what is left of the logarithm after a smooth function of the frequency.
        """
        low = self.radius < 0.06
        scene = (self._log_power[low].exp() * self.radius[low] ** 2 / (kernels[:, low] + _FILLED)).median(1).values
        expected = (kernels * scene[:, None] / self.radius**2 + self._noise).log()
        left = self._log_power - expected
        left = left - (left @ self._smooth) @ self._smooth.T
        misfits: Tensor = left.abs().mean(1)
        return misfits

    def best_motion(self, lengths: Tensor, angles: list[float]) -> tuple[float, float]:
        """Return the length and the angle that fit best."""
        found = []
        for angle in angles:
            along = self.x * math.cos(math.radians(angle)) - self.y * math.sin(math.radians(angle))
            misfits = self.misfits(torch.sinc(lengths[:, None] * along).square())
            best = int(misfits.argmin())
            found.append((float(misfits[best]), float(lengths[best]), angle))
        return min(found)[1:]


def _steps(smallest: float, largest: float, count: int) -> Tensor:
    """Return sizes from the smallest to the largest, each larger than the one before by the same factor, [count]."""
    return torch.logspace(math.log10(smallest), math.log10(largest), count)


def _disc(radii: Tensor, spectrum: _Spectrum) -> Tensor:
    """Return the power of discs at the frequencies of a spectrum, [S, N]."""
    phase = 2 * math.pi * radii[:, None] * spectrum.radius
    power: Tensor = (2 * torch.special.bessel_j1(phase) / phase).square()
    return power
