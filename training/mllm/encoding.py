"""Conversations and ground truth as the tensors that the MLLM learns from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...model.mllm.views import CROPS
from ...model.synthesis.degrade import GroundTruth
from .architecture import END
from .conversations import Turn


def prompt_text(processor: Any, question: str) -> str:
    """Return the prompt as the processor expands it, with one run of image tokens per view."""
    edge, tokens = "<fake_token_around_image>", processor.image_token * processor.image_seq_len
    return f"User:{f'{edge}<global-img>{tokens}{edge}' * (1 + CROPS)} {question}{END}\nAssistant:"


def encode(processor: Any, conversations: list[list[Turn]]) -> dict[str, Tensor]:
    """Encode a batch of conversations, padded at the right.

    A turn with an empty answer ends with its prompt.

    Returns:
        input_ids, attention_mask and labels [B, L] (labels are -100 outside answers), and `embedding_at` [B], the index
        of the last token of the first prompt.
    """
    tokenizer = processor.tokenizer
    rows = []
    for turns in conversations:
        ids: list[int] = []
        labels: list[int] = []
        embedding_at = 0
        for number, (question, answer) in enumerate(turns):
            prompt = prompt_text(processor, question) if number == 0 else f"\nUser: {question}{END}\nAssistant:"
            asked = tokenizer(prompt, add_special_tokens=False)["input_ids"]
            answered = tokenizer(f" {answer}{END}", add_special_tokens=False)["input_ids"] if answer else []
            embedding_at = len(asked) - 1 if number == 0 else embedding_at
            ids += asked + answered
            labels += [-100] * len(asked) + answered
        rows.append((ids, labels, embedding_at))
    length = max(len(ids) for ids, _, _ in rows)
    return {
        "input_ids": torch.tensor([ids + [tokenizer.pad_token_id] * (length - len(ids)) for ids, _, _ in rows]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids, _, _ in rows]),
        "labels": torch.tensor([labels + [-100] * (length - len(labels)) for _, labels, _ in rows]),
        "embedding_at": torch.tensor([embedding_at for _, _, embedding_at in rows]),
    }


def truth_tensors(truths: list[GroundTruth]) -> dict[str, Tensor]:
    """Return presence and strength [B, 7] and parameters [B, 9] as float tensors."""
    return {
        name: torch.from_numpy(np.stack([getattr(truth, name) for truth in truths])).float()
        for name in ("presence", "strength", "parameters")
    }
