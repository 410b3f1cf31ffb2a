"""What the MLLM knows about images, and the form in which the restorer takes it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .errors import GuidanceError
from .vocabulary import (
    ASSUMED_SEVERITIES,
    CAMERA_FAULTS,
    DEGRADATIONS,
    PRESENT,
    TONE_INDICES,
    VISIBILITY_RANGES,
    score_from_strength,
    strength_from_score,
)

_CAMERA = [DEGRADATIONS.index(name) for name in CAMERA_FAULTS]

LEAST_STRENGTH = 0.02
"""Strength of a fault that is barely called present, see `Guidance.camera_faults`; 0 is that of an absent one."""

FAINT_JPEG = (20 / 90, 30 / 90)
"""Strengths of a JPEG, those of quality 80 and 70, between which the share of its repair grows from none to all: where
its blocks can hardly be seen, most of what a repair takes away is the grain and the texture of a good photograph."""


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
        severities: [B, 7] in 0..1, strengths that hold whatever the embedding says; NaN where none is set. None sets
            none.
    """

    tokens: Tensor | None = None
    pooled: Tensor | None = None
    mask: Tensor | None = None
    removal: Tensor | None = None
    tone_removal: Tensor | None = None
    severities: Tensor | None = None

    @property
    def for_tone(self) -> Conditioning:
        """The conditioning of the tone branch, which reads the pooled embedding and `tone_removal`."""
        return self if self.tone_removal is None else replace(self, removal=self.tone_removal)


