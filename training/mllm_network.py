"""The MLLM with its head as one module to train, and what it is trained to lower."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model.head import OWNER, DegradationHead, Reading, scaled
from .mllm_model import pixel_values

TONES = 6
"""Numbers that describe the tone of a scene: mean and deviation of red, green and blue."""
ABSENT_WEIGHT = 0.25
"""How much the parameters of what is absent count: an airlight of 0 where there is no haze says nothing, and learned as
a number like the others it draws the estimates of those that are there towards 0."""
TONE_SIDE = 12
"""Side of the coarse picture whose deviation counts."""


class MllmInTraining(nn.Module):
    """The language model and its head, as one module for the training loop.

    Two more heads are for training only. One reads the mean of the projected image tokens, so that the eye learns
    without waiting for the language model above it. The other reads off the embedding what the clean scene's tone is:
    the exponent of a light map is often beyond telling, but how bright the scene should be is what the restorer needs.
    """

    def __init__(self, language_model: nn.Module, head: DegradationHead) -> None:
        super().__init__()
        self.language_model, self.head = language_model, head
        self.early_head = DegradationHead(head.width)
        self.tone_head = nn.Linear(head.width, TONES)
        for of_no_use_yet in (self.early_head.read, self.tone_head):  # a trained model would be pulled about by them
            nn.init.zeros_(of_no_use_yet.weight)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Reading, Reading, Tensor]:
        """The answers' cross-entropy, what the head and the early head read, and the tone [B, `TONES`]."""
        output = self.language_model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            pixel_values=pixel_values(batch["looks"]),
            output_hidden_states=True,
            use_cache=False,
        )
        pooled = output.hidden_states[-1][torch.arange(len(batch["embedding_at"])), batch["embedding_at"]]
        logits, labels = output.logits[:, :-1].float(), batch["labels"][:, 1:]
        learned = labels >= 0
        answers = answer_loss(logits, labels) if learned.any() else logits.sum() * 0
        seen = output.image_hidden_states.reshape(len(batch["looks"]), -1, self.head.width).mean(1)
        return answers, self.head(pooled), self.early_head(seen), self.tone_head(pooled.float())


def answer_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of each conversation's answers [B, L, N] (labels [B, L], -100 outside), mean over those that
    have any: a yes or no counts as much as a long description."""
    learned = labels >= 0
    loss = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100, reduction="none").sum(1)
    return (loss / learned.sum(1).clamp(min=1)).sum() / learned.any(1).sum().clamp(min=1)


def tone(scene: Tensor) -> Tensor:
    """How bright and how contrasty a clean scene [3, H, W] is at a coarse scale: means and deviations, [`TONES`]."""
    coarse = F.adaptive_avg_pool2d(scene, TONE_SIDE).flatten(1)
    return torch.cat([coarse.mean(1), coarse.std(1)])


def reading_losses(reading: Reading, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Errors of presence (cross-entropy), of strength where present, and of the scaled parameters (smooth L1)."""
    told = ABSENT_WEIGHT + (1 - ABSENT_WEIGHT) * batch["presence"][:, OWNER]
    parameters = F.smooth_l1_loss(reading.parameters, scaled(batch["parameters"]), reduction="none", beta=0.05)
    strength = F.smooth_l1_loss(reading.strength, batch["strength"], reduction="none", beta=0.1)
    return (
        F.binary_cross_entropy_with_logits(reading.presence, batch["presence"]),
        mean_where(strength, batch["presence"]),
        mean_where(parameters, told),
    )


def mean_where(values: Tensor, weights: Tensor) -> Tensor:
    """The mean of the values, each counted as much as its weight says; 0 where all weights are."""
    return (values * weights).sum() / weights.sum().clamp(min=1)
