"""Small copies of a batch of images, on which charts are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

THUMBNAIL_SIDE = 480
"""Longest side of a thumbnail in px."""

THUMBNAILS_BYTES = 64 * 2**20
"""Maximum memory of the thumbnails of a batch: those of a long video are smaller."""


@dataclass(frozen=True)
class Thumbnails:
    """Small images on the CPU, 8 bits per value; `thumbnails[index]` is [3, h, w] fp32 in 0..1."""

    images: tuple[Tensor, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        """Return one image, [3, h, w] fp32 in 0..1."""
        return self.images[index].float() / 255


def thumbnail_size(frames: int, height: int, width: int) -> tuple[int, int]:
    """Return height and width of the thumbnails of a batch of so many images of a size."""
    room = (THUMBNAILS_BYTES / (3 * frames * height * width)) ** 0.5
    fit = min(1.0, THUMBNAIL_SIDE / max(height, width), room)
    return max(1, int(height * fit)), max(1, int(width * fit))


def make_thumbnails(image: Tensor) -> Thumbnails:
    """Shrink the colors of images [B, C, H, W] to the size that `thumbnail_size` gives."""
    import torch
    import torch.nn.functional as F

    from ..model.images import rgb_of

    size = thumbnail_size(len(image), *image.shape[-2:])
    small = (
        F.interpolate(rgb_of(frame[None]), size, mode="bilinear", antialias=True, align_corners=False)[0]
        for frame in image
    )
    return Thumbnails(tuple((frame * 255).round().to(torch.uint8).cpu() for frame in small))
