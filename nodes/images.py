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
        raise ValueError(f"The image has {image.ndim} dimensions: give images [batch, height, width, channels].")
    if not len(image):
        raise ValueError("The image batch is empty: give at least one image.")
    return image.movedim(-1, 1)


def check_describable(image: Tensor) -> None:
    """Check that images [B, C, H, W] of any size can be described.

    Raises:
        RestorationError: Not 1, 3 or 4 channels, or values that are not finite; the message names the image.
    """
    from ..model.images import check_channels, check_finite

    check_channels(image)
    check_finite(image)
