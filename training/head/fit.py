"""Fit the head of a trained MLLM to real photographs; the embedding, and so the restorer's guidance, stays as it is.

    mofe train head --config training/configs/head.toml

Weak labels of real photographs say that one degradation is present, and nothing about the others; good photographs of
hard kinds (night, pale, fine texture) say that none is. A small network on the frozen embedding learns presence from
both beside generated degradations (our design). The program also measures the `Directions` of the embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...model.errors import TrainingError
from ...model.guidance import Directions
from ...model.mllm.describer import Mllm
from ...model.mllm.head import DegradationHead
from ...model.mllm.loading import DIRECTION_POOLED, DIRECTION_TOKENS, HEAD_FILE, load_mllm
from ...model.synthesis.degrade import synthesize
from ...model.synthesis.severities import Severities
from ...model.vocabulary import DEGRADATIONS
from ...model.weights import read_card, write_weights
from ..data.photos import list_photos, read_photo
from ..data.real_pairs import real_pair_folders
from ..data.scenes import to_tensor
from ..engine.config import RawConfig, read_toml
from ..engine.provenance import training_record
from .config import FitConfig, HeadRun
from .examples import Examples, cached, embed, embed_generated, embed_real
from .presence import merge_into, minimize
from .restraint import restrained, restraint_lessons

DIRECTION_SIDE = 400
"""Side in px of the photographs whose embedding's moves are measured."""


def run(config_path: Path) -> None:
    """Fit as the TOML file says; embeddings that an earlier run has computed are used again."""
    raw_config = read_toml(config_path)
    fit_head(HeadRun.from_raw(raw_config), raw_config)


def fit_head(settings: HeadRun, raw_config: RawConfig) -> Path:
    """Fit the head and measure the directions; return the path of the head's weight file.

    Raises:
        TrainingError: The model has no head, or the head no network of presence that could be restrained.
    """
    data, fit = settings.data, settings.fit
    mllm, output = load_mllm(data.mllm, precision="fp32"), Path(data.output)
    if mllm.network.head is None:
        raise TrainingError(f"{data.mllm} in [data] has no {HEAD_FILE}: train it with mofe train mllm first.")
    cache = output / "embeddings"
    cache.mkdir(parents=True, exist_ok=True)
    directions = measure_directions(mllm, data.photos, fit, cache / "directions.safetensors")
    head = fit_presence(mllm, mllm.network.head, settings, cache) if fit.members else mllm.network.head
    if settings.restraint.photos:
        lessons = restraint_lessons(mllm, head, settings, cache)
        head = merge(
            [restrained(head, lessons, settings.restraint, each) for each in range(settings.restraint.members)]
        )
    settings.shift.apply(head)
    path = output / HEAD_FILE
    state = {**head.state_dict(), DIRECTION_TOKENS: directions.tokens, DIRECTION_POOLED: directions.pooled}
    old = read_card(Path(data.mllm) / HEAD_FILE)
    made = {**old.training, "head": training_record(raw_config, fit.steps if fit.members else 0)}
    card = replace(
        old,
        architecture={**old.architecture, "hidden": head.hidden},
        training=made,
        data=" ".join(filter(None, (old.data, str(settings.card.get("data", ""))))),
        mllm_identity=mllm.identity,
    )
    write_weights(path, state, card)
    return path


def fit_presence(mllm: Mllm, head: DegradationHead, settings: HeadRun, cache: Path) -> DegradationHead:
    """Fit the network of presence to generated images and real photographs, whose embeddings are kept in `cache`."""
    data, fit = settings.data, settings.fit
    generated = embed_generated(mllm, settings, list_photos(data.photos), fit.images, cache / "generated.safetensors")
    pairs = real_pair_folders(data.real_pairs) if data.real_pairs else {}
    targets = [path for folder in pairs.values() for path in list_photos(folder / "target")]
    if fit.pair_images and targets:
        more = embed_generated(mllm, settings, targets, fit.pair_images, cache / "generated-pairs.safetensors")
        generated = generated.and_more(more)
    real = embed_real(mllm, data, cache)
    return merge([fit_member(head, generated, real, fit, number) for number in range(fit.members)])