@dataclass(frozen=True)
class Directions:
    """How an MLLM's embedding moves when a degradation is added to an image (our design).

    The means of differences between the embeddings of degraded and clean photographs, at rising strengths. Adding them
    to an image's embedding makes the restorer act as if the MLLM had seen the degradation, at no cost.

    Attributes:
        tokens: [7, L, T, D] float32, at the strengths 1/L, 2/L, ..., 1.
        pooled: [7, L, D] float32.
    """

    tokens: Tensor
    pooled: Tensor

    def at(self, degradation: int, strength: float) -> tuple[Tensor, Tensor]:
        """Return the move [T, D] of the tokens and [D] of the pooled vector; linear between the known strengths."""
        levels = self.pooled.shape[1]
        upper = min(int(strength * levels), levels - 1)
        share = strength * levels - upper
        moves = []
        for known in (self.tokens[degradation], self.pooled[degradation]):
            below = known[upper - 1] if upper else torch.zeros_like(known[0])
            moves.append((1 - share) * below + share * known[upper])
        return moves[0], moves[1]


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
        mllm_identity: Which MLLM, with which weights, made this, or to whose guidance an adapter led.
        removal: [B, 7] float32 in 0..1, how much of each degradation to remove: 1 removes it, 0 keeps it, and so does a
            severity that was set to 0. None, as the MLLM makes it, removes all.
        forced: [B, 7] bool, degradations to remove even if the MLLM does not detect them; None means none.
        severities: [B, 7] float32 in 0..1, strengths that were set (`with_severities`); NaN where what the MLLM saw
            holds. None sets none.
        protected: [B] bool, images whose content only looks degraded (`mllm.content`): they are returned as they are
            unless a removal is forced. None protects none.
        certainty: [B, 7] float32 in 0..1, how likely the MLLM holds it that each is present; where it calls one
            present, the score says how strong it is and no longer how certain that is. None: all is certain.
        directions: Of the MLLM's embedding, which severities that are set move; None where it has none.
        notes: Sentences for the user, such as what of an instruction was not understood.
        adapter: Which adapter led from another MLLM to this guidance; empty for none.
        asked: [B, 7] float32 in 0..1, `removal` before anything was set to be absent: what holds again where a later
            severity is not 0. None: as `removal`.
    """

    tokens: Tensor
    pooled: Tensor
    scores: Tensor
    parameters: Tensor
    descriptions: tuple[str, ...]
    mllm_identity: str
    removal: Tensor | None = None
    forced: Tensor | None = None
    severities: Tensor | None = None
    protected: Tensor | None = None
    certainty: Tensor | None = None
    directions: Directions | None = None
    notes: tuple[str, ...] = ()
    adapter: str = ""
    asked: Tensor | None = None

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
        _check_names((*removal, *forced))
        for name, amount in removal.items():
            if not 0 <= amount <= 1:
                raise GuidanceError(f"The amount of {name} to remove is {amount}: it must lie between 0 and 1.")
        factors = torch.tensor([removal.get(name, 1.0) for name in DEGRADATIONS])
        named = torch.tensor([name in forced for name in DEGRADATIONS])
        return replace(
            self,
            removal=self._removal() * factors.to(self._removal()),
            asked=self._asked() * factors.to(self._removal()),
            forced=self._forced() | named.to(self._forced().device),
        )

    def with_severities(self, severities: Mapping[str, float]) -> Guidance:
        """Return guidance as if the MLLM had seen these degradations at these strengths, whatever it saw.

        Example:
            >>> pipe(image, guidance.with_severities({"noise": 0.4, "rain": 0.2}))

        Args:
            severities: Strength in 0..1 by the degradation's name; 0 means absent, and nothing of it is removed. Of two
                calls the later one holds.

        Raises:
            GuidanceError: An unknown degradation, or a strength outside 0..1.
        """
        _check_names(severities)
        for name, strength in severities.items():
            if not 0 <= strength <= 1:
                raise GuidanceError(f"The severity of {name} is {strength}: it must lie between 0 and 1.")
        if not severities:
            return self
        told = self._severities().clone()
        for name, strength in severities.items():
            told[:, DEGRADATIONS.index(name)] = strength
        asked = self._asked()  # not `removal`, in which what an earlier call set to be absent is 0
        moved = replace(
            self.seeing(severities), severities=told, asked=asked, removal=asked.masked_fill(told == 0, 0.0)
        )
        return moved.with_removal({}, [name for name, strength in severities.items() if strength > 0])

    def seeing(self, strengths: Mapping[str, float]) -> Guidance:
        """Return guidance of an MLLM that has seen these degradations at these strengths, and nothing more than that.

        Scores, certainty and, where there are directions, the embedding follow; amounts and orders stay.

        Args:
            strengths: 0..1 by the degradation's name; 0 means absent.
        """
        tokens, pooled, scores = self.tokens.clone(), self.pooled.clone(), self.scores.clone()
        certainty = None if self.certainty is None else self.certainty.clone()
        for name, strength in strengths.items():
            index = DEGRADATIONS.index(name)
            for row, score in enumerate(self.scores[:, index].tolist()):
                if self.directions is not None:
                    self._move(tokens[row], pooled[row], index, strength_from_score(score), strength)
            scores[:, index] = score_from_strength(strength)
            if certainty is not None:
                certainty[:, index] = float(strength > 0)
        return replace(self, tokens=tokens, pooled=pooled, scores=scores, certainty=certainty)

    def with_notes(self, notes: Sequence[str]) -> Guidance:
        """Return guidance with further notes, which also begin every description that is not empty."""
        added = [note for note in notes if note not in self.notes]
        descriptions = tuple(text and " ".join([*added, text]) for text in self.descriptions)
        return replace(self, descriptions=descriptions, notes=(*self.notes, *added))

    def removing_only(self, amounts: Mapping[str, float]) -> Guidance:
        """Return guidance that removes the named degradations, seen or not, and keeps all others (our design).

        What the MLLM did not see, or weaker than `ASSUMED_SEVERITIES`, is assumed at these. The others are kept as far
        as they are visible: to keep what is not there costs up to 1.3 dB. Where something had to be assumed, those
        that change the tone are kept whole, since the assumption could be taken for a reason to change it; where it is
        noise, blur, too, since sharpening brings it out (docs/experiments.md).

        Args:
            amounts: How much to remove, 0..1 by the degradation's name.

        Raises:
            GuidanceError: An unknown degradation, or an amount outside 0..1.
        """
        _check_names(amounts)
        parts = []
        for index in range(len(self)):
            one, scores = self[index], dict(zip(DEGRADATIONS, self.scores[index].tolist(), strict=True))
            weak = [name for name in amounts if amounts[name] > 0 and _is_weak(name, scores[name])]
            if self.directions is not None:
                is_told = (one._forced() | ~one._severities().isnan())[0].tolist()  # severities that were set stay
                told = dict(zip(DEGRADATIONS, is_told, strict=True))
                one = one._assuming([name for name in weak if not told[name]])
            limits = _VISIBLE_IF_ASSUMED if weak else _VISIBLE
            kept = {
                name: 1.0 - _visibility(scores[name], *limits[name]) for name in DEGRADATIONS if name not in amounts
            }
            if weak:
                whole = [DEGRADATIONS[tone] for tone in TONE_INDICES] + (["blur"] if "noise" in weak else [])
                kept |= {name: 0.0 for name in whole if name not in amounts}
            parts.append(one.with_removal({**kept, **amounts}, [name for name in amounts if amounts[name] > 0]))
        return Guidance.join(parts)

    def _assuming(self, names: Collection[str]) -> Guidance:
        """Return guidance that has `ASSUMED_SEVERITIES` of these, as if the MLLM had not seen them at all.

        A degradation that is seen weakly is in the scores but hardly in the embedding, so nothing is taken away first.
        """
        unseen = self.scores.clone()
        unseen[:, [DEGRADATIONS.index(name) for name in names]] = 0.0
        return replace(self, scores=unseen).with_severities({name: ASSUMED_SEVERITIES[name] for name in names})

    def _move(self, tokens: Tensor, pooled: Tensor, index: int, seen: float, strength: float) -> None:
        """Move the embedding of one image, in place, from a strength that is seen to another."""
        assert self.directions is not None
        for sign, amount in ((1, strength), (-1, seen)):
            if amount > 0:
                token_move, pooled_move = self.directions.at(index, amount)
                tokens += sign * token_move.to(tokens)
                pooled += sign * pooled_move.to(pooled)

    def reaches(self, threshold: float) -> Tensor:
        """Return in which images something that is to be removed is seen at least at a score, or was ordered.

        The scores of an aligned model are less sure (docs/mllms.md): there it is enough that some degradation is as
        likely as that, whichever it is (our design).

        Args:
            threshold: Score in 0..1; `PRESENT` is what the description calls present, 0 is reached by every image.

        Returns:
            [B] bool.
        """
        wanted = self._removal() > 0
        seen = (self.scores >= threshold) | self._forced()
        reached = (wanted & seen).any(1) | (threshold <= 0)
        if self.adapter:
            reached |= 1 - (1 - self.scores * wanted).prod(1) >= threshold
        return reached

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

    def camera_faults(self) -> Tensor:
        """Return how strong the faults of the camera are, [B, 3] float32 in 0..1, of `CAMERA_FAULTS`.

        0 where a fault is called absent. A forced one that is not seen has its assumed strength, unless its severity
        was set to 0.
        """
        scores, assumed = self.scores[:, _CAMERA], torch.tensor([ASSUMED_SEVERITIES[name] for name in CAMERA_FAULTS])
        seen = ((scores - PRESENT) / (1 - PRESENT)).clamp(LEAST_STRENGTH, 1).masked_fill(scores < PRESENT, 0.0)
        unseen = (self._forced() & (self._severities() != 0))[:, _CAMERA] & (scores < PRESENT)
        return torch.where(unseen, assumed.to(scores), seen)

    def camera_strengths(self) -> Tensor:
        """Return how strong what the camera branch is to undo is, [B, 3] float32 in 0..1, of `CAMERA_FAULTS`.

        That is `camera_faults`, but 0 for what is to be kept; where less of a fault is to be removed than of another,
        it counts as weaker. The blur of a dark image that is lit stays: its noise would hide the kernel.
        """
        removal = self._removal()[:, _CAMERA]
        strengths = self.camera_faults() * (removal > 0)
        most = (removal * (strengths > 0)).amax(1, keepdim=True).clamp(min=1e-6)
        strengths = strengths * (removal / most).clamp(max=1)
        strengths[:, CAMERA_FAULTS.index("blur")] *= ~self._is_lit()
        return strengths

    def camera_share(self) -> Tensor:
        """Return how much of what the camera branch changes is to be taken, [B] in 0..1: the largest of its amounts.

        A JPEG counts as far as it is certain, as in `share`, since one that left no traces to measure may be none, and
        as far as it is visible, see `FAINT_JPEG`; one that an order names counts whole. So do noise and blur, since a
        head that was taught restraint is too modest about them (docs/experiments.md).
        """
        jpeg, removal = DEGRADATIONS.index("jpeg"), self._removal().clone()
        faintest, visible = FAINT_JPEG
        strength = self.camera_faults()[:, CAMERA_FAULTS.index("jpeg")]
        counted = self._certainty()[:, jpeg] * ((strength - faintest) / (visible - faintest)).clamp(0, 1)
        removal[:, jpeg] *= counted.masked_fill(self._forced()[:, jpeg], 1.0)
        return (removal[:, _CAMERA] * (self.camera_strengths() > 0)).amax(1)

    def share(self) -> Tensor:
        """Return how much of a restoration is to be taken, [B] in 0..1: the certainty that anything is to be removed.

        The mean of an image and its restoration, weighted with the probability that it needs one, has the least
        expected squared error (our design). What was ordered is certain, and so is everything where nothing is called
        present and it is restored all the same.
        """
        wanted = self._removal() > 0
        seen = wanted & (self.scores >= PRESENT)
        certain = (wanted & self._forced()).any(1) | ~seen.any(1)
        return torch.where(certain, 1.0, (self._certainty() * seen).amax(1))

    def after_camera_branch(self) -> Guidance:
        """Return the guidance of one image for what comes after the camera branch, which sees its faults no longer.

        That of a dark image which is lit stays as it is: its noise is how the MLLM knows how dark it was made, and the
        local branch has learned what the camera branch leaves of it (docs/experiments.md).

        Raises:
            GuidanceError: Guidance for several images.
        """
        if len(self) != 1:
            raise GuidanceError(f"guidance for one image is needed, this one is for {len(self)}")
        if bool(self._is_lit()):
            return self
        undone = self.camera_strengths()[0] > 0
        return self.with_severities({name: 0.0 for name, is_gone in zip(CAMERA_FAULTS, undone, strict=True) if is_gone})

    def has_work(self) -> Tensor:
        """Return which images are to be changed at all, [B] bool.

        Those from which nothing is to be removed are not, and `protected` ones only where a removal is forced.
        """
        wanted = self._removal() > 0
        return wanted.any(1) & (~self._protected() | (wanted & self._forced()).any(1))

    def to_conditioning(self, device: torch.device | str) -> Conditioning:
        """Return the tensors that the restorer takes, float32 on a device."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, torch.float32)

        return Conditioning(
            moved(self.tokens),
            moved(self.pooled),
            removal=None if self.removal is None else moved(self.removal),
            tone_removal=moved(self.tone_removal()),
            severities=None if self.severities is None else moved(self.severities),
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
        for name in _OPTIONAL:  # what one part has, all must have
            if any(getattr(part, name) is not None for part in parts):
                parts = [part._with_tensors({name: getattr(part, f"_{name}")()}) for part in parts]
        joined = {
            name: torch.cat([getattr(part, name) for part in parts])
            for name in _TENSORS
            if getattr(parts[0], name) is not None
        }
        descriptions = tuple(text for part in parts for text in part.descriptions)
        notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
        return replace(parts[0]._with_tensors(joined), descriptions=descriptions, notes=notes)

    def _removal(self) -> Tensor:
        """`removal`, ones where there is none."""
        return torch.ones_like(self.scores) if self.removal is None else self.removal.to(self.scores)

    def _asked(self) -> Tensor:
        """`asked`, `removal` where there is none."""
        return self._removal() if self.asked is None else self.asked.to(self.scores)

    def _forced(self) -> Tensor:
        """`forced`, False where there is none."""
        return torch.zeros_like(self.scores).bool() if self.forced is None else self.forced.to(self.scores.device)

    def _severities(self) -> Tensor:
        """`severities`, NaN where there are none."""
        none = torch.full_like(self.scores, torch.nan)
        return none if self.severities is None else self.severities.to(self.scores)

    def _is_lit(self) -> Tensor:
        """Whether low light is called present in each image and is to be corrected, [B] bool."""
        low_light = DEGRADATIONS.index("low_light")
        return (self.scores[:, low_light] >= PRESENT) & (self._removal()[:, low_light] > 0)

    def _certainty(self) -> Tensor:
        """`certainty`, ones where there is none."""
        return torch.ones_like(self.scores) if self.certainty is None else self.certainty.to(self.scores)

    def _protected(self) -> Tensor:
        """`protected`, False where there is none."""
        none = torch.zeros(len(self), dtype=torch.bool, device=self.scores.device)
        return none if self.protected is None else self.protected.to(self.scores.device)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Guidance:
        """Apply a function to every tensor."""
        tensors = {name: getattr(self, name) for name in _TENSORS}
        return self._with_tensors({name: function(value) for name, value in tensors.items() if value is not None})

    def _with_tensors(self, tensors: Mapping[str, Tensor]) -> Guidance:
        """Replace tensors by name."""
        fields: dict[str, Any] = dict(tensors)
        return replace(self, **fields)


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if name not in DEGRADATIONS:
            raise GuidanceError(f"There is no degradation {name!r}: choose from {', '.join(DEGRADATIONS)}.")


def _is_weak(name: str, score: float) -> bool:
    """Return whether what is seen tells the restorer less than the strength that is assumed of an unseen degradation.

    That is so of noise: weak noise hardly moves the embedding. To assume more haze, low light or rain than is seen
    darkens, brightens or smears a picture, so these are only assumed where they are absent.
    """
    return score < PRESENT or (name == "noise" and strength_from_score(score) < ASSUMED_SEVERITIES[name])


def _visibility(score: float, low: float, high: float) -> float:
    """Return 0 up to the score `low`, 1 from `high` on, linear between; the limits may be the same."""
    if score >= high:
        return 1.0
    return max(0.0, (score - low) / (high - low)) if high > low else 0.0


_VISIBLE = {name: VISIBILITY_RANGES.get(name, (PRESENT, PRESENT)) for name in DEGRADATIONS}
"""Score limits of how far a degradation is visible: what changes the tone from `VISIBLE` on, else what is present."""

_VISIBLE_IF_ASSUMED = dict.fromkeys(DEGRADATIONS, (0.05, 0.2))
"""The same limits where an order had something assumed, which can be taken for a reason to remove others, too."""

_OPTIONAL = ("removal", "asked", "forced", "severities", "protected", "certainty")
"""Tensors that may be None; the method of the same name with an underscore gives what None stands for."""

_TENSORS = ("tokens", "pooled", "scores", "parameters", *_OPTIONAL)
