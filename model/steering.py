"""What a user wants gone, in words: "remove only the rain", "everything but the fog" (our design).

A small grammar rather than a question to the MLLM: what a picture loses must not depend on a model's mood.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from .guidance import DEGRADATIONS, Guidance
from .wording import NAMES

WORDS = {
    "low_light": ("low[ _-]light", "darkness", "under-?exposure"),
    "haze": ("haze", "haziness", "fog(?:giness)?", "mist(?:iness)?", "smoke"),
    "rain": ("rain(?:drops)?", "streaks"),
    "snow": ("snow(?:flakes)?", "flakes"),
    "noise": ("noise", "noisiness", "grain(?:iness)?"),
    "blur": ("blur(?:riness)?",),
    "jpeg": ("jpe?g(?: blocks| art[ei]facts)?", "art[ei]facts", "compression", "blocks"),
}
"""What users call each degradation, as regular expressions for lower-case text."""
ADJECTIVES = {
    "low_light": ("dark", "dim", "under-?exposed", "badly lit"),
    "haze": ("hazy", "foggy", "misty", "smoky"),
    "rain": ("rainy", "raining"),
    "snow": ("snowy", "snowing"),
    "noise": ("noisy", "grainy"),
    "blur": ("blurry", "blurred", "out of focus", "unsharp"),
    "jpeg": ("compressed", "blocky"),
}
"""What users call pictures that suffer from each."""
_REPAIRS = {
    "low_light": "brighten|lighten|relight",
    "haze": "de-?haze|de-?fog",
    "rain": "de-?rain",
    "snow": "de-?snow",
    "noise": "de-?noise",
    "blur": "de-?blur|sharpen",
}
"""Verbs that remove one of them."""
_TOKENS = {
    # before the verbs, which they contain
    **{f"repair_{name}": rf"(?:{verbs})\w*" for name, verbs in _REPAIRS.items()},
    "refuse": r"(?:do not|don't|never|without) (?:\w+ )?(?:remov|tak|gett?|clean|fix|repair|reduc|touch|chang)\w*"
    r"(?: out| away| up| rid of)?|without (?:add|introduc|creat|mak)ing",
    "remove": r"remove|take out|take away|get rid of|clean up|fix|repair|reduce|erase",
    "keep": r"keep|leave|preserve|retain",
    "turn": r"but not|but|except(?: for)?|apart from|other than|not",
    "everything": r"everything(?: else)?|the rest"
    r"|all(?= *(?:$|[.,;!\n]|(?:of (?:it|them|this|that)|else|but|except)\b|(?:the )?(?:fault|flaw|defect|damage)))",
    "nothing": r"nothing",
    "anything": r"anything",
    "weather": r"weather",
    **{name: "|".join(words) for name, words in WORDS.items()},
    **{f"look_{name}": "|".join(words) for name, words in ADJECTIVES.items()},
}
_PATTERN = re.compile(r"\b(?:" + "|".join(f"(?P<{name}>{pattern})" for name, pattern in _TOKENS.items()) + r")\b")
_BEFORE_AN_ORDER = re.compile(r"(?:^|[.;,:!\n]|\b(?:and|then|but|please|only|just|also|now|you|to))\s*$")
_OTHER = {"remove": "keep", "keep": "remove"}
_GROUPS = {"anything": {"everything"}, "weather": {"haze", "rain", "snow"}}
_REFUSED = re.compile(r"\b(?:do not|don't|never|without)(?: \w+)?\s*$")
_SENTENCE = re.compile(r"[^.;!\n]+[.;!\n]*")
_STAYS = re.compile(r"\b(?:stay|stays|remain|remains|be kept|be left)\b")
_NOT_GONE = re.compile(
    r"\b(?:do not|don't|never|not be|should not|shouldn't)\b.*\b(?:removed|gone|taken|touched|changed)\b"
)
_REQUEST = re.compile(r"^(?:please )?(?:can|could|would|will) you\b")


def only(removed: Collection[str]) -> dict[str, float]:
    """The amounts for `Guidance.steered` that remove these degradations and keep all others."""
    return {name: float(name in removed) for name in DEGRADATIONS}


def _read(text: str, mode: str, named: dict[str, set[str]]) -> str:
    """Adds what a sentence names to what is to be removed or kept, starting in this mode; the mode that it ends in."""
    for match in _PATTERN.finditer(text):
        kind, before = match.lastgroup or "", text[: match.start()]
        verb, _, degradation = kind.partition("_")
        if verb == "repair":
            if _REFUSED.search(before):
                named["keep"].add(degradation)
            elif _BEFORE_AN_ORDER.search(before):
                mode = "remove"
                named[mode].add(degradation)
        elif verb == "look":
            if mode == "keep":
                named[mode].add(degradation)
        elif kind == "refuse":
            mode = "keep"
        elif kind in named:
            if _BEFORE_AN_ORDER.search(before):
                mode = kind
        elif kind == "turn":
            mode = _OTHER.get(mode, "")
        elif kind == "nothing" and mode:
            named[_OTHER[mode]].add("everything")
        elif mode:
            named[mode].update(_GROUPS.get(kind, {kind}))
    return mode


def removal_of(instruction: str) -> dict[str, float]:
    """How much of each degradation an instruction (in English) wants removed, for `Guidance.steered`.

    What is named after "remove" goes, and with that all others stay; what is named after "keep" or "do not remove"
    stays, and all others go, as with "the fog should stay"; "but" and "except" turn one into the other. Verbs such as
    "denoise" name what goes, or after "do not" what stays, by themselves. "Keep it dark" names what stays; "remove the
    rain from this dark street" does not name the dark. Empty for text that orders neither, such as a question.
    """
    text = instruction.lower().replace("\u2019", "'").strip()
    if "?" in text and not _REQUEST.match(text):
        return {}
    named: dict[str, set[str]] = {"remove": set(), "keep": set()}
    mode = ""
    for sentence in _SENTENCE.findall(text):
        stays = bool(_STAYS.search(sentence) or _NOT_GONE.search(sentence))
        mode = _read(sentence, "keep" if stays else mode, named)
        mode = "" if stays else mode
    removed, kept = named["remove"], named["keep"]
    if "everything" in removed:
        return only(set(DEGRADATIONS) - kept)
    if removed or "everything" in kept:
        return only(removed - kept)
    return only(set(DEGRADATIONS) - kept) if kept else {}


def is_order(instruction: str) -> bool:
    """Whether an instruction says what to remove or to keep, and is not to be asked as a question."""
    return bool(removal_of(instruction) or _vain(instruction))


def heed(guidance: Guidance, instruction: str) -> Guidance:
    """The guidance steered as an instruction orders; descriptions begin with that an order names nothing it can."""
    if removal := removal_of(instruction):
        return guidance.steered(removal)
    if vain := _vain(instruction):
        return replace(guidance, descriptions=tuple(text and f"{vain} {text}" for text in guidance.descriptions))
    return guidance


def _vain(instruction: str) -> str:
    """One sentence on an order that names nothing which can be removed, such as "remove the scratches"; or nothing."""
    text = instruction.lower().replace("\u2019", "'").strip()
    if "?" in text or removal_of(text):
        return ""
    orders = any(
        match.lastgroup in ("remove", "keep", "refuse") and _BEFORE_AN_ORDER.search(sentence[: match.start()])
        for sentence in _SENTENCE.findall(text)
        for match in _PATTERN.finditer(sentence)
    )
    if not orders:
        return ""
    *names, last = NAMES.values()
    return f'"{instruction.strip()}" names none of {", ".join(names)} and {last}, so Restore removes all it finds.'