def measure_directions(mllm: Mllm, photos: str, fit: FitConfig, cache: Path) -> Directions:
    """Measure the mean move of the embedding when each degradation is added to clean photos."""
    paths, levels = list_photos(photos), fit.direction_levels
    chosen = np.random.default_rng(0).permutation(len(paths))[: fit.direction_photos]

    def make() -> Iterator[dict[str, Tensor]]:
        for number in map(int, chosen):
            clean = np.ascontiguousarray(read_photo(paths[number])[:DIRECTION_SIDE, :DIRECTION_SIDE])
            start = embed(mllm, to_tensor(clean))
            moves: list[tuple[Tensor, Tensor]] = []
            for index, name in enumerate(DEGRADATIONS):
                for level in range(1, levels + 1):
                    severities = Severities.from_strengths({name: level / levels})
                    degraded = synthesize(clean, severities, np.random.default_rng((5, number, index)))
                    end = embed(mllm, to_tensor(degraded.image))
                    moves.append((end[0] - start[0], end[1] - start[1]))
            yield {"tokens": torch.stack([a for a, _ in moves]), "pooled": torch.stack([b for _, b in moves])}

    stored = cached(cache, make, len(chosen))
    mean = {name: value.mean(0).unflatten(0, (len(DEGRADATIONS), levels)) for name, value in stored.items()}
    return Directions(mean["tokens"], mean["pooled"])


def fit_member(
    head: DegradationHead, generated: Examples, real: Examples, fit: FitConfig, number: int
) -> DegradationHead:
    """Fit the network of presence beside the linear head, from random weights of its own."""
    torch.manual_seed(number)
    fitted = DegradationHead(head.width, fit.hidden)
    fitted.read.load_state_dict(head.read.state_dict())
    everything = torch.cat([generated.pooled, real.pooled])
    fitted.mean.copy_(everything.mean(0))
    fitted.scale.copy_(1 / (everything.std(0) + 1e-6))
    nn.init.zeros_(fitted.presence.weight)
    nn.init.zeros_(fitted.presence.bias)
    trained = [*fitted.widen.parameters(), *fitted.presence.parameters()]
    weights = _balanced_weights(real, fit.good_weight)

    def logits(pooled: Tensor) -> Tensor:
        normalized = F.dropout((pooled - fitted.mean) * fitted.scale, fit.dropout / 2)
        hidden = F.dropout(F.gelu(fitted.widen(normalized)), fit.dropout)
        base: Tensor = fitted.read(pooled)[:, : len(DEGRADATIONS)]
        added: Tensor = fitted.presence(hidden)
        return base.detach() + added

    def loss() -> Tensor:
        some = torch.randint(len(generated.pooled), (fit.batch,))
        others = torch.randint(len(real.pooled), (fit.batch,))
        made = F.binary_cross_entropy_with_logits(logits(generated.pooled[some]), generated.presence[some])
        errors = F.binary_cross_entropy_with_logits(
            logits(real.pooled[others]), real.presence[others], reduction="none"
        )
        return 2 * made + fit.real_weight * (errors * weights[others]).sum() * len(real.pooled) / fit.batch

    minimize(trained, loss, fit.steps, fit.learning_rate, fit.weight_decay)
    return fitted.eval()


def merge(members: list[DegradationHead]) -> DegradationHead:
    """Merge heads of the same embedding into one wider head that gives the mean of their logits."""
    first = members[0]
    merged = DegradationHead(first.width, sum(member.hidden for member in members))
    merged.read.load_state_dict(first.read.state_dict())
    merge_into(merged, members)
    return merged.eval()


def _balanced_weights(real: Examples, good_weight: float) -> Tensor:
    """Return [N, 7]: for each degradation, present ones weigh half, absent ones `good_weight` times half, together."""
    present = (real.presence * real.known).sum(0).clamp_min(20)  # a handful must not count like hundreds
    absent = ((1 - real.presence) * real.known).sum(0).clamp_min(1)
    return real.known * torch.where(real.presence > 0, 0.5 / present, good_weight * 0.5 / absent)
