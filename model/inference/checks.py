"""Checks that mask and guidance fit the images to restore; every refusal is one sentence for the user."""

from __future__ import annotations

from torch import Tensor

from ..errors import GuidanceError, RestorationError
from ..guidance import Guidance
from ..images import counted, is_finite
from ..restorer.network import Restorer


def check_mask(mask: Tensor | None, image: Tensor) -> None:
    """Check that a mask fits its images [B, C, H, W].

    Raises:
        RestorationError: It is neither [B, H, W] nor [1, H, W], or holds values that are not finite.
    """
    if mask is None:
        return
    batch, _, height, width = image.shape
    if mask.ndim != 3:
        raise RestorationError(
            f"The mask has {mask.ndim} dimensions: give masks [batch, height, width], here {batch} or 1 of "
            f"{width} x {height} px."
        )
    if mask.shape[1:] != (height, width):
        raise RestorationError(
            f"The mask is {mask.shape[2]} x {mask.shape[1]} px but the image {width} x {height} px: resize the mask."
        )
    if mask.shape[0] not in (1, batch):
        fitting = "one mask" if batch == 1 else f"one mask for all or {batch} masks, one per image"
        raise RestorationError(
            f"There are {counted(mask.shape[0], 'mask')} for {counted(batch, 'image')}: give {fitting}."
        )
    if not is_finite(mask):
        raise RestorationError(
            "The mask holds values that are not finite (NaN or infinity): check the node that made it."
        )


def check_guidance(guidance: Guidance | None, network: Restorer, batch: int) -> None:
    """Check that guidance fits the restorer and a batch of so many images.

    Guidance of one MLLM never silently drives a restorer that was trained with another.

    Raises:
        GuidanceError: Another MLLM made it, it is for another number of images, it sets strengths that neither the
            restorer nor the MLLM can follow, or it is damaged.
    """
    if guidance is None:
        return
    if network.mllm_identity and guidance.mllm_identity != network.mllm_identity:
        raise GuidanceError(
            f"The guidance comes from the MLLM {guidance.mllm_identity} but the restorer was trained with "
            f"{network.mllm_identity}: load that MLLM and describe the image again, or align yours once with the node "
            "Align MLLM or with mofe align."
        )
    guidance.for_frame(0, batch)
    if guidance.pooled.shape[-1] != network.config.guidance_width:
        raise GuidanceError(
            f"The guidance is {guidance.pooled.shape[-1]} numbers wide but the restorer was trained with "
            f"{network.config.guidance_width}: load the MLLM it was trained with."
        )
    if guidance.severities is not None and guidance.directions is None and not network.config.severity_width:
        raise GuidanceError(
            "Strengths cannot be set here: the restorer does not take them, and the MLLM "
            f"{guidance.mllm_identity} comes without directions. Use the shipped restorer or the shipped MLLM."
        )
    if not is_finite(guidance.tokens, guidance.pooled):
        raise GuidanceError("The guidance holds values that are not finite: describe the image again.")
