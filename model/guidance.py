"""What the MLLM knows about a picture, in the form in which the restorer uses it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

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


TONE = (DEGRADATIONS.index("low_light"), DEGRADATIONS.index("haze"))
"""What changes the tone of a whole picture, and what a dark or pale scene can be mistaken for."""

UNSEEN_SEEN = {"low_light": (0.05, 0.2), "haze": (0.05, 0.2), "rain": (0.4, 0.5), "snow": (0.4, 0.5)}
"""What darkens a picture or lays a veil over it: up to the first score it counts as unseen, from the second on as
seen. Of low light and haze these lie well below `PRESENT`, since what is missed costs as much as what is imagined
(RESULTS.md, the eleventh sitting)."""


def strength_of(score: float) -> float:
    """The strength that a score in 0..1 tells: 0 where the degradation is absent, 1 at the strongest."""
    return min(1.0, max(0.0, (score - PRESENT) / (1 - PRESENT)))


class GuidanceError(ValueError):
    """Guidance that does not fit the picture or the restorer; the message is one sentence for the user."""


@dataclass(frozen=True)
class Guidance:
    """Guidance for a batch of B pictures, made by one MLLM.

    Attributes:
        tokens: [B, T, D] float32, hidden states of the picture's tokens.
        pooled: [B, D] float32, one vector per picture.
        scores: [B, 7] float32 in 0..1, in the order of `DEGRADATIONS`; `PRESENT` and above means present.
        parameters: [B, 9] float32, in the order and the units of `PARAMETERS`; NaN where the MLLM makes no estimates.
        descriptions: B sentences; empty strings where no description was asked for.
        mllm_identity: which MLLM, with which weights, made this.
        removal: [B, 7] float32 in 0..1, how much of each degradation to remove: 1 removes it, 0 keeps it. None, as the
            MLLM makes it, removes all.
        ordered: [B, 7] bool, what the user has ordered gone by name: it goes whether the MLLM sees it or not. None is
            nothing.
    """

    tokens: Tensor
    pooled: Tensor
    scores: Tensor
    parameters: Tensor
    descriptions: tuple[str, ...]
    mllm_identity: str
    removal: Tensor | None = None
    ordered: Tensor | None = None

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
            None if self.removal is None else self.removal[one],
            None if self.ordered is None else self.ordered[one],
        )

    def steered(self, removal: Mapping[str, float], ordered: Collection[str] = ()) -> Guidance:
        """The same guidance, told how much of each named degradation to remove, of what earlier wishes left to remove.

        Args:
            removal: amounts in 0..1 by the degradation's name.
            ordered: those that are to go even if the MLLM does not see them.

        Raises:
            GuidanceError: an unknown degradation, or an amount outside 0..1.
        """
        amounts = torch.ones(len(self), len(DEGRADATIONS)) if self.removal is None else self.removal.cpu().clone()
        for name in (*removal, *ordered):
            if name not in DEGRADATIONS:
                raise GuidanceError(f"There is no degradation {name!r}: choose from {', '.join(DEGRADATIONS)}.")
        for name, amount in removal.items():
            if not 0 <= amount <= 1:
                raise GuidanceError(f"The amount of {name} to remove is {amount}: it must lie between 0 and 1.")
            amounts[:, DEGRADATIONS.index(name)] *= amount
        wanted = torch.tensor([name in ordered for name in DEGRADATIONS]).expand(len(self), -1)
        wanted = wanted if self.ordered is None else wanted | self.ordered.cpu()
        return replace(self, removal=amounts.to(self.pooled.device), ordered=wanted.to(self.pooled.device))

    def tone_removal(self) -> Tensor:
        """How much of each degradation the tone branch is to remove, [B, 7] float32 in 0..1 (our design).

        `removal`; but low light and haze only as far as the MLLM sees low light or any weather: a photograph that is
        dark or pale as its scene was is to stay so, unless the user orders otherwise.
        """
        removal = torch.ones_like(self.scores) if self.removal is None else self.removal.to(self.scores)
        seen = torch.zeros_like(self.scores[:, :1])
        for name, (unseen, enough) in UNSEEN_SEEN.items():
            score = self.scores[:, [DEGRADATIONS.index(name)]]
            seen = torch.maximum(seen, ((score - unseen) / (enough - unseen)).clamp(0, 1))
        asked = seen.repeat(1, len(DEGRADATIONS))
        if self.ordered is not None:
            asked = asked.masked_fill(self.ordered.to(asked.device), 1.0)
        amounts = removal.clone()
        amounts[:, TONE] *= asked[:, TONE]
        return amounts

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
            None if self.removal is None else self.removal.to(device),
            None if self.ordered is None else self.ordered.to(device),
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
            None
            if all(part.removal is None for part in parts)
            else torch.cat([torch.ones_like(part.scores) if part.removal is None else part.removal for part in parts]),
            None
            if all(part.ordered is None for part in parts)
            else torch.cat(
                [torch.zeros_like(part.scores).bool() if part.ordered is None else part.ordered for part in parts]
            ),
        )
