"""What good photographs teach the network of presence: not to see what is not there.

Fur, branches, splashing water and pale rooms look like rain, snow and haze to it, noise makes it see darkness, and the
blocks of a JPEG blur. Photographs that the MLLM has not been trained on, as they are and with faults of known strength,
show which of them do; what real photographs show is held (our design).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...model.errors import TrainingError
from ...model.mllm.describer import Mllm
from ...model.mllm.head import DegradationHead
from ...model.synthesis.degrade import Degraded, synthesize
from ...model.synthesis.severities import Severities, sample_combination
from ...model.vocabulary import DEGRADATIONS
from ..data.photos import list_photos, read_photo
from .config import HeadRun, RestraintConfig
from .examples import Examples, embed_degraded, embed_photos, embed_real, random_piece, shrunk
from .presence import minimize

LOW_LIGHT = DEGRADATIONS.index("low_light")
FAULTS = [DEGRADATIONS.index(name) for name in ("noise", "blur")]
"""What faults of a camera teach. The blocks of a JPEG are seen already, and many a good photograph is one."""


@dataclass(frozen=True)
class Lesson:
    """Images of one kind, and what the network of presence learns from them.

    Attributes:
        pooled: Their embeddings, [N, D].
        presence: What is learned, [N, 7] in 0..1.
        weight: Of the cross entropy of each logit, [N, 7]; a logit of weight 0 is held where it was.
        floored: [N, 7], 1 for the logits that may not fall, else 0.
    """

    pooled: Tensor
    presence: Tensor
    weight: Tensor
    floored: Tensor

    @staticmethod
    def of(pooled: Tensor, presence: Tensor, weights: Sequence[tuple[Sequence[int], float]]) -> Lesson:
        """Make a lesson of [N, D] and [N, 7] from a weight for each group of degradations, spread over the group."""
        weight = torch.zeros(len(DEGRADATIONS))
        for columns, value in weights:
            weight[list(columns)] = value / len(columns)
        return Lesson(pooled, presence, weight.expand_as(presence), torch.zeros_like(presence))


def restraint_lessons(mllm: Mllm, head: DegradationHead, settings: HeadRun, cache: Path) -> list[Lesson]:
    """Embed the photographs of `[restraint]`, as they are and degraded; the embeddings are kept in `cache`.

    Raises:
        TrainingError: The head has no network of presence.
    """
    if not head.hidden:
        raise TrainingError("[restraint] needs a head with a network of presence: fit one with members in [fit].")
    photos, mix, seed = list_photos(settings.restraint.photos), settings.mix, settings.fit.seed

    def read(path: Path) -> np.ndarray:
        return shrunk(read_photo(path), settings.restraint.side)

    def make_piece(index: int) -> Degraded:
        rng = np.random.default_rng((seed, index))
        return synthesize(random_piece(read(photos[index]), rng), mix.draw(rng), rng)

    def draw_dark(rng: np.random.Generator) -> Severities:
        return sample_combination("low", rng, wide=rng.random() < mix.wide_share)

    def embed_with(name: str, draw: Callable[[np.random.Generator], Severities], number: int) -> Examples:
        def make(index: int) -> Degraded:
            rng = np.random.default_rng((seed, index, number))
            return synthesize(read(photos[index]), draw(rng), rng)

        return embed_degraded(mllm, make, len(photos), cache / f"restraint-{name}.safetensors")

    good = embed_photos(mllm, map(read, photos), len(photos), cache / "restraint.safetensors")
    generated = embed_degraded(mllm, make_piece, len(photos), cache / "restraint-pieces.safetensors")
    dark = embed_with("dark", draw_dark, 1).pooled
    faulty = embed_with("noisy", mix.draw_noise, 1), embed_with("faulty", settings.faults.draw, 2)
    real = embed_real(mllm, settings.data, cache)
    return make_lessons(head, good, dark, faulty, generated, real, settings.restraint)


def make_lessons(
    head: DegradationHead,
    good: Tensor,
    dark: Tensor,
    faulty: Sequence[Examples],
    generated: Examples,
    real: Examples,
    config: RestraintConfig,
) -> list[Lesson]:
    """Say what each kind of image teaches a head.

    Args:
        head: The head; which of the good photographs are meant to be dark, it says.
        good: Embeddings of the good photographs, [N, D].
        dark: Those of the same photographs in low light, [N, D].
        faulty: Those of the same photographs with noise, and with all faults of a camera, N each.
        generated: Pieces of them with every degradation.
        real: Real photographs with and without degradations.
        config: How much each counts.
    """
    absent = [DEGRADATIONS.index(name) for name in config.degradations]
    learned = [LOW_LIGHT, *absent]
    nothing = torch.zeros(len(good), len(DEGRADATIONS))
    with torch.no_grad():
        meant_dark = (head(good).presence[:, LOW_LIGHT] > 0).float()
    found = [Lesson.of(good, nothing, [(absent, config.good_weight)])]
    found.append(
        Lesson.of(dark, nothing.index_fill(1, torch.tensor([LOW_LIGHT]), 1.0), [([LOW_LIGHT], config.dark_weight)])
    )
    light, faults = ([LOW_LIGHT], config.noisy_weight), (FAULTS, config.faults_weight)
    for examples in faulty:
        presence = examples.presence.clone()
        presence[:, LOW_LIGHT].clamp_min_(meant_dark)
        found.append(Lesson.of(examples.pooled, presence, [(absent, config.noisy_weight), light, faults]))
    found.append(Lesson.of(generated.pooled, generated.presence, [(learned, 1.0)]))
    held = [column for column in range(len(DEGRADATIONS)) if column not in learned]
    floored = (real.presence * real.known).index_fill(1, torch.tensor(held), 0.0)
    denied = ((1 - real.presence) * real.known).index_fill(1, torch.tensor(learned), 0.0)
    of_denied = config.denied_weight * denied * len(denied) / denied.sum().clamp_min(1)
    return [*found, Lesson(real.pooled, real.presence * real.known, of_denied, floored)]


def restrained(
    head: DegradationHead, lessons: Sequence[Lesson], config: RestraintConfig, number: int
) -> DegradationHead:
    """Return a copy of a head whose network of presence has learned the lessons, in an order of the seed `number`."""
    torch.manual_seed(number)
    pupil = copy.deepcopy(head).requires_grad_(False)
    trained = [*pupil.widen.requires_grad_().parameters(), *pupil.presence.requires_grad_().parameters()]
    with torch.no_grad():
        before = [head(lesson.pooled).presence for lesson in lessons]

    def loss() -> Tensor:
        total = torch.zeros(())
        for lesson, logits in zip(lessons, before, strict=True):
            rows = torch.randint(len(logits), (config.batch,))
            now, weight = pupil(lesson.pooled[rows]).presence, lesson.weight[rows]
            errors = F.binary_cross_entropy_with_logits(now, lesson.presence[rows], reduction="none")
            moved = (now - logits[rows]).square() * (weight == 0)
            fallen = F.relu(logits[rows] + config.floor - now).square() * lesson.floored[rows]
            terms = weight * errors + config.keep_weight * moved + config.floor_weight * fallen
            total = total + terms.sum(1).mean()
        return total

    minimize(trained, loss, config.steps, config.learning_rate, weight_decay=0.0)
    return pupil.requires_grad_(False).eval()
