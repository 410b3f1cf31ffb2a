"""The views of an image that an MLLM sees: a thumbnail of the whole, and crops at native resolution.

A resize erases noise, rain and blur, so a thumbnail alone cannot tell how strong they are (our design; UniRestorer,
arXiv 2412.20157, reports the same of 224-pixel resizes). The shipped MLLM sees the crops as `amplify_detail` shows
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import MllmError
from ..jpeg_grid import BLOCK, find_grid

VIEW_SIDE = 96
"""Side of every view in pixels."""

CROPS = 4
"""Native-resolution crops per image, one in each quarter."""

SHIFTS = ((0.0, 0.0), (-0.125, -0.125), (0.125, 0.125), (-0.125, 0.125), (0.125, -0.125))
"""Where the crops of several sets of views lie, as shares of the image's height and width away from the quarters'
centers; the first three along one diagonal, which are as accurate as all five (docs/experiments.md)."""

FULL_DETAIL = 0.5
"""Distance to the neighborhood, in 0..1, that is shown as black or white in amplified detail."""


def pad_to_side(image: Tensor, side: int) -> Tensor:
    """Reflect an image [C, H, W] at its bottom and right until both sides have at least `side` pixels.

    Raises:
        MllmError: An image one pixel wide or high.
    """
    while image.shape[1] < side or image.shape[2] < side:
        bottom = min(max(side - image.shape[1], 0), image.shape[1] - 1)
        right = min(max(side - image.shape[2], 0), image.shape[2] - 1)
        if (bottom == 0 and image.shape[1] < side) or (right == 0 and image.shape[2] < side):
            raise MllmError(
                f"An image of {image.shape[2]} x {image.shape[1]} px is too small to be described: enlarge it first."
            )
        image = F.pad(image, (0, right, 0, bottom), mode="reflect")
    return image


def crop_origins(
    height: int, width: int, shift: tuple[float, float] = (0.0, 0.0), grid: tuple[int, int] = (0, 0)
) -> list[tuple[int, int]]:
    """Return (top, left) of the crops of an image of at least `VIEW_SIDE` pixels a side: around the quarters' centers.

    Crops start where blocks of a JPEG do, since the MLLM knows these by their place.

    Args:
        height: Of the image in px.
        width: Of the image in px.
        shift: Distance to these centers, down and to the right, as shares of the image's height and width.
        grid: Row and column, 0..7, of the first block of a JPEG.
    """
    return [
        (_crop_start(height, down + shift[0], grid[0]), _crop_start(width, across + shift[1], grid[1]))
        for down, across in ((0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75))
    ]


def crop_origin_sets(image: Tensor) -> list[list[tuple[int, int]]]:
    """Return the `crop_origins` of several sets of views of an image [3, H, W]: of each of the `SHIFTS` that is new."""
    height, width = (max(length, VIEW_SIDE) for length in image.shape[1:])
    grid = find_grid(image)
    sets = dict.fromkeys(tuple(crop_origins(height, width, shift, grid)) for shift in SHIFTS)
    return [list(origins) for origins in sets]


def _crop_start(length: int, share: float, grid: int) -> int:
    start = min(max(int(length * share) - VIEW_SIDE // 2, grid), length - VIEW_SIDE)
    return max((start - grid) // BLOCK * BLOCK + grid, 0)


def amplify_detail(crops: Tensor) -> Tensor:
    """Amplify fine detail around mid grey: the signed square root of each pixel's distance to its neighborhood.

    Noise, blur and JPEG differ in a few grey levels among the hundreds of the scene. A small network learns little from
    crops as they are: with amplified ones it learned as much from a seventh of the images, and JPEG for the first time
    (our design; the neighborhood is the mean over 8 px, between which it is interpolated).

    Args:
        crops: [N, 3, S, S] in 0..1, S a multiple of `BLOCK`.

    Returns:
        [N, 3, S, S] in 0..1: 0.5 where a pixel is like its neighborhood.
    """
    around = F.interpolate(F.avg_pool2d(crops, BLOCK), scale_factor=BLOCK, mode="bilinear", align_corners=False)
    distance = crops - around
    return 0.5 + 0.5 * (distance.abs() / FULL_DETAIL).clamp(max=1).sqrt().copysign(distance)


def make_views(
    image: Tensor,
    origins: Sequence[tuple[int, int]] | None = None,
    *,
    detail: bool = False,
    clean: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return the thumbnail and the crops of one image, as 8-bit images that any image processor takes.

    Args:
        image: [3, H, W] in 0..1, at least 2 px a side.
        origins: (top, left) of each crop; the first of the `crop_origin_sets` by default (training varies them).
        detail: Show the crops as `amplify_detail` does instead of as they are.
        clean: Takes the crops [N, 3, VIEW_SIDE, VIEW_SIDE] in 0..1 to what is shown of them; None shows them as they
            are. In the thumbnail noise is averaged away.

    Returns:
        uint8 [1 + N, 3, VIEW_SIDE, VIEW_SIDE] for N origins, `CROPS` by default: the thumbnail, squeezed to a square,
        and the crops.
    """
    origins = crop_origin_sets(image)[0] if origins is None else origins
    image = pad_to_side(image.float(), VIEW_SIDE)
    thumbnail = F.interpolate(image[None], (VIEW_SIDE, VIEW_SIDE), mode="bilinear", antialias=True, align_corners=False)
    crops = torch.stack([image[:, top : top + VIEW_SIDE, left : left + VIEW_SIDE] for top, left in origins])
    crops = crops if clean is None else clean(crops)
    return (
        (torch.cat([thumbnail, amplify_detail(crops) if detail else crops]).clamp(0, 1) * 255).round().to(torch.uint8)
    )
