"""Restore: restore images at their own size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..model.vocabulary import ACTION_THRESHOLD
from . import compat, host, images, masks, restore_note
from .thumbnails import make_thumbnails
from .types import GuidanceType, LoadedRestorer, RestorerType, RoutedImages, RoutingType

if TYPE_CHECKING:
    import torch

    from ..model.guidance import Guidance

MIN_TILE = 64
"""As in `model/inference/tiled.py`, which is not imported before a node runs."""

MAX_TILE = 8192


class Restore(io.ComfyNode):
    """The node Restore."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return names, description, inputs and outputs of the node."""
        return compat.node_schema(
            node_id="MoFE_Restore",
            display_name="Restore",
            category="image/restoration",
            description=(
                "Repairs photographs that suffer from low light, haze, rain, snow, noise, blur or JPEG blocks, or from "
                "several at once. The size stays the same and no new content is generated."
            ),
            search_aliases=[
                *("restore photo", "restoration", "all-in-one", "denoise", "derain", "desnow", "dehaze", "deblur"),
                *("low light", "brighten", "jpeg", "remove artifacts", "clean up", "enhance"),
                *("old photo", "fix photo", "repair photo", "night photo", "remove noise", "remove fog", "remove rain"),
                *("unblur", "fog", "grain", "scratch"),  # scratches are not repaired, the help page says so
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
                    max=MAX_TILE,
                    step=MIN_TILE,
                    tooltip=(
                        "Side of a tile in pixels, 64 or more; 0 chooses it by the image's size. Tiles save memory and "
                        "leave no seams: the result is the same. When memory runs out, smaller tiles are used "
                        "automatically."
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
                        "image. The empty mask that Load Image gives for an opaque image counts as no mask."
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
                compat.advanced_input(
                    io.Float.Input,
                    "threshold",
                    default=ACTION_THRESHOLD,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip=(
                        "Leaves clean images alone, bit by bit: those in which no degradation reaches this score. 0.5 "
                        "(the default) is what Describe Degradation calls present, 0 repairs every image. What an "
                        "instruction asks for is done all the same. Needs guidance."
                    ),
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
            outputs=[
                io.Image.Output(
                    "image", tooltip="The repaired images, in the size and with the channels of the input."
                ),
                RoutingType.Output("routing", tooltip="Which frequency expert worked where, for Show Routing."),
            ],
        )

    @classmethod
    def validate_inputs(cls, tile_size: int | None = None) -> bool | str:
        """Refuse tiles that are smaller than the smallest one; ComfyUI itself only knows minimum and step."""
        if tile_size is None or tile_size == 0 or MIN_TILE <= tile_size <= MAX_TILE:
            return True
        return f"The tile size is {tile_size}: give {MIN_TILE} to {MAX_TILE} px, or 0 to choose it by the image."

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
        threshold: float = ACTION_THRESHOLD,
    ) -> io.NodeOutput:
        """Restore the images of a batch one after the other."""
        from ..model.inference.effect import note_on_order
        from ..model.inference.plan import plan_restoration

        batch = images.channels_first(image)
        height, width = batch.shape[-2:]
        with host.release_on_error():
            mask = masks.fit_mask(mask, height, width, feather, host.raise_if_cancelled)
            ignored = mask is not None and masks.is_black(mask) and cls._mask_is_alpha()
            plan = plan_restoration(
                restorer.network,
                batch,
                guidance,
                strength=strength,
                mask=None if ignored else mask,
                tile=tile_size,
                precision=restorer.precision,
                threshold=threshold,
            )
            if plan.has_work:
                host.load_to_device(restorer.patcher, plan.memory_bytes)
            text = restore_note.note(plan, mask_ignored=ignored)
            into = images.channels_first(host.empty_result(image))
            progress = host.ImageProgress(into)
            result = plan.run(into=into, on_image=progress.image, on_tile=progress.tile, is_oom=host.is_out_of_memory)
            if guidance is not None and plan.has_work:
                order = note_on_order(guidance, batch, into.to(batch.device), strength, plan.mask)
                text = " ".join(filter(None, (text, order)))
            host.show_on_node(text, host.hidden(cls, "unique_id"))
            routing = RoutedImages(result.routing, make_thumbnails(result.image))
            return io.NodeOutput(result.image.movedim(1, -1), routing, ui={"text": (text,)})

    @classmethod
    def _mask_is_alpha(cls) -> bool:
        return masks.is_alpha_of_an_image(host.hidden(cls, "dynprompt"), host.hidden(cls, "unique_id"))
