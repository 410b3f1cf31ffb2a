"""How strongly an image was compressed as JPEG, read from its pixels."""

from __future__ import annotations

import math
import statistics

import torch
from torch import Tensor

from .images import LUMA, ceil_div, middle
from .jpeg_grid import BLOCK, LOOKED_AT, find_grid

LUMINANCE = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
).float()
"""Quantization steps of brightness at quality 50, by vertical and horizontal frequency (ITU-T T.81, table K.1)."""

ORDER = 6
"""Frequencies whose indices add up to at most this are looked at: higher ones are mostly 0."""

BLOCKS = 2048
"""Number of blocks that are looked at, at even distances."""

COEFFICIENTS = 512
"""Number of coefficients of a frequency that are looked at, of those that are not 0."""

LEAST = 30
"""Number of coefficients that are not 0 which a frequency must have to tell its step."""

CONCENTRATED = 0.6
"""Mean cosine of the coefficients' phases from which on they count as multiples of a step: 1 for exact ones, 0 for any
others. Rounding the decoded pixels to 8 bits costs 0.1 at a step of 3 and 0.7 at a step of 1."""

AGREEING, TOLERANCE = 0.6, 1.35
"""Share of the frequencies whose steps must be those of one quality, and the factor within which they count as that."""

_COSINES = torch.cos((2 * torch.arange(BLOCK)[None] + 1) * torch.arange(BLOCK)[:, None] * (math.pi / (2 * BLOCK))) / 2
_COSINES[0] /= math.sqrt(2)
"""The orthonormal cosine transform of `BLOCK` values."""


def find_quality(image: Tensor) -> float | None:
    """Return the quality of the strongest JPEG compression whose traces are in an image; None where there are none.

    A decoder leaves every frequency of every block of brightness at a multiple of that frequency's quantization step
    (the classical evidence: Fan and de Queiroz, IEEE TIP 2003). Of each frequency the largest step is taken at whose
    multiples its coefficients lie, and the quality is the one whose standard table fits most of them. An earlier,
    stronger compression on the same grid is found through a later one, and one on another grid where its blocks stand
    out (`find_grid`). Resizing, noise and filters erase the traces; steps of 1, of quality 96 and above, leave none.

    Args:
        image: [3, H, W] in 0..1, on any device.

    Returns:
        1..100, on the scale of libjpeg.
    """
    image = image.detach().float().cpu()
    places = {(0, 0), find_grid(image)}
    found = [quality for place in places if (quality := _quality_on(image[:, place[0] :, place[1] :])) is not None]
    return min(found, default=None)


def strength_of_quality(quality: float) -> float:
    """Return the strength of a JPEG: 0 for quality 100, which means none, and 1 for quality 10."""
    return (100.0 - quality) / 90.0


def _quality_on(image: Tensor) -> float | None:
    """Return the quality of an image [3, H, W] whose blocks start at its first pixel."""
    height, width = (length // BLOCK * BLOCK for length in image.shape[1:])
    if not height or not width:
        return None
    coefficients = _coefficients(middle(image[:, :height, :width], LOOKED_AT, BLOCK))
    frequencies = [(row, order - row) for order in range(1, ORDER + 1) for row in range(order + 1)]
    steps = {each: step for each in frequencies if (step := _step(coefficients[:, each[0], each[1]])) is not None}
    scales = {each: step / float(LUMINANCE[each]) for each, step in steps.items() if step}
    if not scales:
        return None
    scale = statistics.median_high(scales.values())
    agreeing = [each for each in scales.values() if 1 / TOLERANCE <= each / scale <= TOLERANCE]
    if len(agreeing) < max(3, AGREEING * len(steps)):
        return None
    scale = statistics.fmean(agreeing)
    return 100 - 50 * scale if scale <= 1 else 50 / scale


def _coefficients(image: Tensor) -> Tensor:
    """Return the cosine transforms [N, 8, 8] of blocks of brightness, in levels of 8 bits.

    Args:
        image: [3, H, W] in 0..1, H and W multiples of `BLOCK`.
    """
    levels = image * 255
    red, green, blue = (levels > 0.5) & (levels < 254.5)
    whole = _blocks(red & green & blue).flatten(1).all(1)  # clipping moves all coefficients of a block
    chosen = whole.nonzero()[:, 0]
    chosen = chosen[:: max(1, ceil_div(len(chosen), BLOCKS))]
    return _COSINES @ _blocks(torch.einsum("c,chw->hw", levels.new_tensor(LUMA), levels))[chosen] @ _COSINES.T


def _blocks(plane: Tensor) -> Tensor:
    """[H, W] -> [N, 8, 8]."""
    return plane.unfold(0, BLOCK, BLOCK).unfold(1, BLOCK, BLOCK).flatten(0, 1)


def _step(coefficients: Tensor) -> float | None:
    """Return the step whose multiples the coefficients [N] of a frequency are; 0 for none, None where few are not 0."""
    sizes = coefficients.abs()
    sizes = sizes[sizes > 1.5]
    if len(sizes) < LEAST:
        return None
    sizes = sizes[:: ceil_div(len(sizes), COEFFICIENTS)]
    most = 2 * float(sizes.topk(LEAST).values[-1])  # of larger steps too few coefficients count
    steps = torch.arange(2.0, min(128.0, most))
    counted = sizes[None] > steps[:, None] / 2
    number = counted.sum(1)
    mean = (torch.cos(2 * math.pi * sizes[None] / steps[:, None]) * counted).sum(1) / number.clamp(min=1)
    mean[number < LEAST] = 0.0
    good = (mean > CONCENTRATED).nonzero()[:, 0]
    if not len(good):
        return 0.0
    largest = float(steps[good[-1]])
    near = (steps >= 0.75 * largest) & (steps <= largest)
    return float(steps[near][mean[near].argmax()])
