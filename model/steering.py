"""What a user wants gone, in words: "remove only the rain", "everything but the fog" (our design)."""

from __future__ import annotations

import re
from collections.abc import Collection

from .guidance import DEGRADATIONS

_WORDS = {
    "low_light": ("low light", "low-light", "darkness", "dark", "under-exposure", "underexposure", "low_light"),
    "haze": ("haze", "fog", "mist", "smoke", "dust"),
    "rain": ("rain", "streaks", "raindrops"),
    "snow": ("snow", "snowflakes", "flakes"),
    "noise": ("noise", "grain"),
    "blur": ("blur", "blurriness"),
    "jpeg": ("jpeg", "jpeg artifacts", "jpeg blocks", "artifacts", "artefacts", "compression", "blocks"),
}
_REMOVE = ("remove", "take out", "take away", "get rid of", "clean", "fix", "repair", "reduce")
_KEEP = ("keep", "leave", "preserve", "retain", "but not", "but", "except", "do not remove", "don't remove", "not")
_EVERYTHING = ("everything", "all", "the rest")

_MEANING = {
    **{word: degradation for degradation, words in _WORDS.items() for word in words},
    **dict.fromkeys(_REMOVE, "remove"),
    **dict.fromkeys(_KEEP, "keep"),
    **dict.fromkeys(_EVERYTHING, "everything"),
}
_PATTERN = re.compile(r"\b(?:" + "|".join(sorted(map(re.escape, _MEANING), key=len, reverse=True)) + r")\b")


def only(removed: Collection[str]) -> dict[str, float]:
    """The amounts for `Guidance.steered` that remove these degradations and keep all others."""
    return {name: float(name in removed) for name in DEGRADATIONS}


def removal_of(instruction: str) -> dict[str, float]:
    """How much of each degradation an instruction wants removed, for `Guidance.steered`.

    What is named after "remove" goes, and with that all others stay; what is named after "keep" or "but" stays, and all
    others go. Empty for text that asks for neither, such as a question.
    """
    named: dict[str, set[str]] = {"remove": set(), "keep": set()}
    mode = ""
    for match in _PATTERN.findall(instruction.lower().replace("\u2019", "'")):
        meaning = _MEANING[match]
        if meaning in named:
            mode = meaning
        elif mode:
            named[mode].add(meaning)
    removed = named["remove"]
    if removed and "everything" not in removed:
        return only(removed - named["keep"])
    if "everything" in named["keep"]:
        return only(())
    return only(set(DEGRADATIONS) - named["keep"]) if named["keep"] else {}
