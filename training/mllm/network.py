"""The MLLM with its head as one module for training, and its losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...model.mllm.head import OWNER, DegradationHead, Reading, scale_parameters
from ...model.vocabulary import DEGRADATIONS
from .architecture import pixel_values

TONES = 6
"""Numbers that describe the tone of a scene: mean and deviation of red, green and blue."""
ABSENT_WEIGHT = 0.25
"""Weight of the parameters of absent degradations: an airlight of 0 where there is no haze has no meaning, and with
full weight it would draw the estimates of present ones towards 0."""

TONE_SIDE = 12
"""Side of the coarse image whose mean and deviation are the tone."""


class MllmInTraining(nn.Module):
    """The language model and its head, as one module for the training loop.

    Two more heads are for training only. One reads the mean of the projected image tokens, so that the vision encoder
    learns without waiting for the language model above it. The other predicts the clean scene's tone from the
    embedding: the exponent of a light map often cannot be estimated, but the restorer needs to know how bright the
        scene
    should be.

    Args:
        language_model: Of transformers.
        head: Predicts scores and parameters.
    """

    def __init__(self, language_model: nn.Module, head: DegradationHead) -> None:
        super().__init__()
        self.language_model, self.head = language_model, head
        self.early_head = DegradationHead(head.width)
        self.tone_head = nn.Linear(head.width, TONES)
        for layer in (self.early_head.read, self.tone_head):  # random ones would disturb a trained model
            nn.init.zeros_(layer.weight)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Reading, Reading, Tensor]:
        """Return the answers' cross-entropy, the predictions of both heads, and the tone [B, `TONES`]."""
        output = self.language_model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            pixel_values=pixel_values(batch["views"]),
            output_hidden_states=True,
            use_cache=False,
        )
        pooled = output.hidden_states[-1][torch.arange(len(batch["embedding_at"])), batch["embedding_at"]]
        logits, labels = output.logits[:, :-1].float(), batch["labels"][:, 1:]
        learned = labels >= 0
        answers = answer_loss(logits, labels) if learned.any() else logits.sum() * 0
        seen = output.image_hidden_states.reshape(len(batch["views"]), -1, self.head.width).mean(1)
        return answers, self.head(pooled), self.early_head(seen), self.tone_head(pooled.float())


def answer_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over conversations of the mean cross-entropy of their answers: a "yes" counts like a description.

    Args:
        logits: [B, L, N].
        labels: [B, L], -100 outside answers; conversations without answers do not count.
    """
    learned = labels >= 0
    loss = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100, reduction="none").sum(1)
    return (loss / learned.sum(1).clamp(min=1)).sum() / learned.any(1).sum().clamp(min=1)


def tone_of(scene: Tensor) -> Tensor:
    """Return means and deviations of the colors of a clean scene [3, H, W] at a coarse scale, [`TONES`]."""
    coarse = F.adaptive_avg_pool2d(scene, TONE_SIDE).flatten(1)
    return torch.cat([coarse.mean(1), coarse.std(1)])


def reading_losses(reading: Reading, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return errors of presence (cross-entropy), strength where present, and scaled parameters (both smooth L1)."""
    weights = ABSENT_WEIGHT + (1 - ABSENT_WEIGHT) * batch["presence"][:, OWNER]
    parameters = F.smooth_l1_loss(
        reading.parameters, scale_parameters(batch["parameters"]), reduction="none", beta=0.05
    )
    strength = F.smooth_l1_loss(reading.strength, batch["strength"], reduction="none", beta=0.1)
    return (
        F.binary_cross_entropy_with_logits(reading.presence, batch["presence"]),
        mean_where(strength, batch["presence"]),
        mean_where(parameters, weights),
    )


def mean_where(values: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean of values; 0 where all weights are 0."""
    return (values * weights).sum() / weights.sum().clamp(min=1)


def guide_loss(outputs: tuple[Tensor, Reading, Reading, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the loss of an MLLM in training and its parts.

    "answers" is 0 in the batches that end with the prompt, so its mean in the log is over all batches: times
    `answers_every` it is the cross-entropy per token of the answers. "tone" is in steps of brightness, 0..1.

    Args:
        outputs: Loss of the answers, reading, reading of the early state, and tones, as the network returns them.
        batch: The truth, by name.
    """
    answers, reading, early, tones = outputs
    presence, strength, parameters = reading_losses(reading, batch)
    tone = (tones - batch["tone"]).abs().mean()
    early_parts = reading_losses(early, batch)
    early_loss = 2 * early_parts[0] + 2 * early_parts[1] + 8 * early_parts[2]
    return {
        "loss": 0.5 * answers + 2 * presence + 4 * strength + 8 * parameters + 0.5 * early_loss + 4 * tone,
        "answers": answers,
        "presence": presence,
        "strength": strength,
        "parameters": parameters,
        "early": early_loss,
        "tone": tone,
    }


def presence_f1(counted: Sequence[Tensor]) -> Tensor:
    """Return the F1 of presence per degradation, [7], from [2, B, 7] bool per batch: predicted and true."""
    predicted, true = torch.cat(list(counted), dim=1)
    f1: Tensor = 2 * (predicted & true).sum(0) / (predicted.sum(0) + true.sum(0)).clamp(min=1)
    return f1


def named_f1(f1: Tensor) -> dict[str, float]:
    """Return F1 [7] by the names of its columns in the log."""
    return {f"f1_{name}": float(value) for name, value in zip(DEGRADATIONS, f1, strict=True)}
