"""Restore: repairs pictures at their own size."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from comfy_api.latest import io

from . import compat, host, images
from .types import GuidanceType, LoadedRestorer, RestorerType, RoutedPictures, RoutingType

if TYPE_CHECKING:
    import torch

    from ..model.guidance import Guidance

log = logging.getLogger(__name__)

BLACK_MASK = (
    "Restore changed nothing, since the mask is black everywhere: paint what is to be repaired, or pull the mask cable "
    "off. Load Image gives such a mask for a picture with an alpha channel and nothing transparent in it."
)


class Restore(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return compat.node_schema(
            node_id="MoFE_Restore",
            display_name="Restore",
            category="MoFE",
            description=(
                "Repairs photographs that suffer from low light, haze, rain, snow, noise, blur or JPEG blocks, or from "
                "several at once. The size stays the same and nothing is invented."
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
                        "The pictures to repair, from 16 px a side up, grey, RGB or RGBA. An alpha channel passes "
                        "through untouched."
                    ),
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip=(
                        "Blends the result with the input: 1 is the full repair, 0 gives the input back bit by bit."
                    ),
                ),
                io.Int.Input(
                    "tile_size",
                    default=0,
                    min=0,
                    max=8192,
                    step=64,
                    tooltip=(
                        "Side of a tile in pixels; 0 chooses by the picture's size. Tiles save memory and leave no "
                        "seams: the result is the same. When memory runs out, smaller tiles are taken by themselves."
                    ),
                ),
                GuidanceType.Input(
                    "guidance",
                    optional=True,
                    tooltip=(
                        "From Describe Degradation, with the MLLM that the restorer was trained with: for each "
                        "picture of the batch, or one for all. Without it the restorer works from the picture alone, "
                        "and less well."
                    ),
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip=(
                        "Where to repair: white is repaired, black stays as it is, bit by bit. Resized to the "
                        "picture. The empty mask that Load Image gives for a picture without alpha counts as no mask."
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
                    "image", tooltip="The repaired pictures, in the size and with the channels of the input."
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
        from ..model.inputs import check_inputs
        from ..model.pipeline import has_work, restore_picture, working_bytes

        network, picture = restorer.network, images.channels_first(image)
        height, width = picture.shape[-2:]
        with host.letting_go():
            mask = images.fitted_mask(mask, height, width, feather, host.stop_if_cancelled)
            # before the network takes room on the device
            check_inputs(network, picture, guidance, strength=strength, mask=mask, tile=tile_size)
            if has_work(strength, mask):
                host.load(restorer.patcher, working_bytes(network, height, width, tile_size, restorer.precision))
            elif strength > 0:
                log.warning(BLACK_MASK)
            result = restore_picture(
                network,
                picture,
                guidance,
                strength=strength,
                mask=mask,
                tile=tile_size,
                precision=restorer.precision,
                into=images.channels_first(host.new_result(image)),
                on_tile=host.Progress(len(picture)).at,
                is_oom=host.is_out_of_memory,
            )
            routing = RoutedPictures(result.routing, images.thumbnails(result.picture))
            return io.NodeOutput(result.picture.movedim(1, -1), routing)
