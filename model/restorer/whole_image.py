"""What the tone and the global branch see of a whole image: a thumbnail, and what that averages away (our design).

The statistics are of the image's blocks at the scale of its own pixels. A veil of rain or haze lifts the darkest pixels
of every neighborhood (the dark channel prior, He et al. 2009), and the contrast of streaks, flakes and noise tells how
thick their layer is. In a thumbnail both are gone.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 8
"""Side of a block in px."""

STATISTICS = 17
"""Values of each block: darkest and brightest of each channel and their logarithms, and five of its detail."""

STRIP = 64 * BLOCK
"""Rows that are read at once, so that a large image takes no memory of its own size."""


def thumbnail_of(image: Tensor, side: int) -> Tensor:
    """Shrink whole images to a fixed square, [B, 3, H, W] in 0..1 to [B, 3, side, side] fp32, antialiased.

    The square is fixed whatever the aspect ratio, so that images of different sizes make one batch.
    """
    return F.interpolate(image.float(), size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def with_logarithm(image: Tensor) -> Tensor:
    """Stack an image [B, 3, H, W] in 0..1 and its logarithm to [B, 6, H, W], both about -0.5..0.5.

    Light multiplies an image (or raises it to a power), which in logarithms is an addition (or a factor).
    """
    logarithm = (image.clamp(0, 1) + 0.02).log() / 4 + 0.5
    return torch.cat([image - 0.5, logarithm], dim=1)


def fine_statistics(image: Tensor, side: int) -> Tensor:
    """Return statistics of the blocks of whole images, shrunk to a fixed square as `thumbnail_of` does.

    Args:
        image: [B, 3, H, W] in 0..1.
        side: Of the square; the affine grid's.

    Returns:
        [B, `STATISTICS`, side, side] fp32, each about -1..1.
    """
    strips = [_of_strip(strip) for strip in _strips(image)]
    blocks = torch.cat(strips, dim=2)
    return F.interpolate(blocks, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def _strips(image: Tensor) -> Iterator[Tensor]:
    """Yield strips [B, 3, h, w] fp32 of whole blocks; the last pixels are repeated to fill them."""
    for top in range(0, image.shape[2], STRIP):
        strip = image[:, :, top : top + STRIP].float()
        missing = (0, -strip.shape[3] % BLOCK, 0, -strip.shape[2] % BLOCK)
        yield F.pad(strip, missing, mode="replicate") if any(missing) else strip


def _of_strip(strip: Tensor) -> Tensor:
    """[B, 3, h, w] -> [B, `STATISTICS`, h / BLOCK, w / BLOCK]."""
    half = F.avg_pool2d(strip, 2)  # a single noisy pixel is no extreme
    extremes = torch.cat([-F.max_pool2d(-half, BLOCK // 2), F.max_pool2d(half, BLOCK // 2)], dim=1)
    pyramid = [strip.mean(1, keepdim=True)]
    while len(pyramid) < 4:
        pyramid.append(F.avg_pool2d(pyramid[-1], 2))
    detail = [
        F.avg_pool2d((finer - F.interpolate(coarser, scale_factor=2)).abs(), finer.shape[2] // pyramid[-1].shape[2])
        for finer, coarser in zip(pyramid[:-1], pyramid[1:], strict=True)
    ]
    batch, _, height, width = strip.shape
    cells = pyramid[0].reshape(batch, 1, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    slopes = [cells.diff(dim=dim).abs().mean((3, 5)) for dim in (5, 3)]
    contrast = (torch.cat([*detail, *slopes], dim=1) + 0.001).log() / 4 + 1.0
    return torch.cat([with_logarithm(extremes), contrast], dim=1)
