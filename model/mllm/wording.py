"""Sentences about degradations: the same in descriptions, questions and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..guidance import Guidance
from ..vocabulary import DEGRADATIONS, DISPLAY_NAMES, PARAMETERS, PRESENT, SURE, strength_from_score, strength_word
from .head import ABSENT

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
"""The question after which an MLLM's embedding of an image is taken; part of what the shipped one was trained on."""


def yes_no_question(degradation: str) -> str:
    """Return the yes-or-no question about one degradation."""
    return f"Is there {DISPLAY_NAMES[degradation]} in this picture? Answer yes or no."


def phrase(degradation: str, strengths: Mapping[str, float], parameters: Sequence[float]) -> str:
    """Return a phrase such as "strong noise (sigma 0.061)", or "no noise".

    Numbers that are, as written, those of an image without the degradation are left out: where a second look finds what
    the head does not, the head has no estimate of it.

    Args:
        degradation: Its name.
        strengths: Of the degradations that are present, by name, in 0..1.
        parameters: In the order and units of `PARAMETERS`.
    """
    if degradation not in strengths:
        return f"no {DISPLAY_NAMES[degradation]}"
    named = f"{strength_word(strengths[degradation])} {DISPLAY_NAMES[degradation]}"
    details, without = (
        _DETAILS[degradation].format(**dict(zip(PARAMETERS, values, strict=True)))
        for values in (parameters, ABSENT.tolist())
    )
    # the first number says how much there is
    return named if details.split(",")[0] == without.split(",")[0] else f"{named} ({details})"


def description(strengths: Mapping[str, float], parameters: Sequence[float]) -> str:
    """Return the whole description: what is present, then what is not. Arguments as for `phrase`."""
    present = [phrase(name, strengths, parameters) for name in DEGRADATIONS if name in strengths]
    absent = [phrase(name, strengths, parameters) for name in DEGRADATIONS if name not in strengths]
    sentences = [sentence(part) for part in (present, absent) if part]
    return " ".join(sentences if present else ["The picture is clean.", *sentences])


def protection_sentence(content: str) -> str:
    """Return what is said of content that only looks degraded (`content.recognize`)."""
    return f"It shows {content}, which stays as it is unless you order a repair."


def uncertainty_sentence(guidance: Guidance, index: int = 0) -> str:
    """Return a sentence such as "Not certain: haze (69 %).", or an empty string where all of it is certain."""
    if guidance.certainty is None:
        return ""
    seen = zip(DEGRADATIONS, guidance.scores[index].tolist(), guidance.certainty[index].tolist(), strict=True)
    doubts = [
        f"{DISPLAY_NAMES[name]} ({100 * share:.0f} %)"
        for name, score, share in seen
        if score >= PRESENT and share < SURE
    ]
    return f"Not certain: {', '.join(doubts)}." if doubts else ""


def sentence(parts: Sequence[str]) -> str:
    """Join parts with commas to one sentence, with a capital letter and a full stop."""
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def scores_by_name(guidance: Guidance, index: int = 0) -> dict[str, float]:
    """Return the scores of one image of the batch by the degradation's name, rounded for reports."""
    return _by_name(DEGRADATIONS, guidance.scores[index].tolist())


def report(guidance: Guidance) -> list[dict[str, Any]]:
    """Return what the guidance says, one JSON-ready dictionary per image."""
    return [
        {
            "description": guidance.descriptions[index],
            "scores": scores_by_name(guidance, index),
            "present": {
                name: strength_word(strength_from_score(value))
                for name, value in zip(DEGRADATIONS, guidance.scores[index].tolist(), strict=True)
                if value >= PRESENT
            },
            "certainty": None
            if guidance.certainty is None
            else _by_name(DEGRADATIONS, guidance.certainty[index].tolist()),
            "parameters": None
            if bool(guidance.parameters[index].isnan().all())
            else _by_name(PARAMETERS, guidance.parameters[index].tolist()),
            "removal": None if guidance.removal is None else _by_name(DEGRADATIONS, guidance.removal[index].tolist()),
            "mllm": guidance.mllm_identity,
            **({"adapter": guidance.adapter} if guidance.adapter else {}),
        }
        for index in range(len(guidance))
    ]


def _by_name(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    return dict(zip(names, (round(value, 4) for value in values), strict=True))
