"""The standard description, and answers to questions about degradations by name, from the scores (our design).

The text that the shipped language model generates finds fault with most clean photographs, and about a single
degradation it is right hardly more often than chance (docs/experiments.md). Its head is accurate, so whatever its
scores can answer is answered from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..vocabulary import CHINESE_NAMES, DEGRADATIONS, DISPLAY_NAMES, PRESENT, strength_from_score, strength_word
from .order_words import ADJECTIVES, CHINESE_WORDS, WORDS, normalized
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
_LONGEST = 500
"""Characters of a question that are read; what scores can answer is asked in fewer."""
_CHINESE_STRENGTHS = {"light": "轻微", "moderate": "中等", "strong": "严重"}
_CHINESE_ASKS = re.compile(
    "(?:有没有|有|是否|是不是|存在|看得?到).*(?:吗|么|[?]|没有)|(?:严重|明显|强|大|多)(?:吗|么)|多强|多大|多严重|多少|有没有|是否有"
)
_CHINESE_OPEN = re.compile(
    "(?:有|存在|是)(?:什么|哪些|啥)(?:问题|缺陷|瑕疵|退化|毛病)|哪里有问题|(?:应该|需要|要)(?:去除|修复|处理)什么|怎么了"
)
_CHINESE_SUBTLE = re.compile("为什么|哪里(?!有问题)|除了|比|更|其他|别的|不是|谁|怎么(?!了)")


def answer_from_scores(question: str, scores: Sequence[float], parameters: Sequence[float]) -> str | None:
    """Answer the standard question, or one such as "Is there haze?", "What should be removed?" or "有雾吗？".

    Args:
        question: What a user asks.
        scores: Of one image, in the order of `DEGRADATIONS`, in 0..1.
        parameters: Of the same image, in the order and units of `PARAMETERS`.

    Returns:
        For example "Yes, moderate haze.", "No haze." or, about two of them, "Yes, moderate haze, no rain."; to an open
        question everything that is present, such as "Moderate haze, light noise."; None for any other text.
    """
    text = normalized(question[:_LONGEST])
    there = {name: score for name, score in zip(DEGRADATIONS, scores, strict=True) if score >= PRESENT}
    if question == DESCRIBE:
        return description({name: strength_from_score(score) for name, score in there.items()}, parameters)
    if re.search("[\u3400-\u9fff]", text):
        return _chinese_answer(text, there)
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


def _chinese_answer(text: str, there: dict[str, float]) -> str | None:
    """Return the answer to a question in Chinese, in Chinese."""
    if _CHINESE_OPEN.search(text):
        return f"{_chinese_list(there, there)}。" if there else "没有：图片是干净的。"
    asked = [name for name in DEGRADATIONS if re.search(CHINESE_WORDS[name], text)]
    if not asked or _CHINESE_SUBTLE.search(text) or not _CHINESE_ASKS.search(text):
        return None
    is_yes = "多" not in text and any(name in there for name in asked)
    return f"{'有，' if is_yes else ''}{_chinese_list(asked, there)}。"


def _chinese_list(names: Iterable[str], there: dict[str, float]) -> str:
    return "，".join(
        f"{_CHINESE_STRENGTHS[strength_word(strength_from_score(there[name]))]}的{CHINESE_NAMES[name]}"
        if name in there
        else f"没有{CHINESE_NAMES[name]}"
        for name in names
    )


def _list(names: Iterable[str], there: dict[str, float]) -> str:
    return ", ".join(
        f"{strength_word(strength_from_score(there[name]))} {DISPLAY_NAMES[name]}"
        if name in there
        else f"no {DISPLAY_NAMES[name]}"
        for name in names
    )
