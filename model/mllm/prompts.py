"""What a user asks, as text that a language model may read: no control tokens, and no longer than it can read."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

MAX_QUESTION_CHARACTERS = 4000
"""Length up to which a question is asked; a longer one takes minutes and is no better understood."""

_TAG = re.compile(r"([<\[])(?=[|/]?\w[\w|/ -]{0,60}[>\]])")
_EMBEDDING = re.compile(r"(?i)\bembedding:")


def as_text(question: str, control: Collection[str] = ()) -> str:
    """Return a question in which nothing is a control token, such as "< image>" for "<image>".

    Args:
        question: What a user wrote.
        control: Control tokens of the model beside those that look like tags.
    """
    text = _EMBEDDING.sub("embedding: ", _TAG.sub(r"\1 ", question))
    for token in sorted(control, key=len, reverse=True):
        if len(token) > 1 and not token.isspace():
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def control_tokens(processor: Any) -> set[str]:
    """Return the control tokens of a processor of transformers and of its tokenizer, such as "<image>"."""
    tokenizer = processor.tokenizer
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    own = [value for name, value in vars(processor).items() if name.endswith(("_token", "_tag"))]
    tokens = [*tokenizer.all_special_tokens, *(token.content for token in added if token.special), *own]
    return {str(getattr(token, "content", token)) for token in tokens if token is not None} - {""}


def cut_to_tokens(question: str, tokenizer: Any, limit: int) -> str:
    """Return the beginning of a question that has at most so many tokens."""
    ids = tokenizer(question, add_special_tokens=False)["input_ids"]
    while question and len(ids) > limit:
        question = question[: min(len(question) - 1, len(question) * limit // len(ids))]
        ids = tokenizer(question, add_special_tokens=False)["input_ids"]
    return question


@contextmanager
def checked_at_every_layer(network: nn.Module, on_check: Callable[[], None] | None) -> Iterator[None]:
    """Call a function before every layer of a network that runs meanwhile; an error that it raises ends the run.

    So a Cancel is noticed while a model reads a long prompt, which is a single call.
    """
    if on_check is None:
        yield
        return

    def check(*_: Any) -> None:
        on_check()

    layers = [layer for each in network.modules() if isinstance(each, nn.ModuleList) for layer in each]
    handles = [layer.register_forward_pre_hook(check) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
