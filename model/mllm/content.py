"""Content that looks like a degradation and is none, recognized by plain statistics (our design).

A network that was trained on photographs takes dots for snow, stars for noise, a black frame for a dark scene and hard
edges for JPEG artifacts. Two kinds can be told from photographs without training: flat graphics (plain colors, titles,
barcodes, line art) and bright points on a plain ground (stars, dots). The limits were set so that none of 460
photographs, degraded and good, falls under the first, and none of 200, snow and noise among them, under the second.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images import middle

GRAPHIC, POINTS = "a flat graphic", "bright points on a plain ground"
"""What can be recognized, as it is said in a sentence."""

LARGEST = 1024
"""Longest side in px of what is looked at: of graphics the middle, since shrinking ends flatness; else the whole."""

FLAT_SHARE, FLAT_COLORS = 0.3, 0.5
"""Least share of pixels that equal two neighbors, and of those in a few colors that nearly nothing comes close to."""

SAME, CLOSE, ALONE = 2, 16, 0.9
"""A color stands alone if so large a share of the pixels within `CLOSE` levels of it lies within `SAME` levels."""

CONTRAST, LEAST_POINTS, ISOLATED, SPREAD = 0.3, 10, 0.7, 0.4
"""Of points: least brightness over the ground, number, share of isolated ones, share of 36 parts with one."""

DARK, PLAIN_DARK, PLAIN = 0.2, 0.13, 0.04
"""Brightest part of a dark ground, as a sky at night has it; largest range of brightness of such a ground, and of any
other: snow in haze has a pale ground of little contrast, too."""


def recognize(image: Tensor) -> str:
    """Return `GRAPHIC`, `POINTS`, or an empty string for everything else, such as photographs.

    Args:
        image: [3, H, W] in 0..1, on any device.
    """
    image = image.detach().float().cpu()
    if _is_graphic(image):
        return GRAPHIC
    return POINTS if _is_points(image) else ""


def _is_graphic(image: Tensor) -> bool:
    """Whether most pixels have a few colors exactly: noise, gradients and JPEG spread those of photographs."""
    levels = (middle(image, LARGEST) * 255).round().to(torch.uint8)
    corner = levels[:, :-1, :-1]
    red, green, blue = (levels[:, :-1, 1:] == corner) & (levels[:, 1:, :-1] == corner)
    equal = red & green & blue  # several times as fast as `all`
    if float(equal.float().mean()) < FLAT_SHARE:
        return False
    pixels = levels.flatten(1).int()
    left, alone = torch.ones(pixels.shape[1], dtype=torch.bool), 0
    codes = (pixels[0] * 256 + pixels[1]) * 256 + pixels[2]
    for _ in range(6):
        if not bool(left.any()):
            break
        color = pixels[:, left][:, codes[left] == codes[left].mode().values][:, :1]
        distance = (pixels - color).abs().amax(0)
        same, close = distance <= SAME, distance <= CLOSE
        if int(same.sum()) > ALONE * int(close.sum()):
            alone += int((same & left).sum())
        left &= ~close
    return alone > FLAT_COLORS * pixels.shape[1]


def _is_points(image: Tensor) -> bool:
    """Whether small bright points stand apart from each other all over a ground that is plain but for noise."""
    shrink = max(1.0, max(image.shape[1:]) / LARGEST)
    size = [max(16, round(length / shrink)) for length in image.shape[1:]]
    light = F.interpolate(image[None], size, mode="bilinear", antialias=True, align_corners=False).mean(1, keepdim=True)
    ground = _largest_around(-_largest_around(-light))
    coarse = F.adaptive_avg_pool2d(ground, (max(8, size[0] // 16), max(8, size[1] // 16))).flatten()
    darkest, brightest = torch.quantile(coarse, torch.tensor([0.03, 0.97])).tolist()
    if brightest - darkest > (PLAIN_DARK if brightest < DARK else PLAIN):
        return False
    over = light - ground
    bright = over > max(CONTRAST, 8 * float(over.median()))
    points = bright & (over == _largest_around(over))
    if int(points.sum()) < LEAST_POINTS:
        return False
    area = bright.float()
    ring = F.avg_pool2d(area, 13, 1, 6) * 13**2 - F.avg_pool2d(area, 9, 1, 4) * 9**2
    isolated = points & (ring < 0.5)
    spread = F.adaptive_max_pool2d(isolated.float(), 6).mean()
    return int(isolated.sum()) >= ISOLATED * int(points.sum()) and float(spread) >= SPREAD


def _largest_around(values: Tensor) -> Tensor:
    """Return the largest value of the 7 x 7 px around each pixel of [B, C, H, W], some seventy times as fast as a pool.

    Each pass compares a whole image with itself, moved: windows of 1, 2, 4 and at last 7 px.
    """
    for dimension, padding in ((2, (0, 0, 3, 3)), (3, (3, 3, 0, 0))):
        values = F.pad(values, padding, value=-torch.inf)
        for step in (1, 2, 3):
            left = values.shape[dimension] - step
            values = torch.maximum(values.narrow(dimension, 0, left), values.narrow(dimension, step, left))
    return values
