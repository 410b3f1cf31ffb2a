"""What the MLLM knows about a picture, in the form in which the restorer uses it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

DEGRADATIONS = ("low_light", "haze", "rain", "snow", "noise", "blur", "jpeg")
"""The seven degradations, in the order of every score vector."""

PARAMETERS = (
    "light_exponent",
    "noise_sigma",
    "rain_coverage",
    "snow_coverage",
    "haze_beta",
    "airlight",
    "transmission",
    "blur_sigma",
    "jpeg_quality",
)
"""The physical parameters of the imaging model (design, section 8), in the order of every parameter vector."""

PRESENT = 0.5
"""A score of this much and above means that the degradation is present."""


class GuidanceError(ValueError):
    """Guidance that does not fit the picture or the restorer; the message is one sentence for the user."""


@dataclass(frozen=True)
class Guidance:
    """Guidance for a batch of B pictures, made by one MLLM.

    Attributes:
        tokens: [B, T, D] float32, hidden states of the picture's tokens.
        pooled: [B, D] float32, one vector per picture.
        scores: [B, 7] float32 in 0..1, in the order of `DEGRADATIONS`; `PRESENT` and above means present.
        parameters: [B, 9] float32, in the order and the units of `PARAMETERS`; zeros where the MLLM has no estimate.
        descriptions: B sentences; empty strings where no description was asked for.
        mllm_identity: which MLLM, with which weights, made this.
    """

    tokens: Tensor
    pooled: Tensor
    scores: Tensor
    parameters: Tensor
    descriptions: tuple[str, ...]
    mllm_identity: str

    def __len__(self) -> int:
        return self.pooled.shape[0]

    def __getitem__(self, index: int) -> Guidance:
        """The guidance of one picture, as a batch of one."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"guidance holds {len(self)} pictures, picture {index} was asked for")
        index %= len(self)
        one = slice(index, index + 1)
        return Guidance(
            self.tokens[one],
            self.pooled[one],
            self.scores[one],
            self.parameters[one],
            self.descriptions[one],
            self.mllm_identity,
        )

    def for_frame(self, index: int, frames: int) -> Guidance:
        """The guidance of frame `index` of `frames`: its own, or the only one there is.

        Raises:
            GuidanceError: the guidance is neither for one picture nor for `frames` pictures.
        """
        if len(self) not in (1, frames):
            raise GuidanceError(
                f"The guidance describes {len(self)} pictures but the batch has {frames}: "
                "describe the same batch, or a single picture of it."
            )
        return self[index if len(self) > 1 else 0]

    def to(self, device: torch.device | str) -> Guidance:
        return Guidance(
            self.tokens.to(device),
            self.pooled.to(device),
            self.scores.to(device),
            self.parameters.to(device),
            self.descriptions,
            self.mllm_identity,
        )

    @staticmethod
    def join(parts: list[Guidance]) -> Guidance:
        """One batch from the guidance of several pictures, all made by the same MLLM."""
        return Guidance(
            torch.cat([part.tokens for part in parts]),
            torch.cat([part.pooled for part in parts]),
            torch.cat([part.scores for part in parts]),
            torch.cat([part.parameters for part in parts]),
            tuple(text for part in parts for text in part.descriptions),
            parts[0].mllm_identity,
        )
