"""Sentences for the user about instructions that are not understood, in the language of the instruction."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..vocabulary import CHINESE_NAMES, DISPLAY_NAMES

QUOTED = 60
"""Length up to which a text is quoted, in characters."""


@dataclass(frozen=True)
class Notes:
    """Sentences of one language."""

    is_chinese: bool

    def names_none(self, text: str) -> str:
        """Say that an order names nothing that can be removed."""
        if self.is_chinese:
            names = "、".join(CHINESE_NAMES.values())
            return f"“{_short(text)}”没有提到{names}中的任何一种，因此“修复”会去除它发现的一切。"
        return f'"{_short(text)}" names none of {_listed("and")}, so Restore removes all it finds.'

    def not_understood(self, text: str) -> str:
        """Say that a text is no order that can be followed."""
        if self.is_chinese:
            return (
                f"没有看懂“{_short(text)}”，因此“修复”会去除它发现的一切。"
                "请用中文或英文写明要去除或保留什么，例如“去掉一半的雾”或“保留雾，只去除雨”。"
            )
        return (
            f'"{_short(text)}" was not understood, so Restore removes all it finds: say what to remove or to keep in '
            'English or Chinese, such as "remove half of the haze" or "keep the fog, remove only the rain".'
        )

    def partly_understood(self, parts: Sequence[str]) -> str:
        """Say which parts of an order were not understood."""
        if self.is_chinese:
            return f"没有看懂{_quoted(parts, '“”', '、')}，因此不据此去除任何内容。"
        return f"Not understood, so nothing is removed because of it: {_quoted(parts)}."

    def contradiction(self, names: Sequence[str], text: str) -> str:
        """Say about what an order contradicts itself; nothing of it is followed where its `text` is given."""
        if self.is_chinese:
            about = "、".join(CHINESE_NAMES.get(name, "全部内容") for name in names)
            end = "因此“修复”会去除它发现的一切" if text else "这一部分没有执行"
            return f"指令对{about}的要求自相矛盾，{end}。"
        about = " and ".join(DISPLAY_NAMES.get(name, name) for name in names)
        end = "so Restore removes all it finds" if text else "so that part is not followed"
        return f"The instruction contradicts itself about {about}, {end}."

    def no_effect(self, words: Sequence[str]) -> str:
        """Say what an order names that can be neither removed nor kept."""
        if self.is_chinese:
            return f"{_quoted(words, '“”', '、')}不是可以去除或保留的退化，不起作用。"
        return f"Without effect, since no degradation that can be removed or kept: {_quoted(words)}."

    def no_region(self) -> str:
        """Say that words do not choose a part of a picture."""
        if self.is_chinese:
            return "文字不能指定图片的某个部分：会处理整张图片，请连接遮罩来限定范围。"
        return "Words do not choose a part of the picture, all of it is restored: use a mask for a part."

    def too_long(self, limit: int) -> str:
        """Say that only the beginning of an instruction is read."""
        if self.is_chinese:
            return f"指令太长：只读取前 {limit} 个字符。"
        return f"The instruction is too long: only its first {limit:,} characters are read."

    def cut_question(self, characters: int) -> str:
        """Say that a question was cut to what the model can read."""
        if self.is_chinese:
            return f"问题太长，模型读不完：只提问前 {characters} 个字符。"
        return f"The question is too long for the model: only its first {characters:,} characters were asked."

    def cannot_answer(self, text: str) -> str:
        """Say what the shipped model can answer, in the place of an answer."""
        if self.is_chinese:
            names = "、".join(CHINESE_NAMES.values())
            return f"模型无法回答“{_short(text)}”：它只能说明图片有什么问题，以及{names}是否存在、有多强。"
        return (
            f'The model cannot answer "{_short(text)}": it says what is wrong with a picture, and whether and how '
            f"strongly there is {_listed('or')}."
        )

    def only_asked(self, text: str) -> str:
        """Say that a text was asked and steers nothing."""
        if self.is_chinese:
            return f"“{_short(text)}”不是能看懂的指令，只作为问题提出，不影响“修复”。"
        return f'"{_short(text)}" is no order that was understood, so it was asked as a question and steers nothing.'


def in_language_of(text: str) -> Notes:
    """Return the sentences in Chinese for a Chinese text, else in English."""
    is_chinese = bool(re.search("[\u3400-\u9fff]", text)) and not re.search("[\u3041-\u30fa]", text)
    return Notes(is_chinese)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= QUOTED else text[: QUOTED - 3].rstrip() + "..."


def _quoted(parts: Sequence[str], marks: str = '""', between: str = " and ") -> str:
    return between.join(f"{marks[0]}{_short(part)}{marks[1]}" for part in parts[:3])


def _listed(word: str) -> str:
    *names, last = DISPLAY_NAMES.values()
    return f"{', '.join(names)} {word} {last}"
