"""How steady a video is: how much areas flicker in which nothing moves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...model.images import LUMA

BLOCK = 16
"""Side in px of the blocks that are static or not."""

STATIC = 4 / 255
"""Blocks whose mean brightness in the input changes by less from one frame to the next, in 0..1, are static."""


@dataclass
class Flicker:
    """Mean change of brightness from frame to frame in static areas, of the input and of the result.

    Attributes:
        before: Sum over static pixels of the input, in 0..1.
        after: The same of the result.
        pixels: How many there were.
    """

    before: float = 0.0
    after: float = 0.0
    pixels: int = 0

    def add(self, other: Flicker) -> None:
        """Add what was measured elsewhere in the same video."""
        self.before += other.before
        self.after += other.after
        self.pixels += other.pixels

    def levels(self) -> tuple[float, float] | None:
        """Return the mean change of the input and of the result in 8-bit steps; None where nothing was static."""
        if not self.pixels:
            return None
        return 255 * self.before / self.pixels, 255 * self.after / self.pixels


class FlickerMeter:
    """Measures frame by frame.

    Attributes:
        total: What was measured so far.
    """

    def __init__(self) -> None:
        self.total = Flicker()
        self._last: tuple[Tensor, Tensor] | None = None

    def cut(self) -> None:
        """Forget the last frame: a new scene begins."""
        self._last = None

    def add(self, before: Tensor, after: Tensor) -> None:
        """Add a frame, input and result [1, 3, H, W] in 0..1."""
        now = (brightness(before), brightness(after))
        if self._last is not None and self._last[0].shape == now[0].shape:
            change = now[0] - self._last[0]
            still = (F.avg_pool2d(change, BLOCK, ceil_mode=True).abs() < STATIC).float()
            mask = F.interpolate(still, scale_factor=BLOCK)[:, :, : change.shape[2], : change.shape[3]]
            given, made = (float((each.abs() * mask).sum()) for each in (change, now[1] - self._last[1]))
            self.total.add(Flicker(given, made, int(mask.sum())))
        self._last = now


def brightness(image: Tensor) -> Tensor:
    """Return the brightness [B, 1, H, W] of images, on the CPU."""
    weights = torch.tensor(LUMA).reshape(1, 3, 1, 1)
    return (image.float().cpu() * weights).sum(1, keepdim=True)
