"""Degradation Mask: show where and how strongly a degradation was repaired, as a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io, ui

from ..model.vocabulary import DEGRADATIONS
from . import compat, host, images
from .types import GuidanceType, LoadedRestorer, RestorerType

if TYPE_CHECKING:
    import torch

    from ..model.guidance import Guidance

CLEAR = 0.1
"""Mask value from which a pixel counts as affected in the text on the node."""


class DegradationMask(io.ComfyNode):
    """The node Degradation Mask."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return names, description, inputs and outputs of the node."""
        return compat.node_schema(
            node_id="MoFE_DegradationMask",
            display_name="Degradation Mask",
            category="image/restoration",
            description=(
                "Makes a mask of where and how strongly one degradation is repaired, for inpainting and compositing: "
                "what Restore changes when it removes this degradation and nothing else."
            ),
            search_aliases=[
                *("restore mask", "noise mask", "rain mask", "snow mask", "haze mask", "fog mask", "heatmap"),
                *("where is the damage", "explain", "degradation map"),
            ],
            is_output_node=True,
            inputs=[
                RestorerType.Input("restorer", tooltip="The network, from Load MoFE Restorer."),
                io.Image.Input("image", tooltip="The images, as they go into Restore."),
                GuidanceType.Input(
                    "guidance",
                    tooltip=(
                        "From Describe Degradation, as it goes into Restore. What it keeps, by instruction or slider, "
                        "has a black mask."
                    ),
                ),
                io.Combo.Input(
                    "degradation",
                    options=list(DEGRADATIONS),
                    default="noise",
                    tooltip=(
                        "Which one. Noise, rain and snow are found where they are. Low light and haze are corrected "
                        "over the whole image, so their masks only show how strongly; blur and JPEG blocks change "
                        "little, and what is changed by less than rounding stays black."
                    ),
                ),
            ],
            outputs=[
                io.Mask.Output(
                    "mask",
                    tooltip=(
                        "One mask per image, in its size: the degradation's score where its repair changes most, less "
                        "where it changes less, black where it changes nothing. Known in cells of 16 x 16 px only, and "
                        "smooth between them."
                    ),
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, restorer: LoadedRestorer, image: torch.Tensor, guidance: Guidance, degradation: str
    ) -> io.NodeOutput:
        """Restore the images of this degradation alone, and see what changes."""
        from ..model.inference.degradation_map import DegradationMapper
        from ..model.vocabulary import DISPLAY_NAMES

        batch = images.channels_first(image)
        with host.release_on_error():
            mapper = DegradationMapper(restorer.network, batch, guidance, degradation, restorer.precision)
            host.load_to_device(restorer.patcher, mapper.memory_bytes)
            mask = mapper.run(on_tile=host.Progress(len(batch)).at, is_oom=host.is_out_of_memory)
        cell = mapper.cell_px
        affected = float((mask >= CLEAR).float().mean())
        text = (
            f"{DISPLAY_NAMES[degradation]}: up to {float(mask.max()):.2f}, on {affected:.0%} of the image. "
            f"Known in cells of {cell} x {cell} px."
        )
        host.show_on_node(text, host.hidden(cls, "unique_id"))
        mask = host.to_intermediate(mask)
        shown = ui.PreviewImage(mask[:1, ..., None].expand(-1, -1, -1, 3), cls=cls)
        return io.NodeOutput(mask, ui=shown)
