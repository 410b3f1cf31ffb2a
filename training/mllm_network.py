"""The MLLM with its head as one module to train, and what it is trained to lower."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model.head import DegradationHead, Reading, scaled


class MllmInTraining(nn.Module):
    """The language model and its head, as one module for the training loop.

    A second head, for training only, reads the mean of the projected image tokens, so that the eye learns without
    waiting for the language model above it.
    """

    def __init__(self, language_model: nn.Module, head: DegradationHead) -> None:
        super().__init__()
        self.language_model, self.head = language_model, head
        self.early_head = DegradationHead(head.width)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Reading, Reading]:
        """The answers' mean cross-entropy, what the head reads, and what the early head reads."""
        output = self.language_model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            pixel_values=batch["looks"].float() / 127.5 - 1,
            output_hidden_states=True,
            use_cache=False,
        )
        pooled = output.hidden_states[-1][torch.arange(len(batch["embedding_at"])), batch["embedding_at"]]
        logits, labels = output.logits[:, :-1].float(), batch["labels"][:, 1:]
        learned = labels >= 0
        answers = F.cross_entropy(logits[learned], labels[learned]) if learned.any() else logits.sum() * 0
        seen = output.image_hidden_states.reshape(len(batch["looks"]), -1, self.head.width).mean(1)
        return answers, self.head(pooled), self.early_head(seen)


def reading_losses(reading: Reading, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Errors of presence (cross-entropy), of strength where present, and of the scaled parameters (smooth L1)."""
    strength = F.smooth_l1_loss(reading.strength, batch["strength"], reduction="none", beta=0.1)
    return (
        F.binary_cross_entropy_with_logits(reading.presence, batch["presence"]),
        mean_where(strength, batch["presence"]),
        F.smooth_l1_loss(reading.parameters, scaled(batch["parameters"]), beta=0.05),
    )


def mean_where(values: Tensor, weights: Tensor) -> Tensor:
    """The mean of the values, each counted as much as its weight says; 0 where all weights are."""
    return (values * weights).sum() / weights.sum().clamp(min=1)
