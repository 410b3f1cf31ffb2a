"""Degrade Image: add synthetic degradations to clean photographs, to test a restoration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from . import compat, host, images
from .sliders import SLIDERS, sliders

if TYPE_CHECKING:
    import torch

DEFAULTS = {**dict.fromkeys(SLIDERS, 0.0), "haze": 0.4, "rain": 0.4}
"""Initial values of the sliders."""

MAX_SEED = 2**32 - 1


class DegradeImage(io.ComfyNode):
    """The node Degrade Image."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return names, description, inputs and outputs of the node."""
        return compat.node_schema(
            node_id="MoFE_DegradeImage",
            display_name="Degrade Image",
            category="image/restoration",
            description=(
                "Adds low light, haze, rain, snow, noise, blur and JPEG blocks to a clean photograph, as in the "
                "restorer's training: for tests and for comparisons of before and after."
            ),
            search_aliases=[
                *("add noise", "add rain", "add snow", "add fog", "add haze", "darken"),
                *("simulate weather", "film grain"),
                *("jpeg artifacts", "test restore", "synthetic degradation"),
            ],
            inputs=[
                io.Image.Input("image", tooltip="Clean photographs, from 16 px a side up; an alpha channel is kept."),
                *sliders("Amount of {words} to add: 0 is none, 1 is very strong.", DEFAULTS),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    tooltip="Seed of the random streaks, flakes, depth and noise. The same seed gives the same image.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "image", tooltip="The degraded images, with colors in steps of 1/255 as in an 8-bit file."
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        low_light: float,
        haze: float,
        rain: float,
        snow: float,
        noise: float,
        blur: float,
        jpeg: float,
        seed: int,
    ) -> io.NodeOutput:
        """Degrade the images of a batch, each with random layers of its own."""
        from ..model.synthesis.degrade import degrade
        from ..model.synthesis.severities import Severities

        batch = images.channels_first(image)
        severities = Severities.from_strengths(
            dict(zip(SLIDERS, (low_light, haze, rain, snow, noise, blur, jpeg), strict=True))
        )
        result = host.empty_result(image)
        degrade(
            batch,
            severities,
            seed=seed,
            into=images.channels_first(result),
            on_image=host.Progress(len(batch)).at,
        )
        return io.NodeOutput(result)
