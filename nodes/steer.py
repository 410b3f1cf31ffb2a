"""Steer Restoration: set how much of each degradation Restore removes, and how strong it takes it to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from . import compat
from .sliders import AS_SEEN, SLIDERS, severity_sliders, sliders
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
            category="image/restoration",
            description=(
                "Sets how much of each degradation Restore removes, such as: remove the rain, keep the fog; and how "
                "strong it is, where the MLLM saw too little or too much. Put it between Describe Degradation and "
                "Restore."
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
                *severity_sliders(),
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
        set_low_light: float = AS_SEEN,
        set_haze: float = AS_SEEN,
        set_rain: float = AS_SEEN,
        set_snow: float = AS_SEEN,
        set_noise: float = AS_SEEN,
        set_blur: float = AS_SEEN,
        set_jpeg: float = AS_SEEN,
    ) -> io.NodeOutput:
        """Return guidance with these strengths, and these amounts to remove."""
        strengths = (set_low_light, set_haze, set_rain, set_snow, set_noise, set_blur, set_jpeg)
        known = {name: value for name, value in zip(SLIDERS, strengths, strict=True) if value >= 0}
        amounts = (low_light, haze, rain, snow, noise, blur, jpeg)
        steered = guidance.with_severities(known).with_removal(dict(zip(SLIDERS, amounts, strict=True)))
        return io.NodeOutput(steered)
