"""Instructions in words: "remove only the rain", "keep the fog", "everything but the grain" (our design).

They are parsed by a small grammar and not by the MLLM: what an image loses must be predictable.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import replace

from ..guidance import Guidance
from ..vocabulary import DEGRADATIONS, DISPLAY_NAMES

WORDS = {
    "low_light": ("low[ _-]light", "darkness", "under-?exposure"),
    "haze": ("haze", "haziness", "fog(?:giness)?", "mist(?:iness)?", "smoke"),
    "rain": ("rain(?:drops)?", "streaks"),
    "snow": ("snow(?:flakes)?", "flakes"),
    "noise": ("noise", "noisiness", "grain(?:iness)?"),
    "blur": ("blur(?:riness)?",),
    "jpeg": ("jpe?g(?: blocks| art[ei]facts)?", "art[ei]facts", "compression", "blocks"),
}
"""Nouns for each degradation, as regular expressions for lower-case text."""
ADJECTIVES = {
    "low_light": ("dark", "dim", "under-?exposed", "badly lit"),
    "haze": ("hazy", "foggy", "misty", "smoky"),
    "rain": ("rainy", "raining"),
    "snow": ("snowy", "snowing"),
    "noise": ("noisy", "grainy"),
    "blur": ("blurry", "blurred", "out of focus", "unsharp"),
    "jpeg": ("compressed", "blocky"),
}
"""Adjectives for images that suffer from each."""
_REPAIRS = {
    "low_light": "brighten|lighten|relight",
    "haze": "de-?haze|de-?fog",
    "rain": "de-?rain",
    "snow": "de-?snow",
    "noise": "de-?noise",
    "blur": "de-?blur|sharpen",
}
"""Verbs that remove each."""
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
_BEFORE_AN_INSTRUCTION = re.compile(
    r"(?:^|[.;,:!\n]|\b(?:and|then|but|please|just|also|now|first|always|do|let's|let us|you|to|\w+ly))\s*$"
)
_OTHER = {"remove": "keep", "keep": "remove"}
_GROUPS = {"anything": {"everything"}, "weather": {"haze", "rain", "snow"}}
_REFUSED = re.compile(r"\b(?:do not|don't|never|without)(?: \w+)?\s*$")
_SENTENCE = re.compile(r"[^.;!\n]+[.;!\n]*")
_STAYS = re.compile(r"\b(?:stay|stays|remain|remains|be kept|be left)\b")
_NOT_GONE = re.compile(
    r"\b(?:do not|don't|never|not be|should not|shouldn't)\b.*\b(?:removed|gone|taken|touched|changed)\b"
)
_GONE = re.compile(
    r"\b(?:should|must|shall|can|needs? to|ha(?:s|ve) to|(?:is|are) to)"
    r" (?:be (?:removed|gone|reduced|erased|taken (?:out|away))|go|disappear|vanish)\b"
    r"|\bwant\b.*\b(?:removed|gone)\b"
)
_NEXT_CLAUSE = re.compile(r",|\b(?:and|but)\b")
_EVERYTHING_BUT = re.compile(r"^(?:please )?(?:everything|all)(?: else)? (?:but|except|apart from|other than)\b")
_REQUEST = re.compile(r"^(?:please )?(?:can|could|would|will) you\b")
_SCENE = re.compile(r" (?:scene|photo|photograph|picture|image|shot|landscape|street|day|night)\b")


def only(removed: Collection[str]) -> dict[str, float]:
    """Return the amounts for `Guidance.with_removal` that remove these degradations and keep all others."""
    return {name: float(name in removed) for name in DEGRADATIONS}


def _read(text: str, mode: str, named: dict[str, set[str]]) -> str:
    """Add what a sentence names to what is to be removed or kept, starting in a mode; return the mode it ends in."""
    for match in _PATTERN.finditer(text):
        kind, before = match.lastgroup or "", text[: match.start()]
        verb, _, degradation = kind.partition("_")
        if verb == "repair":
            if _REFUSED.search(before):
                named["keep"].add(degradation)
            elif _BEFORE_AN_INSTRUCTION.search(before):
                mode = "remove"
                named[mode].add(degradation)
        elif verb == "look" or (kind in DEGRADATIONS and _SCENE.match(text, match.end())):
            if mode == "keep":
                named[mode].add(kind.removeprefix("look_"))
        elif kind == "refuse":
            mode = "keep"
        elif kind in named:
            if _BEFORE_AN_INSTRUCTION.search(before):
                mode = kind
        elif kind == "turn":
            mode = _OTHER.get(mode, "")
        elif kind == "nothing" and mode:
            named[_OTHER[mode]].add("everything")
        elif mode:
            named[mode].update(_GROUPS.get(kind, {kind}))
    return mode


def _clauses(sentence: str) -> Iterator[str]:
    """Split a sentence at commas, at "but", and at an "and" that follows an instruction."""
    start = 0
    for match in _NEXT_CLAUSE.finditer(sentence):
        clause = sentence[start : match.start()]
        if match.group() != "and" or _mode_of(clause) or _instructs(clause):
            yield clause
            start = match.start()
    yield sentence[start:]


def _mode_of(clause: str) -> str:
    """Return "keep" or "remove" where a clause says it about what it names, as "the fog should stay"; else ""."""
    if _STAYS.search(clause) or _NOT_GONE.search(clause):
        return "keep"
    return "remove" if _GONE.search(clause) else ""


def _instructs(text: str) -> bool:
    """Return whether a text contains a verb that removes or keeps, where an instruction may begin."""
    return any(
        match.lastgroup == "refuse"
        or ((match.lastgroup or "").partition("_")[0] in ("remove", "keep", "repair"))
        and _BEFORE_AN_INSTRUCTION.search(text[: match.start()])
        for match in _PATTERN.finditer(text)
    )


def _is_list_to_remove(text: str) -> bool:
    """Return whether a text without a verb says what to remove, as "rain only" or "just the rain and the noise"."""
    rest = re.sub(r"\b(?:the|and|please)\b|[,.!]", " ", _PATTERN.sub(" ", text)).split()
    return bool(rest) and set(rest) <= {"only", "just"}


def parse_removal(instruction: str) -> dict[str, float]:
    """Parse how much of each degradation an instruction (in English) removes, for `Guidance.with_removal`.

    What is named after "remove" is removed, and all others are kept; what is named after "keep" or "do not remove" is
    kept, and all others are removed, as with "the fog should stay"; "but" and "except" turn one into the other. Verbs
    such as "denoise" name by themselves what is removed, or after "do not" what is kept. "Keep it dark" names what is
    kept; "remove the rain from this dark street" does not name the dark.

    Args:
        instruction: Any text.

    Returns:
        1 (remove) or 0 (keep) by the degradation's name; empty for text that asks for neither, such as a question.
    """
    text = _lowered(instruction)
    if _is_question(text):
        return {}
    named = _named(text)
    removed, kept = named["remove"], named["keep"]
    if "everything" in removed:
        return only(set(DEGRADATIONS) - kept)
    if removed or "everything" in kept:
        return only(removed - kept)
    return only(set(DEGRADATIONS) - kept) if kept else {}


def _named(text: str) -> dict[str, set[str]]:
    """Return the names of what a text asks to "remove" and to "keep"."""
    named: dict[str, set[str]] = {"remove": set(), "keep": set()}
    mode = "remove" if _EVERYTHING_BUT.match(text) or _is_list_to_remove(text) else ""
    for sentence in _SENTENCE.findall(text):
        said = ""
        for clause in _clauses(sentence):
            said = _mode_of(clause)
            mode = _read(clause, said or mode, named)
        mode = "" if said else mode
    return named


def _lowered(instruction: str) -> str:
    return instruction.lower().replace("\u2019", "'").strip()


def _is_question(text: str) -> bool:
    return "?" in text and not _REQUEST.match(text)


def is_instruction(text: str) -> bool:
    """Return whether a text says what to remove or to keep, and is not to be asked as a question."""
    text = _lowered(text)
    return bool(parse_removal(text)) or (not _is_question(text) and _instructs(text))


def apply_instruction(guidance: Guidance, instruction: str) -> Guidance:
    """Return guidance that removes what an instruction says.

    An instruction that names nothing which can be removed, such as "remove the scratches", changes no amounts, and the
    descriptions begin with a sentence about it.
    """
    text = _lowered(instruction)
    if removal := parse_removal(instruction):
        named = _named(text)
        removed = named["remove"] & set(DEGRADATIONS)
        if removed and "everything" not in named["remove"]:
            return guidance.removing_only({name: 1.0 for name in removed if removal[name]})
        return guidance.with_removal(removal, removed)
    if not is_instruction(text) or any(
        (match.lastgroup or "").startswith("look_") for match in _PATTERN.finditer(text)
    ):
        return guidance
    *names, last = DISPLAY_NAMES.values()
    unknown = f'"{instruction.strip()}" names none of {", ".join(names)} and {last}, so Restore removes all it finds.'
    return replace(guidance, descriptions=tuple(said and f"{unknown} {said}" for said in guidance.descriptions))
