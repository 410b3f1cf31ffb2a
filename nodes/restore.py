"""Restore: restore images at their own size."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from comfy_api.latest import io

from . import compat, host, images, masks
from .thumbnails import make_thumbnails
from .types import GuidanceType, LoadedRestorer, RestorerType, RoutedImages, RoutingType

if TYPE_CHECKING:
    import torch

    from ..model.guidance import Guidance

log = logging.getLogger(__name__)

BLACK_MASK = (
    "Restore changed nothing, since the mask is black everywhere: paint what is to be repaired, or disconnect the "
    "mask. Load Image gives such a mask for an image with an alpha channel in which nothing is transparent."
)


class Restore(io.ComfyNode):
    """The node Restore."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return names, description, inputs and outputs of the node."""
        return compat.node_schema(
            node_id="MoFE_Restore",
            display_name="Restore",
            category="MoFE",
            description=(
                "Repairs photographs that suffer from low light, haze, rain, snow, noise, blur or JPEG blocks, or from "
                "several at once. The size stays the same and no new content is generated."
            ),
            search_aliases=[
                *("restore photo", "restoration", "all-in-one", "denoise", "derain", "desnow", "dehaze", "deblur"),
                *("low light", "brighten", "jpeg", "remove artifacts", "clean up", "enhance"),
                *("修复", "去雾", "去雨", "去雪", "去噪", "去模糊", "低光增强"),  # ComfyUI has no translated aliases
            ],
            inputs=[
                RestorerType.Input("restorer", tooltip="The network, from Load MoFE Restorer."),
                io.Image.Input(
                    "image",
                    tooltip=(
                        "The images to repair, from 16 px a side up, grey, RGB or RGBA. An alpha channel passes "
                        "through untouched."
                    ),
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Blends the result with the input: 1 is the full repair, 0 returns the input bit by bit.",
                ),
                io.Int.Input(
                    "tile_size",
                    default=0,
                    min=0,
                    max=8192,
                    step=64,
                    tooltip=(
                        "Side of a tile in pixels; 0 chooses it by the image's size. Tiles save memory and leave no "
                        "seams: the result is the same. When memory runs out, smaller tiles are used automatically."
                    ),
                ),
                GuidanceType.Input(
                    "guidance",
                    optional=True,
                    tooltip=(
                        "From Describe Degradation, with the MLLM that the restorer was trained with: for each "
                        "image of the batch, or one for all. Without it the restorer works from the image alone, "
                        "and less well."
                    ),
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip=(
                        "Where to repair: white is repaired, black stays as it is, bit by bit. Resized to the "
                        "image. The empty mask that Load Image gives for an image without alpha counts as no mask."
                    ),
                ),
                compat.advanced_input(
                    io.Int.Input,
                    "feather",
                    default=0,
                    min=0,
                    max=512,
                    step=1,
                    tooltip="Pixels over which the repair fades in from the mask's edge inwards; 0 is a hard edge.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "image", tooltip="The repaired images, in the size and with the channels of the input."
                ),
                RoutingType.Output("routing", tooltip="Which frequency expert worked where, for Show Routing."),
            ],
        )

    @classmethod
    def execute(
        cls,
        restorer: LoadedRestorer,
        image: torch.Tensor,
        strength: float,
        tile_size: int,
        guidance: Guidance | None = None,
        mask: torch.Tensor | None = None,
        feather: int = 0,
    ) -> io.NodeOutput:
        """Restore the images of a batch one after the other."""
        from ..model.inference.plan import plan_restoration

        batch = images.channels_first(image)
        height, width = batch.shape[-2:]
        with host.release_on_error():
            plan = plan_restoration(
                restorer.network,
                batch,
                guidance,
                strength=strength,
                mask=masks.fit_mask(mask, height, width, feather, host.raise_if_cancelled),
                tile=tile_size,
                precision=restorer.precision,
            )
            if plan.has_work:
                host.load_to_device(restorer.patcher, plan.memory_bytes)
            elif strength > 0:
                log.warning(BLACK_MASK)
            result = plan.run(
                into=images.channels_first(host.empty_result(image)),
                on_tile=host.Progress(len(batch)).at,
                is_oom=host.is_out_of_memory,
            )
            routing = RoutedImages(result.routing, make_thumbnails(result.image))
            return io.NodeOutput(result.image.movedim(1, -1), routing)
