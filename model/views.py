"""The two looks at a picture: an overview of the whole, and crops at native resolution.

A resize erases noise, rain and blur, so an overview alone cannot tell how strong they are (our design; UniRestorer,
arXiv 2412.20157, reports the same of 224-pixel resizes). The shipped MLLM sees the crops as `amplified` detail.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

VIEW_SIDE = 96
"""Side of every view in pixels."""

CROPS = 4
"""Native-resolution crops per picture, one in each quarter."""

SHIFTS = ((0.0, 0.0), (-0.125, -0.125), (0.125, 0.125), (-0.125, 0.125), (0.125, -0.125))
"""Where the crops of several looks lie, as shares of the picture's height and width away from the quarters' centres;
the first three along one diagonal, which tells as much as all five (training/RESULTS.md)."""

BLOCK = 8
"""Crops start at multiples of this, so that they show JPEG blocks where the coder put them."""

FULL_DETAIL = 0.5
"""Distance to the neighbourhood, in 0..1, that is drawn as black or white in amplified detail."""


def pad_to_side(picture: Tensor, side: int) -> Tensor:
    """Reflect a picture [C, H, W] at its bottom and right until both sides have at least `side` pixels."""
    while picture.shape[1] < side or picture.shape[2] < side:
        bottom = min(max(side - picture.shape[1], 0), picture.shape[1] - 1)
        right = min(max(side - picture.shape[2], 0), picture.shape[2] - 1)
        if (bottom == 0 and picture.shape[1] < side) or (right == 0 and picture.shape[2] < side):
            raise ValueError(
                f"A picture of {picture.shape[2]} x {picture.shape[1]} pixels is too small to be looked at."
            )
        picture = F.pad(picture, (0, right, 0, bottom), mode="reflect")
    return picture


def crop_origins(height: int, width: int, shift: tuple[float, float] = (0.0, 0.0)) -> list[tuple[int, int]]:
    """(top, left) of the crops of a picture of at least `VIEW_SIDE` pixels a side: around the quarters' centres.

    Args:
        shift: how far beside them, down and to the right, as shares of the picture's height and width.
    """
    return [
        (_crop_start(height, down + shift[0]), _crop_start(width, across + shift[1]))
        for down, across in ((0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75))
    ]


def origins_around(height: int, width: int) -> list[list[tuple[int, int]]]:
    """The `crop_origins` of several looks: of each of the `SHIFTS` that shows something new, one in tiny ones."""
    padded = max(height, VIEW_SIDE), max(width, VIEW_SIDE)
    looks = dict.fromkeys(tuple(crop_origins(*padded, shift)) for shift in SHIFTS)
    return [list(origins) for origins in looks]


def _crop_start(length: int, share: float) -> int:
    return min(max(int(length * share) - VIEW_SIDE // 2, 0), length - VIEW_SIDE) // BLOCK * BLOCK


def amplified(crops: Tensor) -> Tensor:
    """Fine detail around mid grey, drawn large: the signed square root of each pixel's distance to its neighbourhood.

    What tells noise, blur and JPEG apart is a few grey levels among the hundreds of the scene. Taken as they are, such
    crops teach a small network little: with amplified ones it learned as much in a seventh of the pictures, and JPEG
    for the first time (our design; the neighbourhood is the mean over 8 px, between which it is interpolated).

    Args:
        crops: [N, 3, S, S] in 0..1, S a multiple of `BLOCK`.

    Returns:
        [N, 3, S, S] in 0..1: 0.5 where a pixel is like its neighbourhood.
    """
    around = F.interpolate(F.avg_pool2d(crops, BLOCK), scale_factor=BLOCK, mode="bilinear", align_corners=False)
    distance = crops - around
    return 0.5 + 0.5 * (distance.abs() / FULL_DETAIL).clamp(max=1).sqrt().copysign(distance)


def views(picture: Tensor, origins: Sequence[tuple[int, int]] | None = None, *, detail: bool = False) -> Tensor:
    """The overview and the crops of one picture, as 8-bit pictures that any image processor takes.

    Args:
        picture: [3, H, W] in 0..1, at least 2 px a side.
        origins: (top, left) of each crop; the quarters' centres by default (training moves them about).
        detail: show the crops as `amplified` detail instead of as they are.

    Returns:
        uint8 [1 + N, 3, VIEW_SIDE, VIEW_SIDE] for N origins, `CROPS` by default: the overview, squeezed to a square,
        and the crops.
    """
    picture = pad_to_side(picture.float(), VIEW_SIDE)
    origins = crop_origins(*picture.shape[1:]) if origins is None else origins
    overview = F.interpolate(
        picture[None], (VIEW_SIDE, VIEW_SIDE), mode="bilinear", antialias=True, align_corners=False
    )
    crops = torch.stack([picture[:, top : top + VIEW_SIDE, left : left + VIEW_SIDE] for top, left in origins])
    return (torch.cat([overview, amplified(crops) if detail else crops]).clamp(0, 1) * 255).round().to(torch.uint8)
