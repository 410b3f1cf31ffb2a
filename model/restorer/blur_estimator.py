"""The estimator of the kernel that blurs an image.

A sharp photograph's power falls with frequency in much the same way everywhere; a kernel's own zeros and slope stand
out against it, in the same way in every part of the image. A small network reads the logarithmic spectra of the windows
with most detail and pools them by attention (our design; spectra are the classical means, as of Gennery, JOSA 1973).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..blur_kernel import Blur
from ..images import middle
from .blur_fit import LOOKED_AT, fit_size, window_power

SIDE = 64
"""Side of a window in px; no smaller image is looked at."""

WINDOWS = 24
"""Number of windows that are looked at."""

KINDS = ("none", "gaussian", "defocus", "motion")
"""What an image can be blurred by: the classes of the estimator, in their order."""

DISC, PATH = 2.0, math.sqrt(24.0)
"""Radius of a disc and length of a path whose kernel has a sigma of 1 px, see `kernel_sigma`."""

SIGMAS = (0.5, 5.0)
"""Smallest and largest sigma in px of a kernel that is told; training has 0.7 to 4. Nothing larger is undone."""

CERTAIN = 0.9
"""Probability of its kind from which on a kernel is told. Generated blur gets more in nearly all cases; the path of a
real camera, which is not straight, gets 0.5 to 1, and a wrong kernel rings."""

_FLOOR = 1e-7
"""Power of noise below which a spectrum tells nothing, for values in 0..1: about a quarter of that of rounding the
three channels to 8 bits."""

_HEADS = 4
"""Ways of weighting the windows: some show the kernel's zeros, others its slope."""

_SPREAD = 3.0
"""About the deviation of a logarithmic spectrum."""


class BlurGuess(NamedTuple):
    """What the estimator makes of B images.

    Attributes:
        kind: [B, 4], logits of `KINDS`.
        log_sigma: [B, 3], logarithm of the kernel's sigma in px, if the image is blurred by the second to fourth kind.
        direction: [B, 2], cosine and sine of twice the angle of motion.
    """

    kind: Tensor
    log_sigma: Tensor
    direction: Tensor


class BlurEstimator(nn.Module):
    """Tell by what kernel an image is blurred.

    Example:
        >>> restorer.camera.estimator.estimate(image)
        Blur(defocus_radius=0.0, gaussian_sigma=1.6, motion_length=0.0, motion_angle=0.0)

    Args:
        width: Of its hidden layers.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(SIDE * (SIDE // 2 + 1), width)
        self.refine = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.attention = nn.Linear(width, _HEADS)
        self.value = nn.Linear(width, width)
        self.join = nn.Linear(_HEADS * width, width)
        self.answer = nn.Linear(width, len(KINDS) + len(KINDS) - 1 + 2)

    def forward(self, spectra: Tensor) -> BlurGuess:
        """Read the spectra [B, K, SIDE, SIDE / 2 + 1] of K windows of each of B images, from `window_spectra`."""
        level = spectra.mean((-2, -1), keepdim=True)
        hidden = F.gelu(self.read((spectra - level).flatten(2) / _SPREAD))
        for layer in self.refine:
            hidden = hidden + F.gelu(layer(hidden))
        weights = self.attention(hidden).softmax(1)
        pooled = torch.einsum("bkh,bkd->bhd", weights, self.value(hidden)).flatten(1)
        answer = self.answer(F.gelu(self.join(pooled)))
        return BlurGuess(*answer.split((len(KINDS), len(KINDS) - 1, 2), dim=1))

    @torch.inference_mode()
    def estimate(self, image: Tensor) -> Blur | None:
        """Return by what an image is blurred; None where that is not certain, or nothing, or it is less than a window.

        Args:
            image: [C, H, W] in 0..1, grey or in colors.
        """
        if min(image.shape[1:]) < SIDE:
            return None
        guess = self(window_spectra(image)[None].to(self.answer.weight))
        kind = int(guess.kind[0].argmax())
        if KINDS[kind] == "none" or guess.kind[0].softmax(0)[kind] < CERTAIN:
            return None
        sigma = min(max(math.exp(float(guess.log_sigma[0, kind - 1])), SIGMAS[0]), SIGMAS[1])
        cosine, sine = guess.direction[0].tolist()
        blur = {
            "gaussian": Blur(gaussian_sigma=sigma),
            "defocus": Blur(defocus_radius=DISC * sigma),
            "motion": Blur(motion_length=PATH * sigma, motion_angle=math.degrees(math.atan2(sine, cosine)) / 2 % 180),
        }[KINDS[kind]]
        fitted = fit_size(image, blur)
        is_known = max(fitted.defocus_radius / DISC, fitted.motion_length / PATH) <= SIGMAS[1]
        return fitted if is_known else None


def window_spectra(image: Tensor) -> Tensor:
    """Return the logarithmic power spectra of the windows with most detail, [WINDOWS, SIDE, SIDE / 2 + 1] fp32.

    Where an image has fewer windows they come again. Frequency 0 is in row SIDE / 2 and column 0.

    Args:
        image: [C, H, W] in 0..1, grey or in colors, H and W at least `SIDE`.
    """
    grey = middle(image, LOOKED_AT).float().clamp(0, 1).mean(0)
    step = SIDE // 2
    windows = grey.unfold(0, SIDE, step).unfold(1, SIDE, step)
    detail = windows.diff(dim=-1).abs().mean((-2, -1)) + windows.diff(dim=-2).abs().mean((-2, -1))
    best = detail.flatten().topk(min(WINDOWS, detail.numel())).indices
    best = best[torch.arange(WINDOWS, device=best.device) % len(best)]
    chosen = windows[best // windows.shape[1], best % windows.shape[1]]
    spectra: Tensor = torch.fft.fftshift((window_power(chosen) + _FLOOR).log(), dim=-2)
    return spectra
