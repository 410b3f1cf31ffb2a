"""Where the blocks of an earlier JPEG lie in an image that was cropped since."""

from __future__ import annotations

import torch
from torch import Tensor

from .images import middle

BLOCK = 8
"""Side of a JPEG's blocks in px."""

LOOKED_AT = 1024
"""Largest side in px of the part, from the middle of the image, that is searched for blocks."""

CERTAIN = 5.0
"""Standard errors by which the borders have to stand out in both directions, see `find_grid`."""


def find_grid(image: Tensor) -> tuple[int, int]:
    """Return (top, left) of the first whole block of an earlier JPEG; (0, 0) where none is found.

    At the border between two blocks, two pixels differ by more than their neighbors do, more often than elsewhere (our
    design; it is a rank test of what Wang, Bovik and Evans measure, ICIP 2000, so that the contrast of the scene does
    not matter). Of the eight places where rows of blocks could start, the one where this is most frequent is taken.

    Args:
        image: [C, H, W] in 0..1, grey or in colors, of any size.

    Returns:
        Rows and columns in 0..7 to leave out at the top and at the left.
    """
    grey = middle(image, LOOKED_AT, BLOCK).float().clamp(0, 1).mean(0)
    (row, row_certainty), (column, column_certainty) = _borders(grey.T), _borders(grey)
    return (row, column) if min(row_certainty, column_certainty) >= CERTAIN else (0, 0)


def _borders(grey: Tensor) -> tuple[int, float]:
    """Return where columns of blocks start, 0..7, and by how many standard errors that stands out."""
    if grey.shape[1] < 4 * BLOCK or grey.shape[0] < BLOCK:
        return 0, 0.0
    step = (grey[:, 1:] - grey[:, :-1]).abs()
    stands_out = (step[:, 1:-1] > torch.maximum(step[:, :-2], step[:, 2:])).float().mean(0)  # before column 2, 3, ...
    columns = (len(stands_out) // BLOCK) * BLOCK
    by_place = stands_out[:columns].view(-1, BLOCK)
    best = int(by_place.mean(0).argmax())
    borders, others = by_place[:, best], by_place[:, torch.arange(BLOCK) != best]
    error = ((borders.var() + others.var()) / len(by_place)).sqrt().clamp(min=1e-6)
    return (best + 2) % BLOCK, float((borders.mean() - others.mean()) / error)
