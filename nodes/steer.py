"""Steer Restoration: what is to be removed from a picture and what is to stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from . import compat
from .types import GuidanceType

if TYPE_CHECKING:
    from ..model.guidance import Guidance

SLIDERS = {
    "low_light": "low light",
    "haze": "haze and fog",
    "rain": "rain",
    "snow": "snow",
    "noise": "noise and grain",
    "blur": "blur",
    "jpeg": "JPEG blocks",
}
"""Names of the degradations, in the order of the guidance's scores, and what each is called; nothing of `model/` is
imported to show a node."""


class SteerRestoration(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return compat.node_schema(
            node_id="MoFE_SteerRestoration",
            display_name="Steer Restoration",
            category="MoFE",
            description=(
                "Tells Restore how much of each degradation to remove: take the rain out and keep the fog. Put it "
                "between Describe Degradation and Restore."
            ),
            search_aliases=[
                *("keep fog", "keep grain", "remove rain", "selective restore", "dehaze", "derain", "desnow"),
                *("denoise", "deblur", "brighten", "restore strength per degradation"),
            ],
            inputs=[
                GuidanceType.Input("guidance", tooltip="From Describe Degradation."),
                *(
                    io.Float.Input(
                        name,
                        default=1.0,
                        min=0.0,
                        max=1.0,
                        step=0.05,
                        tooltip=f"Share of the {words} to remove: 1 removes all, 0 keeps all.",
                    )
                    for name, words in SLIDERS.items()
                ),
            ],
            outputs=[GuidanceType.Output("guidance", tooltip="The same guidance with your wishes, for Restore.")],
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
        amounts = (low_light, haze, rain, snow, noise, blur, jpeg)
        return io.NodeOutput(guidance.steered(dict(zip(SLIDERS, amounts, strict=True))))
