"""Where tiles lie, and how a picture is read at any size: pure functions.

Every tile has a core, which it is responsible for, and is read with a halo of context around it. Cores partition the
picture and nothing is blended: with the halo at least as wide as the network's reach, the core is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the padded picture."""

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        return self.top + self.height

    @property
    def right(self) -> int:
        return self.left + self.width


@dataclass(frozen=True)
class Tile:
    """What a tile is responsible for, and what it reads to be exact there."""

    core: Box
    read: Box


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple that is not below `value`."""
    return -(-value // multiple) * multiple


def plan_tiles(height: int, width: int, tile: int, halo: int, multiple: int) -> list[Tile]:
    """Tiles of a picture, row by row; it is thought padded at the bottom and the right to the multiple.

    Args:
        height, width: picture size in px, at least 1.
        tile: side of a core in px, a multiple of `multiple`; from the picture's size up, one tile is the whole picture.
        halo: context in px a side, a multiple of `multiple`; cut off at the padded picture's borders.
        multiple: all origins and sizes are multiples of it.

    Returns:
        Tiles whose cores partition the padded picture.

    Raises:
        ValueError: a size that is not positive or not a multiple.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a picture of {height} x {width} px cannot be tiled")
    whole = Box(0, 0, round_up(height, multiple), round_up(width, multiple))
    return cut_tiles(whole, whole, tile, halo, multiple)


def cut_tiles(area: Box, whole: Box, tile: int, halo: int, multiple: int) -> list[Tile]:
    """The same for a part of the padded picture: tiles whose cores partition `area`, read within `whole`."""
    if multiple < 1 or tile < 1 or tile % multiple or halo < 0 or halo % multiple:
        raise ValueError(f"tile {tile} and halo {halo} must be multiples of {multiple}")
    tiles = []
    for top, rows in _spans(area.top, area.height, tile):
        for left, columns in _spans(area.left, area.width, tile):
            up, back = max(whole.top, top - halo), max(whole.left, left - halo)
            down, forth = min(whole.bottom, top + rows + halo), min(whole.right, left + columns + halo)
            tiles.append(Tile(Box(top, left, rows, columns), Box(up, back, down - up, forth - back)))
    return tiles


def _spans(start: int, length: int, step: int) -> Iterator[tuple[int, int]]:
    for offset in range(0, length, step):
        yield start + offset, min(step, length - offset)


def reflected(start: int, count: int, length: int) -> Tensor:
    """Indices [count] into an axis of `length` pixels, from `start` on, mirrored at the borders as often as needed.

    Mirrored without repeating the border pixel, like `numpy.pad(mode="reflect")`; padding may be wider than the axis.
    """
    period = max(1, 2 * (length - 1))
    index = torch.arange(start, start + count) % period
    return torch.where(index < length, index, period - index)


def read_box(picture: Tensor, box: Box) -> Tensor:
    """A box of the padded picture: [..., H, W] to [..., box.height, box.width]. The padded picture is never built."""
    height, width = picture.shape[-2:]
    rows = reflected(box.top, box.height, height).to(picture.device)
    columns = reflected(box.left, box.width, width).to(picture.device)
    return picture.index_select(-2, rows).index_select(-1, columns)
