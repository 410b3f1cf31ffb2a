"""The MLLM with its head as one module for training, and its losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

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


PRESENT_WEIGHT = 2.0
"""Weight of a degradation that a real photograph is known to have, against one that it is known not to have: of the
latter, there are six in each good photograph."""


class Seen(NamedTuple):
    """What an MLLM makes of B view sets.

    Attributes:
        answers: Cross-entropy of the answers, a scalar.
        reading: Of the pooled embedding.
        early: Of the mean of the first states at the image tokens.
        tone: [B, `TONES`].
    """

    answers: Tensor
    reading: Reading
    early: Reading
    tone: Tensor


class Embedding(NamedTuple):
    """The embedding of B view sets.

    Attributes:
        tokens: [B, T, D] at the image tokens.
        pooled: [B, D] at the end of the question.
        presence: Logits [B, 7] by the linear part of the head alone: what the embedding itself says.
    """

    tokens: Tensor
    pooled: Tensor
    presence: Tensor


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

    def forward(self, batch: dict[str, Tensor]) -> tuple[Seen, Embedding]:
        """Look at a batch as `encoding.encode` makes it, with its views."""
        output = self.language_model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            pixel_values=pixel_values(batch["views"]),
            output_hidden_states=True,
            use_cache=False,
        )
        tokens, pooled = embedding_of(self.language_model, output.hidden_states[-1], batch)
        logits, labels = output.logits[:, :-1].float(), batch["labels"][:, 1:]
        learned = labels >= 0
        answers = answer_loss(logits, labels) if learned.any() else logits.sum() * 0
        early = output.image_hidden_states.reshape(len(batch["views"]), -1, self.head.width).mean(1)
        seen = Seen(answers, self.head(pooled), self.early_head(early), self.tone_head(pooled))
        return seen, Embedding(tokens, pooled, self.head.read(pooled)[:, : len(DEGRADATIONS)])


def embedding_of(language_model: Any, states: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the tokens [B, T, D] and the pooled vectors [B, D] in the last hidden states [B, L, D] of a batch."""
    at_image = batch["input_ids"][:, : states.shape[1]] == language_model.config.image_token_id
    rows = torch.arange(len(states), device=states.device)
    states = states.float()
    return states[at_image].unflatten(0, (len(states), -1)), states[rows, batch["embedding_at"]]


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


def guide_loss(seen: Seen, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the loss of an MLLM in training and its parts.

    "answers" is 0 in the batches that end with the prompt, so its mean in the log is over all batches: times
    `answers_every` it is the cross-entropy per token of the answers. "tone" is in steps of brightness, 0..1.

    Args:
        seen: As the network returns it.
        batch: The truth, by name.
    """
    presence, strength, parameters = reading_losses(seen.reading, batch)
    tone = (seen.tone - batch["tone"]).abs().mean()
    early_parts = reading_losses(seen.early, batch)
    early_loss = 2 * early_parts[0] + 2 * early_parts[1] + 8 * early_parts[2]
    return {
        "loss": 0.5 * seen.answers + 2 * presence + 4 * strength + 8 * parameters + 0.5 * early_loss + 4 * tone,
        "answers": seen.answers,
        "presence": presence,
        "strength": strength,
        "parameters": parameters,
        "early": early_loss,
        "tone": tone,
    }


def tuning_loss(seen: Seen, embedding: Embedding, batch: dict[str, Tensor], keep_weight: float) -> dict[str, Tensor]:
    """Return the loss of an MLLM that learns from real photographs beside generated scenes, and its parts.

    Of real photographs it is known whether some degradations are there, and nothing else; the presence logits of the
    whole head and of its linear part learn that, so that the embedding itself moves to where generated degradations are
    that look alike. The embedding of generated scenes is kept, and with it the tone, so that a restorer that reads it
    goes on reading it (our design).

    Args:
        seen: As the network returns it.
        embedding: The same.
        batch: The truth, by name; `generated` [B] is 1 for scenes and 0 for photographs, `kept_tokens` and
            `kept_pooled` are the embedding of the scenes at the start of the training.
        keep_weight: Of how far that has moved ("kept").
    """
    which = batch["generated"] > 0
    made = {name: batch[name][which] for name in ("presence", "strength", "parameters")}
    presence, strength, parameters = reading_losses(Reading(*(part[which] for part in seen.reading)), made)
    real = known_loss(seen.reading.presence, batch) + known_loss(embedding.presence, batch)
    kept = moved(embedding.tokens[which], batch["kept_tokens"]) + moved(embedding.pooled[which], batch["kept_pooled"])
    loss = 0.5 * seen.answers + 2 * presence + 4 * strength + 8 * parameters + real + keep_weight * kept
    return {
        "loss": loss,
        "answers": seen.answers,
        "presence": presence,
        "strength": strength,
        "parameters": parameters,
        "real": real,
        "kept": kept,
    }


def known_loss(presence: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Return the cross-entropy of presence logits [B, 7] where it is known of real photographs."""
    known = batch["known"] * (1 - batch["generated"][:, None])
    weights = known * torch.where(batch["presence"] > 0, PRESENT_WEIGHT, 1.0)
    errors = F.binary_cross_entropy_with_logits(presence, batch["presence"], reduction="none")
    return mean_where(errors, weights)


def moved(now: Tensor, before: Tensor) -> Tensor:
    """Return the mean square by which embeddings [B, ..., D] moved, as a share of their variance over the batch."""
    return (now - before).square().mean() / before.var(0, correction=0).mean().clamp(min=1e-6)


def presence_f1(counted: Sequence[Tensor]) -> Tensor:
    """Return the F1 of presence per degradation, [7], from [2, B, 7] bool per batch: predicted and true."""
    predicted, true = torch.cat(list(counted), dim=1)
    f1: Tensor = 2 * (predicted & true).sum(0) / (predicted.sum(0) + true.sum(0)).clamp(min=1)
    return f1


def named_f1(f1: Tensor) -> dict[str, float]:
    """Return F1 [7] by the names of its columns in the log."""
    return {f"f1_{name}": float(value) for name, value in zip(DEGRADATIONS, f1, strict=True)}
