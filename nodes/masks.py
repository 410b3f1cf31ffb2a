"""ComfyUI's MASK: fitted to the images, and feathered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

EMPTY_MASK_SIDE = 64
"""Load Image gives a black mask of this side when the file has no alpha channel."""

ROUNDING = 1 / 255 + 1e-3
"""Mask values up to this are 0: one step of 8 bits, which is what decoders make of the alpha channel of an opaque file,
and what is left of it in half precision."""

ALPHA_MASKS = {"LoadImage": 1, "LoadImageOutput": 1, "LoadImageMask": 0, "SplitImageWithAlpha": 1}
"""Nodes of ComfyUI that make a mask of an image's alpha channel, and the number of that output. Where such a mask is
black, the image is opaque and nobody has painted."""

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
        [B, height, width] fp32, the mask itself where nothing has to change; values up to `ROUNDING` become 0. None for
        no mask, and for the empty mask that Load Image gives for an image without alpha channel.

    Raises:
        ValueError: Not a mask.
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
        raise ValueError(f"The mask has {mask.ndim} dimensions: give masks [batch, height, width].")
    if not mask.numel():
        raise ValueError("The mask batch is empty: give at least one mask, or disconnect it.")
    size, default = tuple(mask.shape[1:]), (EMPTY_MASK_SIDE, EMPTY_MASK_SIDE)
    if size != (height, width):
        if size == default and is_black(mask):
            return None
        is_shrunk = height < size[0] or width < size[1]  # where only some pixels were looked at, thin strokes would go
        fitted = F.interpolate(
            mask[:, None], (height, width), mode="bilinear", align_corners=False, antialias=is_shrunk
        )
        mask = fitted[:, 0]
    traces = (mask > 0) & (mask <= ROUNDING)
    if bool(traces.any()):
        mask = mask.masked_fill(traces, 0.0)
    if feather <= 0 or is_black(mask):
        return mask
    soft = mask.new_empty(mask.shape)
    for frame, result in zip(mask, soft, strict=True):  # one by one: a feather takes several times a mask's memory
        before_each()
        result.copy_(apply_feather(frame[None].clamp(0, 1), feather)[0])
    return soft


def is_black(mask: Tensor) -> bool:
    """Return whether nothing is to be restored with a mask of any shape, rounding of 8 bits aside."""
    return not bool((~(mask <= ROUNDING)).any())  # what is not finite is not black, and is refused later


def is_alpha_of_an_image(prompt: Any, node_id: str | None, name: str = "mask") -> bool:
    """Return whether the mask that a node gets is the alpha channel of an image, straight from the node that read it.

    Args:
        prompt: ComfyUI's `DynamicPrompt`; None where it is not known.
        node_id: Of the node that gets the mask.
        name: Of its input.
    """
    if prompt is None or node_id is None:
        return False
    link = prompt.get_node(node_id)["inputs"].get(name)
    if not isinstance(link, list | tuple):
        return False
    source = prompt.get_node(link[0])
    if ALPHA_MASKS.get(source["class_type"]) != link[1]:
        return False
    return bool(source["inputs"].get("channel", "alpha") == "alpha")


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
