"""What a user wants gone, in words: "remove only the rain", "everything but the fog" (our design).

A small grammar rather than a question to the MLLM: what a picture loses must not depend on a model's mood.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from .guidance import DEGRADATIONS

WORDS = {
    "low_light": ("low[ _-]light", "darkness", "under-?exposure"),
    "haze": ("haze", "fog", "mist", "smoke"),
    "rain": ("rain(?:drops)?", "streaks"),
    "snow": ("snow(?:flakes)?", "flakes"),
    "noise": ("noise", "grain"),
    "blur": ("blur(?:riness)?",),
    "jpeg": ("jpe?g(?: blocks| art[ei]facts)?", "art[ei]facts", "compression", "blocks"),
}
"""What users call each degradation, as regular expressions for lower-case text."""
_NAMES = "|".join(word for words in WORDS.values() for word in words)
_TOKENS = {
    # before the verbs, which they contain
    "refuse": r"(?:do not|don't|never|without) (?:\w+ )?(?:remov|tak|gett?|clean|fix|repair|reduc|touch|chang)\w*"
    r"(?: out| away| up| rid of)?",
    "remove": r"remove|take out|take away|get rid of|clean up|fix|repair|reduce|erase",
    "keep": r"keep|leave|preserve|retain",
    "turn": r"but not|but|except(?: for)?|apart from|other than|not",
    "everything": rf"everything(?: else)?|the rest|all(?! (?:of )?(?:the )?(?:{_NAMES})\b)",
    **{name: "|".join(words) for name, words in WORDS.items()},
}
_PATTERN = re.compile(r"\b(?:" + "|".join(f"(?P<{name}>{pattern})" for name, pattern in _TOKENS.items()) + r")\b")
_BEFORE_AN_ORDER = re.compile(r"(?:^|[.;,:!\n]|\b(?:and|then|but|please|only|just|also|now|you|to))\s*$")
_REQUEST = re.compile(r"^(?:please )?(?:can|could|would|will) you\b")


def only(removed: Collection[str]) -> dict[str, float]:
    """The amounts for `Guidance.steered` that remove these degradations and keep all others."""
    return {name: float(name in removed) for name in DEGRADATIONS}


def removal_of(instruction: str) -> dict[str, float]:
    """How much of each degradation an instruction (in English) wants removed, for `Guidance.steered`.

    What is named after "remove" goes, and with that all others stay; what is named after "keep" or "do not remove"
    stays, and all others go; "but" and "except" turn one into the other. Empty for text that orders neither, such as a
    question.
    """
    text = instruction.lower().replace("\u2019", "'").strip()
    if "?" in text and not _REQUEST.match(text):
        return {}
    named: dict[str, set[str]] = {"remove": set(), "keep": set()}
    mode = ""
    for match in _PATTERN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "refuse":
            mode = "keep"
        elif kind in named:
            if _BEFORE_AN_ORDER.search(text[: match.start()]):
                mode = kind
        elif kind == "turn":
            mode = {"remove": "keep", "keep": "remove"}.get(mode, "")
        elif mode:
            named[mode].add(kind)
    removed, kept = named["remove"], named["keep"]
    if "everything" in removed:
        return only(set(DEGRADATIONS) - kept)
    if removed or "everything" in kept:
        return only(removed - kept)
    return only(set(DEGRADATIONS) - kept) if kept else {}
