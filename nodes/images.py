"""From ComfyUI's IMAGE and MASK to the shapes of `model/`, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

EMPTY_MASK_SIDE = 64
"""Load Image gives a black mask of this side when the file has no alpha channel."""

THUMBNAIL_SIDE = 480

THUMBNAILS_BYTES = 64 * 2**20
"""The thumbnails of a batch take at most this much: those of a long video are smaller."""

FEATHER_STEPS = 32
"""A mask fades in over at most so many levels."""


def channels_first(image: Tensor) -> Tensor:
    """IMAGE [B, H, W, C] as [B, C, H, W].

    Raises:
        ValueError: no picture in the batch, or not the shape of an IMAGE.
    """
    if image.ndim != 4:
        raise ValueError(f"The image has shape {tuple(image.shape)}: give pictures [batch, height, width, channels].")
    if not len(image):
        raise ValueError("The image batch is empty: give at least one picture.")
    return image.movedim(-1, 1)


def check_colours(picture: Tensor) -> None:
    """Pictures [B, C, H, W] are fit to be looked at.

    Raises:
        ValueError: not 1, 3 or 4 channels, or values that are not finite; it names the picture.
    """
    from ..model.inputs import check_finite

    if picture.shape[1] not in (1, 3, 4):
        raise ValueError(f"The image has {picture.shape[1]} channels: give pictures with 1, 3 or 4.")
    check_finite(picture)


def fitted_mask(
    mask: Tensor | None, height: int, width: int, feather: int, before_each: Callable[[], None] = lambda: None
) -> Tensor | None:
    """A mask in the size of the picture, or None where there is no mask in truth.

    Args:
        mask: [H, W], [B, H, W] or [B, 1, H, W] of any size, 1 where the picture is to be restored.
        height, width: the picture's size in px.
        feather: px over which the effect fades in from the mask's edge inwards; pixels outside stay outside.
        before_each: called before each mask is feathered, which takes its time; what it raises ends the work.

    Returns:
        [B, height, width] fp32; the mask itself where nothing is to be done to it.
    """
    import torch.nn.functional as F

    if mask is None:
        return None
    mask = mask.float()
    if mask.ndim == 2:
        mask = mask[None]
    if mask.ndim == 4 and mask.shape[1] == 1:
        mask = mask[:, 0]
    if mask.ndim != 3:
        raise ValueError(f"The mask has shape {tuple(mask.shape)}: give masks [batch, height, width].")
    size, default = tuple(mask.shape[1:]), (EMPTY_MASK_SIDE, EMPTY_MASK_SIDE)
    if size != (height, width):
        if size == default and not bool(mask.any()):
            return None
        mask = F.interpolate(mask[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]
    if feather <= 0:
        return mask
    soft = mask.new_empty(mask.shape)
    for frame, result in zip(mask, soft, strict=True):  # one by one: a feather takes several times a mask's memory
        before_each()
        result.copy_(feathered(frame[None].clamp(0, 1), feather)[0])
    return soft


def feathered(mask: Tensor, feather: int) -> Tensor:
    """Lets a mask [B, H, W] fade in over about `feather` px inside its edge; the picture's border is no edge.

    The mean of the mask and of its successive erosions: where it is everywhere the same it stays as it is, a stroke
    thinner than the feather is weaker but does not vanish, and no pixel gets more than it had.
    """
    if feather <= 0:
        return mask
    reach = -(-feather // FEATHER_STEPS)
    steps = -(-feather // reach)
    inside = total = mask
    for _ in range(steps):
        inside = eroded(eroded(inside, reach, -1), reach, -2)
        total = total + inside
    return mask.minimum(total / (steps + 1))


def eroded(mask: Tensor, reach: int, axis: int) -> Tensor:
    """The smallest value within `reach` px along an axis; there is nothing beyond the border."""
    import torch.nn.functional as F

    border = (reach, reach) if axis == -1 else (0, 0, reach, reach)
    least, window = F.pad(mask, border, value=float("inf")), 1
    while window < 2 * reach + 1:  # the window grows by doubling: several times faster than pooling
        step = min(window, 2 * reach + 1 - window)
        length = least.shape[axis] - step
        least = least.narrow(axis, 0, length).minimum(least.narrow(axis, step, length))
        window += step
    return least


@dataclass(frozen=True)
class Thumbnails:
    """Small pictures on the CPU, 8 bits per value; `thumbnails[index]` is [3, h, w] fp32 in 0..1."""

    pictures: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Tensor:
        return self.pictures[index].float() / 255


def thumbnail_size(frames: int, height: int, width: int) -> tuple[int, int]:
    """Height and width of the thumbnails of a batch of so many pictures of a size."""
    room = (THUMBNAILS_BYTES / (3 * frames * height * width)) ** 0.5
    fit = min(1.0, THUMBNAIL_SIDE / max(height, width), room)
    return max(1, int(height * fit)), max(1, int(width * fit))


def thumbnails(picture: Tensor) -> Thumbnails:
    """The colours of each of the pictures [B, C, H, W], in the size that `thumbnail_size` gives."""
    import torch
    import torch.nn.functional as F

    from ..model.inputs import colours_of

    size = thumbnail_size(len(picture), *picture.shape[-2:])
    small = (
        F.interpolate(colours_of(frame[None]), size, mode="bilinear", antialias=True, align_corners=False)[0]
        for frame in picture
    )
    return Thumbnails(tuple((frame * 255).round().to(torch.uint8).cpu() for frame in small))
