"""Steer Restoration: set how much of each degradation Restore removes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from . import compat
from .sliders import SLIDERS, sliders
from .types import GuidanceType

if TYPE_CHECKING:
    from ..model.guidance import Guidance


class SteerRestoration(io.ComfyNode):
    """The node Steer Restoration."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return names, description, inputs and outputs of the node."""
        return compat.node_schema(
            node_id="MoFE_SteerRestoration",
            display_name="Steer Restoration",
            category="MoFE",
            description=(
                "Sets how much of each degradation Restore removes, such as: remove the rain, keep the fog. Put it "
                "between Describe Degradation and Restore."
            ),
            search_aliases=[
                *("keep fog", "keep grain", "remove rain", "selective restore", "dehaze", "derain", "desnow"),
                *("denoise", "deblur", "brighten", "restore strength per degradation"),
            ],
            inputs=[
                GuidanceType.Input("guidance", tooltip="From Describe Degradation."),
                *sliders(
                    "Share of the {words} to remove: 1 removes what is found, 0 keeps all.", dict.fromkeys(SLIDERS, 1.0)
                ),
            ],
            outputs=[GuidanceType.Output("guidance", tooltip="The guidance with these amounts, for Restore.")],
        )

    @classmethod
    def execute(
        cls,
        guidance: Guidance,
        low_light: float,
        haze: float,
        rain: float,
        snow: float,
        noise: float,
        blur: float,
        jpeg: float,
    ) -> io.NodeOutput:
        """Return guidance with these amounts to remove."""
        amounts = (low_light, haze, rain, snow, noise, blur, jpeg)
        return io.NodeOutput(guidance.with_removal(dict(zip(SLIDERS, amounts, strict=True))))
