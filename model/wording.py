"""The words for degradations: the same in descriptions, questions, reports and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .guidance import DEGRADATIONS, PARAMETERS

NAMES = dict(zip(DEGRADATIONS, ("low light", "haze", "rain", "snow", "noise", "blur", "JPEG artifacts"), strict=True))
"""What each degradation is called in a sentence."""

_DETAILS = {
    "low_light": "exponent {light_exponent:.1f}",
    "haze": "beta {haze_beta:.1f}, airlight {airlight:.2f}, transmission {transmission:.2f}",
    "rain": "coverage {rain_coverage:.2f}",
    "snow": "coverage {snow_coverage:.2f}",
    "noise": "sigma {noise_sigma:.3f}",
    "blur": "sigma {blur_sigma:.1f} px",
    "jpeg": "quality {jpeg_quality:.0f}",
}

DESCRIBE = "Describe what is wrong with this picture."
"""The question under which an MLLM's embedding of a picture is taken."""


def yes_no_question(degradation: str) -> str:
    return f"Is there {NAMES[degradation]} in this picture? Answer yes or no."


def strength_word(strength: float) -> str:
    """The word for a strength in 0..1 of a degradation that is present."""
    if strength < 1 / 3:
        return "light"
    return "moderate" if strength < 2 / 3 else "strong"


def phrase(degradation: str, strengths: Mapping[str, float], parameters: Sequence[float]) -> str:
    """For example "strong noise (sigma 0.061)", or "no noise".

    Args:
        strengths: of the degradations that are present, by name, in 0..1.
        parameters: in the order and the units of `PARAMETERS`.
    """
    if degradation not in strengths:
        return f"no {NAMES[degradation]}"
    details = _DETAILS[degradation].format(**dict(zip(PARAMETERS, parameters, strict=True)))
    return f"{strength_word(strengths[degradation])} {NAMES[degradation]} ({details})"


def description(strengths: Mapping[str, float], parameters: Sequence[float]) -> str:
    """The whole answer to "what is wrong with this picture": what is there, then what is not. Arguments as `phrase`."""
    present = [phrase(name, strengths, parameters) for name in DEGRADATIONS if name in strengths]
    absent = [phrase(name, strengths, parameters) for name in DEGRADATIONS if name not in strengths]
    sentences = [sentence(part) for part in (present, absent) if part]
    return " ".join(sentences if present else ["The picture is clean.", *sentences])


def sentence(parts: Sequence[str]) -> str:
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}."
