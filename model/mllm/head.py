"""The linear head that predicts scores and physical parameters from an MLLM's pooled embedding (our design).

It is linear on purpose: trained together with the MLLM, it makes the embedding itself carry the continuous severities
in a form that the restorer can read as easily.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..vocabulary import DEGRADATIONS, PARAMETERS, PRESENT

ABSENT = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 100.0])
"""Value of each parameter where its degradation is absent, in the order of `PARAMETERS`."""

SPAN = torch.tensor([2.0, 0.1, 0.3, 0.3, 2.0, 1.0, -1.0, 3.0, -100.0])
"""One unit of the head's output in each parameter's own unit."""

OWNER = tuple(
    DEGRADATIONS.index(name) for name in ("low_light", "noise", "rain", "snow", "haze", "haze", "haze", "blur", "jpeg")
)
"""The degradation to which each parameter belongs."""


class Reading(NamedTuple):
    """Predictions for B images: presence logits [B, 7], strengths [B, 7] and scaled parameters [B, 9]."""

    presence: Tensor
    strength: Tensor
    parameters: Tensor

    def certainty(self) -> Tensor:
        """Return [B, 7] in 0..1, the probability that each is present."""
        return self.presence.sigmoid()

    def scores(self) -> Tensor:
        """Return [B, 7] in 0..1: up to 0.5 the probability of what is absent, then the strength of what is present."""
        probability = self.certainty()
        return torch.where(probability >= PRESENT, PRESENT + (1 - PRESENT) * self.strength.clamp(0, 1), probability)

    def physical(self) -> Tensor:
        """Return [B, 9] parameters in their own units; the absent value where the degradation is judged absent."""
        absent, span = ABSENT.to(self.parameters), SPAN.to(self.parameters)
        present = self.presence[:, OWNER] >= 0
        return torch.where(present, absent + span * self.parameters.clamp(0, 1.5), absent)


def scale_parameters(parameters: Tensor) -> Tensor:
    """Scale physical parameters [B, 9] as the head predicts them: 0 when absent, about 1 at the strongest."""
    return (parameters - ABSENT.to(parameters)) / SPAN.to(parameters)


class DegradationHead(nn.Module):
    """One linear layer from the pooled embedding [B, D] to a `Reading`.

    A head that was fitted to real photographs (`training/head/fit.py`) adds a small network to the presence
    logits: what tells a real haze from a pale scene is in the embedding, but not along one line.

    Args:
        width: D.
        hidden: Width of that network; 0 for none.
    """

    def __init__(self, width: int, hidden: int = 0) -> None:
        super().__init__()
        self.width, self.hidden = width, hidden
        self.read = nn.Linear(width, 2 * len(DEGRADATIONS) + len(PARAMETERS))
        if hidden:
            self.mean: Tensor
            self.scale: Tensor
            self.register_buffer("mean", torch.zeros(width))
            self.register_buffer("scale", torch.ones(width))
            self.widen = nn.Linear(width, hidden)
            self.presence = nn.Linear(hidden, len(DEGRADATIONS))

    def forward(self, pooled: Tensor) -> Reading:
        """Pooled embedding [B, D] -> predictions."""
        kinds = len(DEGRADATIONS)
        presence, strength, parameters = self.read(pooled.float()).split((kinds, kinds, len(PARAMETERS)), dim=-1)
        if self.hidden:
            normalized = (pooled.float() - self.mean) * self.scale
            presence = presence + self.presence(F.gelu(self.widen(normalized)))
        return Reading(presence, strength, parameters)
