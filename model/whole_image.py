"""What is seen of a whole image: a thumbnail, and what that averages away (our design).

The statistics are of the image's blocks at the scale of its own pixels. A veil of rain or haze lifts the darkest pixels
of every neighborhood (the dark channel prior, He et al. 2009), and the contrast of streaks, flakes and noise tells how
thick their layer is. In a thumbnail both are gone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .images import LUMA, ceil_div

BLOCK = 8
"""Side of a block in px."""

STATISTICS = 17
"""Values of each block: darkest and brightest of each channel and their logarithms, and five of its detail."""

MOST = 64
"""Blocks along a side from which on only every second one is read, from twice as many on every third, and so on."""

QUANTILES = (0.0, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 1.0)
"""Of `image_statistics`."""

GRID = 32
"""Side of the square whose values `image_statistics` counts."""

IMAGE_STATISTICS = (STATISTICS + 6) * len(QUANTILES)
"""Number of values of `image_statistics`."""

PREVIEW_QUANTILES = (0.02, 0.25, 0.5, 0.75, 0.98)
"""Of the luma of a preview."""

CHANGE_QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
"""Of what a preview changes in the luma."""

PREVIEW_STATISTICS = 3 + 3 + 1 + 1 + len(CHANGE_QUANTILES) + len(PREVIEW_QUANTILES)
"""Number of values of `preview_statistics`."""


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

    Of a large image some of the blocks are read, so that it takes neither time nor memory of its size.

    Args:
        image: [B, 3, H, W] in 0..1.
        side: Of the square.

    Returns:
        [B, `STATISTICS`, side, side] fp32, each about -1..1.
    """
    blocks = _of_blocks(_some_blocks(image))
    return F.interpolate(blocks, size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def image_statistics(image: Tensor) -> Tensor:
    """Return how the fine statistics and the brightness of an image are distributed.

    Args:
        image: [3, H, W] in 0..1.

    Returns:
        [`IMAGE_STATISTICS`] fp32: of each statistic, channel and logarithm of a channel the `QUANTILES`.
    """
    seen = torch.cat([fine_statistics(image[None], GRID), with_logarithm(thumbnail_of(image[None], GRID))], dim=1)
    return torch.quantile(seen[0].flatten(1), seen.new_tensor(QUANTILES), dim=1).T.flatten()


def preview_statistics(before: Tensor, after: Tensor) -> Tensor:
    """Return how images differ from what a restoration would make of them, as small squares.

    Args:
        before: [B, 3, A, A] in 0..1.
        after: The same of the restored images.

    Returns:
        [B, `PREVIEW_STATISTICS`] fp32: of each channel the mean change and the logarithm of the gain of contrast, those
        of the whole change and of its spread, and quantiles of the change and of the luma after it.
    """
    before, after = before.float().clamp(0, 1), after.float().clamp(0, 1)
    change, weights = after - before, before.new_tensor(LUMA)[:, None, None]
    luma, brightening = ((each * weights).sum(1).flatten(1) for each in (after, change))
    return torch.cat(
        [
            change.mean((2, 3)),
            (after.std((2, 3)) + 0.01).log() - (before.std((2, 3)) + 0.01).log(),
            (change.square().mean((1, 2, 3)).sqrt() + 0.005).log()[:, None],
            (brightening.std(1) + 0.003).log()[:, None],
            torch.quantile(brightening, luma.new_tensor(CHANGE_QUANTILES), dim=1).T,
            torch.quantile(luma, luma.new_tensor(PREVIEW_QUANTILES), dim=1).T,
        ],
        dim=1,
    )


def _some_blocks(image: Tensor) -> Tensor:
    """Return blocks of images [B, 3, H, W], side by side, fp32; what is left of less than a block at a border is not.

    The last pixels of images that are smaller than a block are repeated.
    """
    missing = [max(0, BLOCK - length) for length in image.shape[2:]]
    if any(missing):
        image = F.pad(image, (0, missing[1], 0, missing[0]), mode="replicate")
    for dim in (2, 3):
        count = image.shape[dim] // BLOCK
        blocks = image.narrow(dim, 0, count * BLOCK).unflatten(dim, (count, BLOCK))
        step = ceil_div(count, MOST)
        image = blocks[(slice(None),) * dim + (slice(step // 2, None, step),)].flatten(dim, dim + 1)
    return image.float()


def _of_blocks(image: Tensor) -> Tensor:
    """[B, 3, h, w] -> [B, `STATISTICS`, h / BLOCK, w / BLOCK]."""
    half = F.avg_pool2d(image, 2)  # a single noisy pixel is no extreme
    extremes = torch.cat([-F.max_pool2d(-half, BLOCK // 2), F.max_pool2d(half, BLOCK // 2)], dim=1)
    pyramid = [image.mean(1, keepdim=True)]
    while len(pyramid) < 4:
        pyramid.append(F.avg_pool2d(pyramid[-1], 2))
    detail = [
        F.avg_pool2d((finer - F.interpolate(coarser, scale_factor=2)).abs(), finer.shape[2] // pyramid[-1].shape[2])
        for finer, coarser in zip(pyramid[:-1], pyramid[1:], strict=True)
    ]
    batch, _, height, width = image.shape
    cells = pyramid[0].reshape(batch, 1, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    slopes = [cells.diff(dim=dim).abs().mean((3, 5)) for dim in (5, 3)]
    contrast = (torch.cat([*detail, *slopes], dim=1) + 0.001).log() / 4 + 1.0
    return torch.cat([with_logarithm(extremes), contrast], dim=1)
