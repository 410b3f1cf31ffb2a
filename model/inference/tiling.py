"""Positions of tiles, and reading an image beyond its borders: pure functions.

Every tile has a core, the part of the result that is taken from it, and is read with a halo of context around it. Cores
partition the image and nothing is blended: with a halo at least as wide as the network's receptive field, cores equal
the result of the whole image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..images import round_up


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the padded image."""

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """The row after the last one."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """The column after the last one."""
        return self.left + self.width


@dataclass(frozen=True)
class Tile:
    """A tile: its core, and the area with context that is read to compute it.

    Attributes:
        core: The part of the result that is taken from this tile.
        read: The core with its halo.
    """

    core: Box
    read: Box


def padded_box(height: int, width: int, multiple: int) -> Box:
    """Return the box of a whole image, padded at the bottom and the right to a multiple.

    Args:
        height: Of the image in px.
        width: Of the image in px.
        multiple: Sides of the box are multiples of it.

    Raises:
        ValueError: An image without pixels.
    """
    if height < 1 or width < 1:
        raise ValueError(f"an image of {height} x {width} px cannot be tiled")
    return Box(0, 0, round_up(height, multiple), round_up(width, multiple))


def cut_tiles(area: Box, whole: Box, tile: int, halo: int, multiple: int) -> list[Tile]:
    """Return the tiles of the padded image or of a part of it, row by row.

    Args:
        area: The box that the cores partition.
        whole: The padded image (`padded_box`), within which tiles are read.
        tile: Side of a core in px, a multiple of `multiple`; from the area's size up, one tile is the whole area.
        halo: Context in px a side, a multiple of `multiple`; cut off at the padded image's borders.
        multiple: Tile and halo have to be multiples of it, so that all origins and sizes are.

    Raises:
        ValueError: A size is not positive or not a multiple; a halo of 0 is allowed.
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


def widened(area: Box, margin: int) -> Box:
    """Return an area with a margin in px on every side, which may lie beyond the image (`read_box` mirrors it)."""
    return Box(area.top - margin, area.left - margin, area.height + 2 * margin, area.width + 2 * margin)


def on_grid(area: Box, whole: Box, halo: int, multiple: int, origin: tuple[int, int]) -> Box:
    """Return an area with a halo whose origin and sides lie on a grid that may begin anywhere, as JPEG's blocks do.

    Args:
        area: A box whose origin and sides are multiples of `multiple`.
        whole: The padded image, within which the box lies, but for a margin of less than `multiple` at the top and at
            the left.
        halo: Context in px a side, a multiple of `multiple`; cut off at the padded image's borders.
        multiple: Distance of the grid's lines in px.
        origin: Row and column of the first ones, from 0 to below `multiple`.
    """
    top, height = _on_axis(area.top, area.bottom, whole.bottom, halo, multiple, origin[0])
    left, width = _on_axis(area.left, area.right, whole.right, halo, multiple, origin[1])
    return Box(top, left, height, width)


def _on_axis(start: int, end: int, length: int, halo: int, multiple: int, origin: int) -> tuple[int, int]:
    """Return start and length on one axis, which the grid's line before 0 begins."""
    first = origin - multiple if origin else 0
    last = first + round_up(length - first, multiple)
    start = max(first, start - halo + first)
    return start, min(last, end + halo + origin) - start


def inside(values: Tensor, outer: Box, inner: Box) -> Tensor:
    """Return the part [..., inner.height, inner.width] of values [..., outer.height, outer.width]."""
    top, left = inner.top - outer.top, inner.left - outer.left
    return values[..., top : top + inner.height, left : left + inner.width]


def _spans(start: int, length: int, step: int) -> Iterator[tuple[int, int]]:
    """Yield start and length of consecutive spans, of which the last may be shorter."""
    for offset in range(0, length, step):
        yield start + offset, min(step, length - offset)


def reflected(start: int, count: int, length: int) -> Tensor:
    """Return indices [count] into an axis of `length` pixels, from `start` on, mirrored at the borders.

    The border pixel is not repeated, as in `numpy.pad(mode="reflect")`; the padding may be wider than the axis.
    """
    period = max(1, 2 * (length - 1))
    index = torch.arange(start, start + count) % period
    return torch.where(index < length, index, period - index)


def read_box(image: Tensor, box: Box) -> Tensor:
    """Read a box of the padded image from [..., H, W] to [..., box.height, box.width], without building the padding."""
    height, width = image.shape[-2:]
    rows = reflected(box.top, box.height, height).to(image.device)
    columns = reflected(box.left, box.width, width).to(image.device)
    return image.index_select(-2, rows).index_select(-1, columns)
