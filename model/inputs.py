"""What a picture must be like to be restored, and what must fit it; every refusal is one sentence for the user."""

from __future__ import annotations

import torch
from torch import Tensor

from .guidance import Guidance, GuidanceError
from .restorer import Restorer, check_guidance

SMALLEST_SIDE = 16
"""Pictures have at least this many pixels a side."""


class RestorationError(ValueError):
    """A picture that cannot be restored; the message is one sentence for the user."""


def is_finite(*tensors: Tensor) -> bool:
    # a finite sum is the quick answer, and the usual one; one that is not may have overflowed
    return all(
        bool(tensor.sum(dtype=torch.float32).isfinite()) or bool(torch.isfinite(tensor).all()) for tensor in tensors
    )


def check_inputs(
    network: Restorer,
    picture: Tensor,
    guidance: Guidance | None,
    *,
    strength: float = 1.0,
    mask: Tensor | None = None,
    tile: int = 0,
) -> None:
    """Says in one sentence what is wrong with the inputs of `restore_picture`, which calls this first.

    Raises:
        RestorationError, GuidanceError: as `restore_picture`.
    """
    if picture.ndim != 4 or picture.shape[1] not in (1, 3, 4) or not picture.is_floating_point():
        raise RestorationError(
            f"The picture is {picture.dtype} of shape {tuple(picture.shape)}: "
            "give floating-point pictures [batch, channels, height, width] with 1, 3 or 4 channels."
        )
    batch, _, height, width = picture.shape
    if min(height, width) < SMALLEST_SIDE:
        raise RestorationError(
            f"The picture is {width} x {height} px: it must be at least {SMALLEST_SIDE} px a side, enlarge it first."
        )
    if not 0 <= strength <= 1:
        raise RestorationError(f"The strength is {strength}: it must lie between 0 and 1.")
    if tile < 0:
        raise RestorationError(f"The tile size is {tile}: give a size in pixels, or 0 to choose it by the picture.")
    _check_guidance(network, guidance, batch)
    _check_mask(mask, batch, height, width)
    check_finite(picture)


def check_finite(picture: Tensor) -> None:
    """The colours of pictures [B, C, H, W] are numbers.

    Raises:
        RestorationError: it names the picture.
    """
    for index, frame in enumerate(picture):
        if not is_finite(frame[:3]):
            raise RestorationError(
                f"Picture {index} of the batch holds values that are not finite (NaN or infinity): "
                "check the node that made it."
            )


def colours_of(picture: Tensor) -> Tensor:
    """Three colours [B, 3, H, W] fp32 in 0..1 of pictures with 1, 3 or 4 channels; the alpha channel is dropped."""
    colours = picture[:, :3].float().clamp(0, 1)
    return colours.expand(-1, 3, -1, -1) if colours.shape[1] == 1 else colours


def _check_mask(mask: Tensor | None, batch: int, height: int, width: int) -> None:
    if mask is None:
        return
    if mask.ndim != 3 or mask.shape[0] not in (1, batch) or mask.shape[1:] != (height, width):
        raise RestorationError(
            f"The mask has shape {tuple(mask.shape)} but the picture needs {(batch, height, width)} or "
            f"{(1, height, width)}: resize the mask or make one per picture."
        )
    if not is_finite(mask):
        raise RestorationError(
            "The mask holds values that are not finite (NaN or infinity): check the node that made it."
        )


def _check_guidance(network: Restorer, guidance: Guidance | None, batch: int) -> None:
    if guidance is None:
        return
    check_guidance(network, guidance)
    guidance.for_frame(0, batch)
    if guidance.pooled.shape[-1] != network.config.guidance_width:
        raise GuidanceError(
            f"The guidance is {guidance.pooled.shape[-1]} numbers wide but the restorer was trained with "
            f"{network.config.guidance_width}: load the MLLM it was trained with."
        )
    if not is_finite(guidance.tokens, guidance.pooled):
        raise GuidanceError("The guidance holds values that are not finite: describe the picture again.")
