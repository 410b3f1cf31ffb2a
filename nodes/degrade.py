"""Degrade Image: makes a good photograph bad, to try a restoration on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from . import compat, host, images
from .sliders import SLIDERS, sliders

if TYPE_CHECKING:
    import torch

DEFAULTS = {**dict.fromkeys(SLIDERS, 0.0), "haze": 0.4, "rain": 0.4}
"""What the node does before anything is set."""

MOST_SEED = 2**32 - 1


class DegradeImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return compat.node_schema(
            node_id="MoFE_DegradeImage",
            display_name="Degrade Image",
            category="MoFE",
            description=(
                "Adds low light, haze, rain, snow, noise, blur and JPEG blocks to a good photograph, as the restorer's "
                "training did: for tests, and to see before and after."
            ),
            search_aliases=[
                *("add noise", "add rain", "add snow", "add fog", "add haze", "darken"),
                *("simulate weather", "film grain"),
                *("jpeg artifacts", "test restore", "synthetic degradation"),
            ],
            inputs=[
                io.Image.Input("image", tooltip="Good photographs, from 16 px a side up; an alpha channel is kept."),
                *sliders("Amount of {words} to add: 0 is none, 1 is very strong.", DEFAULTS),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MOST_SEED,
                    tooltip="Where drops, flakes, depth and noise fall. The same seed gives the same picture.",
                ),
            ],
            outputs=[io.Image.Output("image", tooltip="The degraded pictures, in steps of 1/255 like a file.")],
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
        import numpy as np
        import torch

        from ..model.imaging.degradations import degrade
        from ..model.imaging.severities import severities_of
        from ..model.inputs import SMALLEST_SIDE, colours_of

        picture = images.channels_first(image)
        images.check_colours(picture)
        height, width = picture.shape[-2:]
        if min(height, width) < SMALLEST_SIDE:
            raise ValueError(f"The picture is {width} x {height} px: it must be at least {SMALLEST_SIDE} px a side.")
        severities = severities_of(dict(zip(SLIDERS, (low_light, haze, rain, snow, noise, blur, jpeg), strict=True)))
        progress = host.Progress(len(picture))
        result = images.channels_first(host.new_result(image)).copy_(picture)
        for index, frame in enumerate(picture):
            clean = colours_of(frame[None])[0].permute(1, 2, 0).cpu().numpy()
            rng = np.random.default_rng((seed, index))
            degraded = torch.from_numpy(degrade(clean, severities, rng).picture).movedim(-1, 0).to(result)
            if len(frame) == 1:
                degraded = degraded[1:2]  # one of them, since a mean would lessen the noise
            result[index, :3] = degraded
            progress.at(index + 1, len(picture))
        return io.NodeOutput(result.movedim(1, -1))
