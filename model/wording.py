"""The words for degradations: the same in descriptions, questions, reports and charts."""

from __future__ import annotations

from .guidance import DEGRADATIONS

NAMES = dict(zip(DEGRADATIONS, ("low light", "haze", "rain", "snow", "noise", "blur", "JPEG artifacts"), strict=True))
"""What each degradation is called in a sentence."""

DESCRIBE = "Describe what is wrong with this picture."
"""The question under which an MLLM's embedding of a picture is taken."""


def yes_no_question(degradation: str) -> str:
    return f"Is there {NAMES[degradation]} in this picture? Answer yes or no."


def strength_word(strength: float) -> str:
    """The word for a strength in 0..1 of a degradation that is present."""
    if strength < 1 / 3:
        return "light"
    return "moderate" if strength < 2 / 3 else "strong"
