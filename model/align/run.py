"""Align a foreign MLLM with a restorer: embed degraded images with both MLLMs, and fit an adapter.

aligned = align(load_mllm("models/LLM/owner/name"), load_mllm(), restorer, photos_in(folder))
write_adapter(path, aligned.adapter, aligned.card)
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import MllmError
from ..guidance import Guidance
from ..images import psnr
from ..inference.plan import plan_restoration
from ..mllm.adapter import KIND, SOURCE, Adapter
from ..mllm.describer import Mllm
from ..mllm.sight import PATCH_STATISTICS, QUESTIONS, STATISTICS, Look, Seer
from ..restorer.network import Restorer
from ..weights import Card
from .pictures import Photo, Picture, draw_picture, read_real
from .regression import Basis, as_restorers_see, basis_of, detection_f1, fit_reading, ridge
from .store import SHARD, Store, joined

SMALLER_IS_BETTER = 0.01
"""A look that reads less is taken where its error is higher by no more than this share."""

STATISTIC_SETS = (("last",), ("thumbnail", "crops"), ("last", "thumbnail", "crops"), STATISTICS)
"""Sets of statistics among which the fit chooses, each with each of `PATCH_SETS`."""

PATCH_SETS = ((), ("texture",), PATCH_STATISTICS)
"""Sets of the patches' statistics."""

PICTURES_VERSION = 2
"""Changes when kept embeddings are of other images, or lack something."""

LARGEST = 6e4
"""Largest statistic that is kept; single hidden states of large models are beyond what half precision holds."""

GAIN_SIDE = 224
"""Side in px of the images on which the gain is measured, at most."""

Progress = Callable[[int, int], None]
"""Called with the images that were looked at and all that will be; an error that it raises ends the run."""


