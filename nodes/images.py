"""From ComfyUI's IMAGE to the tensor convention of `model/images.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def channels_first(image: Tensor) -> Tensor:
    """View IMAGE [B, H, W, C] as [B, C, H, W].

    Raises:
        ValueError: No image in the batch, or not the shape of an IMAGE.
    """
    if image.ndim != 4:
        raise ValueError(f"The image has shape {tuple(image.shape)}: give images [batch, height, width, channels].")
    if not len(image):
        raise ValueError("The image batch is empty: give at least one image.")
    return image.movedim(-1, 1)


def check_channels(image: Tensor) -> None:
    """Check that images [B, C, H, W] of any size can be described.

    Raises:
        ValueError: Not 1, 3 or 4 channels, or values that are not finite; the message names the image.
    """
    from ..model.images import check_finite

    if image.shape[1] not in (1, 3, 4):
        raise ValueError(f"The image has {image.shape[1]} channels: give images with 1, 3 or 4.")
    check_finite(image)
