"""One slider per degradation, for the nodes that have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

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


def sliders(tooltip: str, defaults: Mapping[str, float]) -> list[Any]:
    """Inputs from 0 to 1, one per degradation.

    Args:
        tooltip: with `{words}` where the degradation is called by its name.
        defaults: value at first, by degradation.
    """
    return [
        io.Float.Input(name, default=defaults[name], min=0.0, max=1.0, step=0.05, tooltip=tooltip.format(words=words))
        for name, words in SLIDERS.items()
    ]
