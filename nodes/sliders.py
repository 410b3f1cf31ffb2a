"""One slider per degradation, for the nodes that have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

from ..model.vocabulary import DEGRADATIONS

SLIDERS = dict(
    zip(
        DEGRADATIONS,
        ("low light", "haze and fog", "rain", "snow", "noise and grain", "blur", "JPEG blocks"),
        strict=True,
    )
)
"""Input name of each degradation, and its name in a tooltip."""


AS_SEEN = -1.0
"""Value of a slider of `severity_sliders` that leaves a degradation as the MLLM saw it."""


def sliders(tooltip: str, defaults: Mapping[str, float]) -> list[Any]:
    """Return inputs from 0 to 1, one per degradation.

    Args:
        tooltip: Text with `{words}` where the name of the degradation belongs.
        defaults: Initial value of each degradation.
    """
    return [
        io.Float.Input(name, default=defaults[name], min=0.0, max=1.0, step=0.05, tooltip=tooltip.format(words=words))
        for name, words in SLIDERS.items()
    ]


def severity_sliders() -> list[Any]:
    """Return inputs from `AS_SEEN` to 1, one per degradation, that set its strength whatever the MLLM saw."""
    return [
        io.Float.Input(
            f"set_{name}",
            default=AS_SEEN,
            min=AS_SEEN,
            max=1.0,
            step=0.05,
            optional=True,
            tooltip=(
                f"Strength of the {words}, whatever the MLLM saw: 1 is very strong, 0 none. Below 0, as it comes, what "
                "the MLLM saw holds."
            ),
        )
        for name, words in SLIDERS.items()
    ]
