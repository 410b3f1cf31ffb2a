"""Scores of a model without a head: the probability of "yes" against "no" to one question per degradation.

The questions differ in their last words only, so what comes before them, the images above all, is computed once and
its keys and values are kept for all questions. Where a model's attention looks ahead (a prefix that sees the question),
that would change the answers: the first image is also asked as a whole, and such models go on being asked so.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import MllmError
from ..vocabulary import DEGRADATIONS
from .wording import yes_no_question

WORDS = (("yes", " yes", "Yes", " Yes"), ("no", " no", "No", " No"))

TOLERANCE, COARSE_TOLERANCE = 1e-3, 0.05
"""Difference of the log odds, as a share of 1 + their size, up to which an answer from a kept prefix counts as the
same as one to a whole prompt: in fp32, and in half precision, whose rounding is of this size."""


class YesNo:
    """Asks a language model yes or no.

    Args:
        name: Of the model, for messages.
        language_model: Of transformers.
        tokenizer: Of the model.
        inputs: Makes the model's inputs of views [1, V, 3, S, S] and a question.

    Attributes:
        prefix_works: Whether a kept prefix gives the same answers; None until it was tried.
    """

    def __init__(
        self, name: str, language_model: Any, tokenizer: Any, inputs: Callable[[Tensor, str], dict[str, Tensor]]
    ) -> None:
        self._name, self._model, self._tokenizer, self._inputs = name, language_model, tokenizer, inputs
        self._takes = inspect.signature(type(language_model).forward).parameters
        self._few_logits = {"logits_to_keep": 1} if "logits_to_keep" in self._takes else {}
        self._answers: tuple[list[int], list[int]] | None = None
        self.prefix_works: bool | None = None

    def scores(self, views: Tensor, on_question: Callable[[], None] | None) -> Tensor:
        """Return the probability of "yes" for each of `DEGRADATIONS`, [1, 7].

        Args:
            views: uint8 [V, 3, S, S] of one image.
            on_question: Called before every question; an error that it raises ends the run.

        Raises:
            MllmError: The tokenizer cannot tell yes from no.
        """
        questions = [yes_no_question(degradation) for degradation in DEGRADATIONS]
        if self.prefix_works is not False:
            odds = self._ask_with_prefix(views[None], questions, on_question)
            if odds is not None:
                return torch.stack(odds).sigmoid()[None]
            self.prefix_works = False
        asked = []
        for question in questions:
            if on_question is not None:
                on_question()
            asked.append(self._ask_whole(self._inputs(views[None], question)))
        return torch.stack(asked).sigmoid()[None]

    def _ask_with_prefix(
        self, views: Tensor, questions: Sequence[str], on_question: Callable[[], None] | None
    ) -> list[Tensor] | None:
        """Return the log odds of each question, or None where a prefix cannot be kept."""
        first = self._inputs(views, questions[0])
        every = self._token_ids(views, questions, first["input_ids"][0].tolist())
        start = _common_length(every)
        if on_question is not None:
            on_question()
        try:
            kept = self._model(**_cut(first, start), use_cache=True, **self._few_logits).past_key_values
        except TypeError:  # an encoder-decoder, which has no such cache
            return None
        if kept is None or not hasattr(kept, "get_seq_length") or kept.get_seq_length() != start:
            return None
        odds = []
        for number, ids in enumerate(every):
            if on_question is not None and number:
                on_question()
            odds.append(self._ask_rest(copy.deepcopy(kept), ids[start:], start))
        if self.prefix_works is None:
            whole = self._ask_whole(first)
            exact = self._model.get_input_embeddings().weight.dtype == torch.float32
            limit = (TOLERANCE if exact else COARSE_TOLERANCE) * (1 + whole.abs())
            if not bool((whole - odds[0]).abs() <= limit):
                return None
            self.prefix_works = True
        return odds

    def _ask_rest(self, kept: Any, ids: Sequence[int], start: int) -> Tensor:
        device = self._model.get_input_embeddings().weight.device
        rest: dict[str, Any] = {"input_ids": torch.tensor([list(ids)], device=device), "past_key_values": kept}
        if "cache_position" in self._takes:  # older transformers do not count what is kept by themselves
            rest["cache_position"] = torch.arange(start, start + len(ids), device=device)
        return self._odds(self._model(**rest, use_cache=True, **self._few_logits).logits)

    def _ask_whole(self, inputs: dict[str, Tensor]) -> Tensor:
        return self._odds(self._model(**inputs, use_cache=False, **self._few_logits).logits)

    def _odds(self, logits: Tensor) -> Tensor:
        yes, no = self._answer_tokens()
        last = logits[0, -1].float()
        return torch.logsumexp(last[yes], 0) - torch.logsumexp(last[no], 0)

    def _answer_tokens(self) -> tuple[list[int], list[int]]:
        if self._answers is None:
            starts = [
                {self._tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in words} for words in WORDS
            ]
            # a token that starts both says nothing
            yes, no = sorted(starts[0] - starts[1]), sorted(starts[1] - starts[0])
            if not yes or not no:
                raise MllmError(f"The tokenizer of {self._name} cannot tell yes from no: choose another model.")
            self._answers = yes, no
        return self._answers

    def _token_ids(self, views: Tensor, questions: Sequence[str], first: list[int]) -> list[list[int]]:
        """Return the tokens of the prompt of each question; those of the first are known.

        To make them the processor prepares the images again, so that is left out where the last words can be tokenized
        by themselves, which is seen from the first question.
        """
        tail = self._tokenizer(questions[0], add_special_tokens=False)["input_ids"]
        at = _find_last(first, tail)
        if at is not None and self._inputs_equal(views, questions[-1], first, at, len(tail)):
            before, after = first[:at], first[at + len(tail) :]
            return [
                before + self._tokenizer(question, add_special_tokens=False)["input_ids"] + after
                for question in questions
            ]
        return [first, *(self._inputs(views, question)["input_ids"][0].tolist() for question in questions[1:])]

    def _inputs_equal(self, views: Tensor, question: str, first: list[int], at: int, length: int) -> bool:
        """Return whether replacing the question's tokens gives the prompt of another one; tried once per model."""
        if self.prefix_works is None:
            replaced = first[:at] + self._tokenizer(question, add_special_tokens=False)["input_ids"]
            self._splits = replaced + first[at + length :] == self._inputs(views, question)["input_ids"][0].tolist()
        return self._splits

    _splits = False


def _common_length(rows: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all rows begin with, but not all of any."""
    length = 0
    shortest = min(map(len, rows)) - 1
    while length < shortest and len({row[length] for row in rows}) == 1:
        length += 1
    return length


def _cut(inputs: dict[str, Tensor], length: int) -> dict[str, Tensor]:
    """Return inputs of the first tokens only; tensors that are not per token stay."""
    whole = inputs["input_ids"].shape
    return {name: value[:, :length] if value.shape == whole else value for name, value in inputs.items()}


def _find_last(ids: Sequence[int], part: Sequence[int]) -> int | None:
    """Return where `part` lies in `ids`, the last place, or None."""
    length = len(part)
    for start in range(len(ids) - length, -1, -1):
        if list(ids[start : start + length]) == list(part):
            return start
    return None