@dataclass(frozen=True)
class AlignSettings:
    """How much is looked at.

    Attributes:
        pictures: Degraded images for the fit.
        trial: Degraded images on which views and questions are compared, but no more than `pictures`.
        measured: Images that are restored to measure the gain, but no more than an eighth of `pictures`; the fit has
            not seen them.
        seed: Of the degraded images.

    Raises:
        MllmError: Too few images.
    """

    pictures: int = 400
    trial: int = 64
    measured: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        if self.pictures < SHARD or self.trial < SHARD:
            raise MllmError(f"At least {SHARD} pictures are needed to align a model, not {self.pictures}.")
        object.__setattr__(self, "trial", min(self.trial, self.pictures))
        object.__setattr__(self, "measured", min(self.measured, self.pictures // 8))


class Aligned(NamedTuple):
    """An adapter and its card."""

    adapter: Adapter
    card: Card


class Candidate(NamedTuple):
    """A choice of layers and statistics with its held-out error."""

    look: Look
    error: float
    features: int

    def summary(self) -> list[int | str | float]:
        """Return layers, statistics and the error, for a card."""
        patches = [f"patches' {name}" for name in self.look.patches]
        return [*self.look.layers, *self.look.statistics, *patches, round(self.error, 4)]


def align(
    student: Seer,
    teacher: Mllm,
    restorer: Restorer,
    photos: Sequence[Photo],
    settings: AlignSettings | None = None,
    *,
    real: Sequence[Photo] = (),
    keep: Path | None = None,
    on_progress: Progress | None = None,
) -> Aligned:
    """Fit an adapter from what a foreign MLLM sees to the guidance of a restorer's MLLM.

    Args:
        student: The foreign MLLM.
        teacher: The MLLM with which the restorer was trained.
        restorer: On its device.
        photos: Clean photographs.
        settings: How much is looked at.
        real: Real degraded photographs, which are looked at as they are in place of generated images, up to every
            second one. The embedding is fitted to them, scores and parameters are not: their truth is not known.
        keep: Folder for embeddings, kept until the adapter is made; an interrupted run goes on from there.
        on_progress: Called before each image.

    Raises:
        MllmError: The restorer was trained with another MLLM, or a model gave values that are not finite.
    """
    settings = settings or AlignSettings()
    if restorer.mllm_identity != teacher.identity:
        raise MllmError(
            f"The restorer was trained with the MLLM {restorer.mllm_identity or '(none)'}, not with "
            f"{teacher.identity}: give its folder."
        )
    if student.identity == teacher.identity:
        raise MllmError(f"The MLLM {student.identity} is the one that the restorer was trained with: no need to align.")
    run = _Run(student, teacher, photos, real, settings, keep, on_progress)
    look = run.choose_way_of_looking()
    seen, truth = run.embed(look)
    candidates = list(rank_candidates(look, seen, truth))
    best = choose(candidates)
    fit = fit_adapter(student.identity, teacher, best.look, look, seen, truth)
    gain = run.measure(fit.adapter, restorer) if settings.measured else {}
    card = fit.card_with(
        settings,
        {
            "photos": len(photos),
            "real": int((~truth["known"]).sum()),
            "candidates": [c.summary() for c in candidates],
            **gain,
        },
    )
    run.clear()
    return Aligned(fit.adapter, card)


class AdapterFit(NamedTuple):
    """An adapter with its held-out errors."""

    adapter: Adapter
    errors: dict[str, float]

    def card_with(self, settings: AlignSettings, measured: dict[str, object]) -> Card:
        """Return the card."""
        name = self.adapter.source.partition(":")[0]
        made_from = ("photos", "real", "candidates")
        real = int(str(measured["real"]))
        others = f", and {real} real ones" if real else ""
        return Card(
            kind=KIND,
            name=f"{name} to {self.adapter.target.partition(':')[0]}",
            version="1.0",
            architecture={SOURCE: self.adapter.source, "look": self.adapter.look.to_json()},
            training={**asdict(settings), **{key: measured[key] for key in made_from}},
            metrics={
                **{name: round(value, 4) for name, value in self.errors.items()},
                **{key: value for key, value in measured.items() if key not in made_from},
            },
            data=f"{settings.pictures - real} generated images from {measured['photos']} photographs{others}",
            limits="As good as what the MLLM sees: metrics holds the errors on held-out photographs.",
            licence="As the photographs and the MLLM allow",
            mllm_identity=self.adapter.target,
        )


def fit_adapter(
    source: str, teacher: Mllm, look: Look, embedded: Look, seen: dict[str, Tensor], truth: dict[str, Tensor]
) -> AdapterFit:
    """Fit all maps of an adapter.

    Args:
        source: Identity of the foreign MLLM.
        teacher: The MLLM to whose guidance the adapter leads.
        look: What the adapter reads, a part of `embedded`.
        embedded: What `seen` holds.
        seen: `states` [N, L, S, D] and `patches` [N, K, P] of the images.
        truth: `pooled` and `tokens` of the teacher, `presence`, `strength`, `parameters` and `photo` of the images, and
            in `known` of which ones presence, strength and parameters are known.
    """
    basis = basis_of(_part(seen, embedded, look))
    groups = truth["photo"]
    pooled = ridge(basis.code, truth["pooled"], groups, as_restorers_see(truth["pooled"]))
    tokens = ridge(basis.code, truth["tokens"], groups)
    known = truth["known"]
    presence, strength, parameters = (truth[name][known] for name in ("presence", "strength", "parameters"))
    reading = fit_reading(basis.code[known], presence, strength, parameters, groups[known])
    adapter = Adapter(
        source=source,
        target=teacher.identity,
        identity="",
        look=look,
        mean=basis.mean,
        project=basis.project,
        pooled_mean=pooled.offset,
        pooled=pooled.weights,
        token_mean=tokens.offset,
        tokens=tokens.weights,
        reading_mean=reading.offset,
        reading=reading.weights,
        directions=teacher.directions,
    )
    errors = {
        "pooled_error": pooled.error,
        "token_error": tokens.error,
        "f1": detection_f1(reading.held_out[:, :7], presence),
    }
    return AdapterFit(adapter, errors)


def rank_candidates(embedded: Look, seen: dict[str, Tensor], truth: dict[str, Tensor]) -> Iterator[Candidate]:
    """Yield the held-out error of every choice of layers and statistics: that of the embedding and that of presence.

    Both count, since what is rare among the images, such as JPEG, hardly moves the mean error of the embedding.
    """
    pooled, groups, known = truth["pooled"], truth["photo"], truth["known"]
    shown, sides = as_restorers_see(pooled), 2 * truth["presence"][known] - 1
    layer_sets: list[tuple[int, ...]] = [(layer,) for layer in embedded.layers]
    if len(embedded.layers) > 1:
        layer_sets.append(embedded.layers)
    patch_sets = PATCH_SETS if seen["patches"].numel() else PATCH_SETS[:1]
    for layers, names, patches in itertools.product(layer_sets, STATISTIC_SETS, patch_sets):
        look = replace(embedded, layers=layers, statistics=names, patches=patches)
        basis: Basis = basis_of(_part(seen, embedded, look))
        errors = ridge(basis.code, pooled, groups, shown).error, ridge(basis.code[known], sides, groups[known]).error
        yield Candidate(look, sum(errors) / 2, len(basis.mean))


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate with the lowest error, or one that reads less and is hardly worse."""
    best = min(candidate.error for candidate in candidates)
    good = [candidate for candidate in candidates if candidate.error <= best * (1 + SMALLER_IS_BETTER)]
    return min(good, key=lambda candidate: (candidate.features, candidate.error))


def _part(seen: dict[str, Tensor], embedded: Look, look: Look) -> Tensor:
    """Return [N, F], what `look` reads of what was seen."""
    layers = [embedded.layers.index(layer) for layer in look.layers]
    names = [embedded.statistics.index(name) for name in look.statistics]
    states = seen["states"][:, layers][:, :, names].float().flatten(1)
    patches = [embedded.patches.index(name) for name in look.patches]
    return torch.cat([states, seen["patches"][:, patches].float().flatten(1)], dim=1)


class _Run:
    """One alignment: draws images, and has both MLLMs look at them.

    Args: as for `align`.
    """

    def __init__(
        self,
        student: Seer,
        teacher: Mllm,
        photos: Sequence[Photo],
        real: Sequence[Photo],
        settings: AlignSettings,
        keep: Path | None,
        on_progress: Progress | None,
    ) -> None:
        self.student, self.teacher, self.photos, self.settings = student, teacher, photos, settings
        self.real = real
        self._on_progress = on_progress
        self._store = Store(keep)
        self._done = 0
        looks = len(QUESTIONS) + 1
        self._total = looks * _rounded(settings.trial) + 2 * _rounded(settings.pictures) + settings.measured
        names = [[_name(photo) for photo in each] for each in (photos, real)]
        self._set = sha256(json.dumps([PICTURES_VERSION, *names, settings.seed]).encode()).hexdigest()[:8]
        self._made: list[str] = []

    def choose_way_of_looking(self) -> Look:
        """Return whether crops are shown as they are or amplified, and the question, whichever tells most."""
        layers = self.student.layers
        plain = Look(layers=layers, patches=PATCH_STATISTICS)
        truth = self._truth(self.settings.trial)
        errors: dict[Look, float] = {}

        def error(look: Look) -> float:
            each = rank_candidates(look, self._seen(look, self.settings.trial), truth)
            return min(candidate.error for candidate in each)

        for detail in (False, True):
            look = replace(plain, detail=detail)
            errors[look] = error(look)
        best = min(errors, key=lambda look: errors[look])
        for question in QUESTIONS:
            look = replace(best, question=question)
            if look not in errors:
                errors[look] = error(look)
        best = min(errors, key=lambda look: errors[look])
        return replace(best, sets=self.student.view_sets_worth)

    def embed(self, look: Look) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return what the student and the teacher see in all images."""
        return self._seen(look, self.settings.pictures), self._truth(self.settings.pictures)

    def measure(self, adapter: Adapter, restorer: Restorer) -> dict[str, object]:
        """Return the mean PSNR in dB of restored images without guidance, and with that of both MLLMs."""
        device = next(restorer.parameters()).device
        found: dict[str, list[float]] = {"none": [], "aligned": [], "own": []}
        for number in range(self.settings.measured):
            self._step()
            picture = draw_picture(self.photos, 10**6 + number, self.settings.seed)
            image, clean = (each[:, :GAIN_SIDE, :GAIN_SIDE] for each in (picture.image, picture.clean))
            guides: dict[str, Guidance | None] = {
                "none": None,
                "aligned": adapter.guidance(self.student.see(image, adapter.look)),
                "own": self.teacher.describe(image[None].to(self.teacher.device), with_text=False),
            }
            for name, guidance in guides.items():
                plan = plan_restoration(restorer, image[None].to(device), guidance)
                found[name].append(psnr(plan.run().image, clean[None].to(device)))
        mean = {name: round(sum(values) / len(values), 3) for name, values in found.items()}
        return {"psnr": mean, "gain_db": round(mean["aligned"] - mean["none"], 3)}

    def clear(self) -> None:
        """Remove the kept embeddings of the student; those of the teacher serve the next model, too."""
        self._store.clear(tuple(self._made))

    def _truth(self, count: int) -> dict[str, Tensor]:
        name = f"teacher-{self.teacher.identity.rpartition(':')[2][:8]}-{self._set}"

        def make(pictures: Sequence[Picture]) -> dict[str, Tensor]:
            rows = []
            for picture in pictures:
                self._step()
                guidance = self.teacher.describe(picture.image[None].to(self.teacher.device), with_text=False).to("cpu")
                rows.append((guidance.tokens[0].half(), guidance.pooled[0]))
            return {
                "tokens": torch.stack([tokens for tokens, _ in rows]),
                "pooled": torch.stack([pooled for _, pooled in rows]),
                "photo": torch.tensor([picture.photo for picture in pictures]),
                "known": torch.tensor([picture.known for picture in pictures]),
                **{
                    name: torch.stack([getattr(picture, name) for picture in pictures])
                    for name in ("presence", "strength", "parameters")
                },
            }

        return self._shards(name, count, make)

    def _seen(self, look: Look, count: int) -> dict[str, Tensor]:
        digest = sha256(json.dumps(look.to_json()).encode()).hexdigest()[:8]
        name = f"{self.student.identity.rpartition(':')[2][:8]}-{digest}-{self._set}"
        self._made.append(name)

        def make(pictures: Sequence[Picture]) -> dict[str, Tensor]:
            rows = []
            for picture in pictures:
                self._step()
                sight = self.student.see(picture.image, look)
                rows.append([part.clamp(-LARGEST, LARGEST).half() for part in sight])
            states, patches = (torch.stack(part) for part in zip(*rows, strict=True))
            return {"states": states, "patches": patches}

        return self._shards(name, count, make)

    def _shards(
        self, name: str, count: int, make: Callable[[Sequence[Picture]], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        shards = []
        for number in range(_rounded(count) // SHARD):
            done = self._done + SHARD

            def draw_and_make(number: int = number) -> dict[str, Tensor]:
                indices = range(number * SHARD, (number + 1) * SHARD)
                return make([self._picture(index) for index in indices])

            shards.append(self._store.shard(name, number, draw_and_make))
            self._done = done
        return {key: value[:count] for key, value in joined(shards).items()}

    def _picture(self, index: int) -> Picture:
        """Return image `index`: every second one is real, as long as there are real ones."""
        number = index // 2
        if index % 2 and number < len(self.real):
            return read_real(self.real[number], len(self.photos) + number)
        return draw_picture(self.photos, index, self.settings.seed)

    def _step(self) -> None:
        if self._on_progress is not None:
            self._on_progress(min(self._done, self._total), self._total)
        self._done += 1


def _rounded(count: int) -> int:
    """Return a number of images as whole shards."""
    return -(-count // SHARD) * SHARD


def _name(photo: Photo) -> str:
    """Return what tells a photograph from others: its file's name and size, or a digest of its pixels."""
    if isinstance(photo, Path):
        return f"{photo.name} {photo.stat().st_size}"
    return sha256(photo.float().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]
