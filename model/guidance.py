"""What the MLLM knows about images, and the form in which the restorer takes it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .errors import GuidanceError
from .vocabulary import DEGRADATIONS, TONE_INDICES, VISIBILITY_RANGES


@dataclass(frozen=True)
class Conditioning:
    """The tensors that condition the restorer on B images, on its device (made by `Guidance.to_conditioning`).

    Without `tokens` and `pooled`, learned neutral guidance takes their place.

    Attributes:
        tokens: [B, N, D], hidden states of the images' tokens, or None.
        pooled: [B, D], one embedding per image, or None.
        mask: [B] bool; False puts neutral guidance in the place of the given one. None keeps all.
        removal: [B, 7] in 0..1, how much of each degradation to remove. None removes all.
        tone_removal: The same for the tone branch. None: as `removal`.
    """

    tokens: Tensor | None = None
    pooled: Tensor | None = None
    mask: Tensor | None = None
    removal: Tensor | None = None
    tone_removal: Tensor | None = None

    @property
    def for_tone(self) -> Conditioning:
        """The conditioning of the tone branch, which reads the pooled embedding and `tone_removal`."""
        return self if self.tone_removal is None else replace(self, removal=self.tone_removal)


@dataclass(frozen=True)
class Guidance:
    """Guidance for a batch of B images, made by one MLLM.

    Example:
        >>> guidance = pipe.describe(image)
        >>> guidance.descriptions[0]
        'Strong haze (beta 1.6, airlight 0.82, transmission 0.44). No low light, ...'
        >>> pipe(image, guidance.with_removal({"haze": 0.0}))  # keeps the haze

    Attributes:
        tokens: [B, T, D] float32, hidden states of the images' tokens.
        pooled: [B, D] float32, one vector per image.
        scores: [B, 7] float32 in 0..1, in the order of `DEGRADATIONS`; `PRESENT` (0.5) and above means present.
        parameters: [B, 9] float32, in the order and units of `PARAMETERS`; NaN where the MLLM makes no estimates.
        descriptions: B sentences; empty strings where no description was asked for.
        mllm_identity: Which MLLM, with which weights, made this.
        removal: [B, 7] float32 in 0..1, how much of each degradation to remove: 1 removes it, 0 keeps it. None, as the
            MLLM makes it, removes all.
        forced: [B, 7] bool, degradations to remove even if the MLLM does not detect them; None means none.
    """

    tokens: Tensor
    pooled: Tensor
    scores: Tensor
    parameters: Tensor
    descriptions: tuple[str, ...]
    mllm_identity: str
    removal: Tensor | None = None
    forced: Tensor | None = None

    def __len__(self) -> int:
        """Return the number of images."""
        return self.pooled.shape[0]

    def __getitem__(self, index: int) -> Guidance:
        """Return the guidance of one image, as a batch of one."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"the guidance is for {len(self)} images, image {index} was asked for")
        one = slice(index % len(self), index % len(self) + 1)
        return replace(self._map(lambda tensor: tensor[one]), descriptions=self.descriptions[one])

    def with_removal(self, removal: Mapping[str, float], forced: Collection[str] = ()) -> Guidance:
        """Return guidance that removes only a share of each named degradation.

        The amounts multiply those of earlier calls.

        Args:
            removal: Amounts in 0..1 by the degradation's name: 1 removes it, 0 keeps it.
            forced: Degradations to remove even if the MLLM does not detect them.

        Raises:
            GuidanceError: An unknown degradation, or an amount outside 0..1.
        """
        for name in (*removal, *forced):
            if name not in DEGRADATIONS:
                raise GuidanceError(f"There is no degradation {name!r}: choose from {', '.join(DEGRADATIONS)}.")
        for name, amount in removal.items():
            if not 0 <= amount <= 1:
                raise GuidanceError(f"The amount of {name} to remove is {amount}: it must lie between 0 and 1.")
        factors = torch.tensor([removal.get(name, 1.0) for name in DEGRADATIONS])
        named = torch.tensor([name in forced for name in DEGRADATIONS])
        return replace(
            self,
            removal=self._removal() * factors.to(self._removal()),
            forced=self._forced() | named.to(self._forced().device),
        )

    def tone_removal(self) -> Tensor:
        """Return how much of each degradation the tone branch is to remove, [B, 7] float32 in 0..1 (our design).

        It is `removal`, but low light and haze only as far as the MLLM sees low light or any weather: a photograph that
        is dark or pale as its scene was is to stay so, unless the removal is forced.
        """
        visible = torch.zeros_like(self.scores[:, :1])
        for name, (low, high) in VISIBILITY_RANGES.items():
            score = self.scores[:, [DEGRADATIONS.index(name)]]
            visible = torch.maximum(visible, ((score - low) / (high - low)).clamp(0, 1))
        share = visible.repeat(1, len(DEGRADATIONS)).masked_fill(self._forced(), 1.0)
        amounts = self._removal().clone()
        amounts[:, TONE_INDICES] *= share[:, TONE_INDICES]
        return amounts

    def to_conditioning(self, device: torch.device | str) -> Conditioning:
        """Return the tensors that the restorer takes, float32 on a device."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, torch.float32)

        removal = None if self.removal is None else moved(self.removal)
        return Conditioning(
            moved(self.tokens), moved(self.pooled), removal=removal, tone_removal=moved(self.tone_removal())
        )

    def for_frame(self, index: int, frames: int) -> Guidance:
        """Return the guidance of frame `index` of `frames`: its own, or the only one there is.

        Raises:
            GuidanceError: The guidance is neither for one image nor for `frames` images.
        """
        if len(self) not in (1, frames):
            raise GuidanceError(
                f"The guidance describes {len(self)} images but the batch has {frames}: "
                "describe the same batch, or a single image of it."
            )
        return self[index if len(self) > 1 else 0]

    def to(self, device: torch.device | str) -> Guidance:
        """Return the same guidance with its tensors on a device."""
        return self._map(lambda tensor: tensor.to(device))

    @staticmethod
    def join(parts: Sequence[Guidance]) -> Guidance:
        """Return one batch from the guidance of several images, all made by the same MLLM."""
        if any(part.removal is not None for part in parts):
            parts = [replace(part, removal=part._removal()) for part in parts]
        if any(part.forced is not None for part in parts):
            parts = [replace(part, forced=part._forced()) for part in parts]
        joined = {
            name: torch.cat([getattr(part, name) for part in parts])
            for name in _TENSORS
            if getattr(parts[0], name) is not None
        }
        descriptions = tuple(text for part in parts for text in part.descriptions)
        return replace(parts[0]._with_tensors(joined), descriptions=descriptions)

    def _removal(self) -> Tensor:
        """`removal`, ones where there is none."""
        return torch.ones_like(self.scores) if self.removal is None else self.removal.to(self.scores)

    def _forced(self) -> Tensor:
        """`forced`, False where there is none."""
        return torch.zeros_like(self.scores).bool() if self.forced is None else self.forced.to(self.scores.device)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Guidance:
        """Apply a function to every tensor."""
        tensors = {name: getattr(self, name) for name in _TENSORS}
        return self._with_tensors({name: function(value) for name, value in tensors.items() if value is not None})

    def _with_tensors(self, tensors: Mapping[str, Tensor]) -> Guidance:
        """Replace tensors by name."""
        fields: dict[str, Any] = dict(tensors)
        return replace(self, **fields)


_TENSORS = ("tokens", "pooled", "scores", "parameters", "removal", "forced")
