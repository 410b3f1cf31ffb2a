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


def padded_box(height: int, width: int, multiple: int) -> Box:
    """The whole picture, thought padded at the bottom and the right to the multiple.

    Raises:
        ValueError: a picture without pixels.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a picture of {height} x {width} px cannot be tiled")
    return Box(0, 0, round_up(height, multiple), round_up(width, multiple))


def cut_tiles(area: Box, whole: Box, tile: int, halo: int, multiple: int) -> list[Tile]:
    """Tiles of the padded picture or of a part of it, row by row.

    Args:
        area: what the cores are to partition.
        whole: the padded picture (`padded_box`), within which tiles are read.
        tile: side of a core in px, a multiple of `multiple`; from the area's size up, one tile is the whole area.
        halo: context in px a side, a multiple of `multiple`; cut off at the padded picture's borders.
        multiple: all origins and sizes are multiples of it.

    Raises:
        ValueError: a size that is not positive or not a multiple.
    """
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
