"""The standard description, and answers to questions about degradations by name, from the scores (our design).

The text that the shipped language model generates finds fault with most clean photographs, and about a single
degradation it is right hardly more often than chance (docs/experiments.md). Its head is accurate, so whatever its
scores can answer is answered from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..vocabulary import DEGRADATIONS, DISPLAY_NAMES, PRESENT, strength_from_score, strength_word
from .order_words import ADJECTIVES, WORDS
from .wording import DESCRIBE, description, sentence

_NAMED = {name: re.compile(r"\b(?:" + "|".join((*WORDS[name], *ADJECTIVES[name])) + r")\b") for name in DEGRADATIONS}
_PICTURE = r"(?:it|(?:this|that|the|my) (?:picture|photo|photograph|image|one|frame))"
_LOOKS = "|".join(word for words in ADJECTIVES.values() for word in words)
_NOUNS = "|".join(word for words in WORDS.values() for word in words)
_AMOUNTS = "strong|much|bad|heavy|dense|thick"
_ASKS = re.compile(
    rf"^(?:please )?(?:(?:is|are) there\b|is {_PICTURE}\b|(?:does|has) {_PICTURE}\b|(?:do|can) you see\b"
    rf"|how (?:{_AMOUNTS}|{_LOOKS})\b|any (?:{_NOUNS})\b"
    rf"|(?:is|are) (?:the |any )?(?:{_NOUNS}) (?:{_AMOUNTS}|light|present|visible|there|noticeable)\b)"
)
_TOO_SUBTLE = re.compile(r"\b(?:not|more|less|than|else|other|besides|only|without|why|where|remove|keep)\b|n't\b")
_CLEAN = re.compile(rf"^(?:please )?is {_PICTURE} clean\b")
_FAULTS = r"(?:degradations?|faults?|defects?|flaws?|problems?|damage)"
_OPEN = re.compile(
    rf"^(?:please )?(?:(?:name|list|tell me|describe|what are|which are) (?:all )?(?:the )?{_FAULTS}"
    rf"|(?:what|which) {_FAULTS} (?:are there|are present|is there|do you see|can you see|does {_PICTURE} have)"
    rf"|what(?:'s| is) wrong|what (?:should|must|can|has to|needs to) be (?:removed|repaired|restored|fixed|corrected))"
    rf"(?: (?:here|there|you see|present|(?:of|in|on|with|from) {_PICTURE}))?[.?! ]*$"
)


def answer_from_scores(question: str, scores: Sequence[float], parameters: Sequence[float]) -> str | None:
    """Answer the standard question, or one (in English) such as "Is there haze?" or "What should be removed?".

    Args:
        question: What a user asks.
        scores: Of one image, in the order of `DEGRADATIONS`, in 0..1.
        parameters: Of the same image, in the order and units of `PARAMETERS`.

    Returns:
        For example "Yes, moderate haze.", "No haze." or, about two of them, "Yes, moderate haze, no rain."; to an open
        question everything that is present, such as "Moderate haze, light noise."; None for any other text.
    """
    text = question.lower().replace("\u2019", "'").strip()
    there = {name: score for name, score in zip(DEGRADATIONS, scores, strict=True) if score >= PRESENT}
    if question == DESCRIBE:
        return description({name: strength_from_score(score) for name, score in there.items()}, parameters)
    if _OPEN.search(text):
        return sentence([_list(there, there)]) if there else "Nothing: the picture is clean."
    if _TOO_SUBTLE.search(text):
        return None
    if _CLEAN.search(text):
        return f"No, {_list(there, there)}." if there else "Yes, the picture is clean."
    asked = [name for name in DEGRADATIONS if _NAMED[name].search(text)] if _ASKS.search(text) else []
    if not asked:
        return None
    said = _list(asked, there)
    is_yes = not text.startswith("how") and any(name in there for name in asked)
    return f"Yes, {said}." if is_yes else sentence([said])


def _list(names: Iterable[str], there: dict[str, float]) -> str:
    return ", ".join(
        f"{strength_word(strength_from_score(there[name]))} {DISPLAY_NAMES[name]}"
        if name in there
        else f"no {DISPLAY_NAMES[name]}"
        for name in names
    )
