"""ComfyUI's MASK: fitted to the images, and feathered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

EMPTY_MASK_SIDE = 64
"""Load Image gives a black mask of this side when the file has no alpha channel."""

FEATHER_STEPS = 32
"""Maximum number of levels over which a mask fades in."""


def fit_mask(
    mask: Tensor | None, height: int, width: int, feather: int, before_each: Callable[[], None] = lambda: None
) -> Tensor | None:
    """Resize a mask to the image and feather it.

    Args:
        mask: [H, W], [B, H, W] or [B, 1, H, W] of any size, 1 where the image is to be restored; None for no mask.
        height: Of the image in px.
        width: Of the image in px.
        feather: Px over which the effect fades in from the mask's edge inwards; pixels outside stay outside.
        before_each: Called before each mask is feathered, which takes time; an error that it raises ends the work.

    Returns:
        [B, height, width] fp32, the mask itself where nothing has to change; None for no mask, and for the empty mask
        that Load Image gives for an image without alpha channel.

    Raises:
        ValueError: Not the shape of a mask.
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
        result.copy_(apply_feather(frame[None].clamp(0, 1), feather)[0])
    return soft


def apply_feather(mask: Tensor, feather: int) -> Tensor:
    """Fade in a mask [B, H, W] over about `feather` px inside its edge; the border of the image is not an edge.

    The result is the mean of the mask and its successive erosions: a constant mask stays as it is, a stroke thinner
    than the feather becomes weaker but does not vanish, and no value grows.
    """
    if feather <= 0:
        return mask
    reach = -(-feather // FEATHER_STEPS)
    steps = -(-feather // reach)
    inside = total = mask
    for _ in range(steps):
        inside = erode(erode(inside, reach, -1), reach, -2)
        total = total + inside
    return mask.minimum(total / (steps + 1))


def erode(mask: Tensor, reach: int, axis: int) -> Tensor:
    """Return the minimum within `reach` px along an axis; beyond the border there are no values."""
    import torch.nn.functional as F

    border = (reach, reach) if axis == -1 else (0, 0, reach, reach)
    minimum, window = F.pad(mask, border, value=float("inf")), 1
    while window < 2 * reach + 1:  # the window grows by doubling: several times faster than pooling
        step = min(window, 2 * reach + 1 - window)
        length = minimum.shape[axis] - step
        minimum = minimum.narrow(axis, 0, length).minimum(minimum.narrow(axis, step, length))
        window += step
    return minimum
