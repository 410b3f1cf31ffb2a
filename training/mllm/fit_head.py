"""Fit the head of a trained MLLM to real photographs; the embedding, and so the restorer's guidance, stays as it is.

    mofe train head --config training/configs/head.toml

Weak labels of real photographs say that one degradation is present, and nothing about the others; good photographs of
hard kinds (night, pale, fine texture) say that none is. A small network on the frozen embedding learns presence from
both beside generated degradations (our design). The program also measures the `Directions` of the embedding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from ...model.atomic import atomic_write
from ...model.errors import TrainingError
from ...model.guidance import Directions
from ...model.mllm.describer import Mllm
from ...model.mllm.head import DegradationHead
from ...model.mllm.loading import DIRECTION_POOLED, DIRECTION_TOKENS, HEAD_FILE, load_mllm
from ...model.synthesis.degrade import synthesize
from ...model.synthesis.severities import Severities, sample_combination
from ...model.vocabulary import DEGRADATIONS
from ...model.weights import read_card, write_weights
from ..data.mix import Mix
from ..data.photos import list_photos, read_photo
from ..data.real_pairs import real_pair_folders
from ..data.real_photos import presence_of, real_folders
from ..data.scenes import to_tensor
from ..engine.config import RawConfig, check_minimum, parse_table, read_toml
from ..engine.provenance import training_record
from ..metrics import quantise

LOW_LIGHT = DEGRADATIONS.index("low_light")

SIDES = (256, 512)
"""Smallest and largest side of a generated image in px."""

DIRECTION_SIDE = 400
"""Side in px of the photographs whose embedding's moves are measured."""


@dataclass(frozen=True)
class HeadData:
    """The `[data]` table: paths.

    Attributes:
        mllm: Model folder whose head is fitted; it is not changed.
        photos: Folder of clean photos.
        real_weak: Folder of real photographs by label, `<label>/train`; `good/train` holds those without degradation.
        real_pairs: Folder of real pairs by degradation, `<degradation>/train/{input,target}`; empty for none.
        output: Gets the head and the embeddings, which are computed once.
    """

    mllm: str
    photos: str
    real_weak: str
    real_pairs: str
    output: str


@dataclass(frozen=True)
class FitConfig:
    """The `[fit]` table.

    Attributes:
        images: Generated images.
        pair_images: Further ones, made from the clean photographs of the real pairs, many of which show rooms.
        members: Networks that are fitted from different random weights and merged into one. 0 keeps the head as it is:
            that of an MLLM that has seen these photographs in its training, whose embeddings of them tell too much.
        hidden: Width of each.
        steps: Updates of each.
        batch: Generated and real images of a step, each.
        learning_rate: Of AdamW, with a cosine decay to 0.
        weight_decay: Of AdamW.
        dropout: Of the hidden layer, and half of it of the embedding.
        real_weight: Of the loss of real photographs.
        good_weight: Of photographs without a degradation, against those with it, in this loss.
        direction_photos: Photographs from which the directions are measured.
        direction_levels: Strengths at which they are measured.
        seed: Of everything random.

    Raises:
        TrainingError: A value outside its range.
    """

    images: int = 2400
    pair_images: int = 0
    members: int = 4
    hidden: int = 64
    steps: int = 1500
    batch: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    dropout: float = 0.3
    real_weight: float = 1.0
    good_weight: float = 6.0
    direction_photos: int = 64
    direction_levels: int = 3
    seed: int = 77

    def __post_init__(self) -> None:
        """Check the values."""
        names = ("images", "hidden", "steps", "batch", "direction_photos", "direction_levels")
        check_minimum(self, "fit", {"members": 0, **dict.fromkeys(names, 1)})


@dataclass(frozen=True)
class ShiftConfig:
    """The `[shift]` table: what is taken from the presence logit of each degradation.

    Above 0 it is seen less often: chosen on validation photographs, for the costs of missing it and of harming.
    """

    low_light: float = 0.0
    haze: float = 0.0
    rain: float = 0.0
    snow: float = 0.0
    noise: float = 0.0
    blur: float = 0.0
    jpeg: float = 0.0

    def apply(self, head: DegradationHead) -> None:
        """Change the biases of a head."""
        shift = torch.tensor([getattr(self, name) for name in DEGRADATIONS])
        with torch.no_grad():
            head.read.bias[: len(DEGRADATIONS)] -= shift


@dataclass(frozen=True)
class RestraintConfig:
    """The `[restraint]` table: what the network of presence unlearns from good photographs.

    Fur, branches, splashing water and pale rooms look like rain, snow and haze to it, and noise makes it see darkness.
    Photographs that the MLLM has not been trained on show which of them do, and what real photographs show is held (our
    design).

    Attributes:
        photos: Folder of photographs without any of `degradations`; empty leaves the network as it is.
        degradations: Those that none of the photographs shows, with noise or without. Beside these, low light is
            learned: a photograph with noise is as dark as it is without. The logits of the others are held.
        side: Longest side in px to which the photographs are shrunk.
        members: Networks that learn from other random batches and are merged into one.
        steps: Updates of each.
        batch: Photographs, generated images and real ones of a step, each.
        learning_rate: Of AdamW, with a cosine decay to 0.
        good_weight: Of the photographs, against generated images.
        noisy_weight: Of the photographs with noise, which are not dark for it.
        dark_weight: Of the photographs in generated low light, with its noise: the more, the more is taken for dark.
        denied_weight: Of what real photographs are known not to show and the good ones do not teach: the soft pixels of
            a camera are not blur.
        floor_weight: Of the logits of real photographs that show a degradation and may not fall.
        floor: How much above their old value these logits should be.
        keep_weight: Of the logits that are held.

    Raises:
        TrainingError: A value outside its range.
    """

    photos: str = ""
    degradations: tuple[str, ...] = ("haze", "rain", "snow")
    side: int = 640
    members: int = 4
    steps: int = 600
    batch: int = 256
    learning_rate: float = 1e-3
    good_weight: float = 6.0
    noisy_weight: float = 1.0
    dark_weight: float = 0.1
    denied_weight: float = 0.3
    floor_weight: float = 0.3
    floor: float = 0.3
    keep_weight: float = 0.3

    def __post_init__(self) -> None:
        """Check the values."""
        check_minimum(self, "restraint", dict.fromkeys(("side", "members", "steps", "batch"), 1))
        if unknown := set(self.degradations) - set(DEGRADATIONS):
            raise TrainingError(f"degradations in [restraint] names {min(unknown)}, which is none.")
        if not self.degradations:
            raise TrainingError("degradations in [restraint] names none.")


@dataclass(frozen=True)
class HeadRun:
    """All tables of the TOML file.

    Attributes:
        data: Paths.
        fit: Sizes and weights.
        mix: Degradations of the generated images.
        restraint: What good photographs teach.
        shift: Of the presence logits, at last.
        card: Data and limits for the card.
    """

    data: HeadData
    fit: FitConfig = field(default_factory=FitConfig)
    mix: Mix = field(default_factory=Mix)
    shift: ShiftConfig = field(default_factory=ShiftConfig)
    restraint: RestraintConfig = field(default_factory=RestraintConfig)
    card: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def from_raw(raw_config: RawConfig) -> HeadRun:
        """Parse the tables of a TOML file.

        Raises:
            TrainingError: An unknown or missing key, or a value that makes no sense; the message names it.
        """
        return HeadRun(
            data=parse_table(HeadData, raw_config, "data"),
            fit=parse_table(FitConfig, raw_config, "fit"),
            mix=parse_table(Mix, raw_config, "mix"),
            shift=parse_table(ShiftConfig, raw_config, "shift"),
            restraint=parse_table(RestraintConfig, raw_config, "restraint"),
            card=raw_config.get("card", {}),
        )


@dataclass(frozen=True)
class Examples:
    """Embeddings and what is known about them.

    Attributes:
        pooled: [N, D].
        presence: [N, 7] in 0..1.
        known: [N, 7], 1 where the presence is known, else 0.
    """

    pooled: Tensor
    presence: Tensor
    known: Tensor

    def and_more(self, other: Examples) -> Examples:
        """Return the examples of both."""
        pairs = ((self.pooled, other.pooled), (self.presence, other.presence), (self.known, other.known))
        return Examples(*(torch.cat(pair) for pair in pairs))


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
        head = restrain(mllm, head, settings, cache)
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


@torch.inference_mode()
def embed(mllm: Mllm, image: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return tokens [T, D] and pooled vector [D] of an image [H, W, 3], as at inference."""
    tokens, pooled = mllm.embed(mllm.view_sets(to_tensor(image)))
    first: Tensor = tokens[0]
    return first, pooled.mean(0)


def embed_generated(mllm: Mllm, settings: HeadRun, photos: list[Path], count: int, cache: Path) -> Examples:
    """Embed random pieces of clean photos, degraded as the mix says."""

    def make() -> Iterator[dict[str, Tensor]]:
        for index in range(count):
            rng = np.random.default_rng((settings.fit.seed, index))
            piece = _piece(read_photo(photos[index % len(photos)]), rng)
            degraded = synthesize(piece, settings.mix.draw(rng), rng)
            presence = torch.from_numpy(degraded.truth.presence).float()
            yield {"pooled": embed(mllm, degraded.image)[1], "presence": presence}

    stored = _cached(cache, make, count, cache.stem)
    return Examples(stored["pooled"], stored["presence"], torch.ones_like(stored["presence"]))


def _piece(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut a random piece out of a photo [H, W, 3], of `SIDES` where it is as large."""
    height, width = (min(side, int(rng.integers(SIDES[0], SIDES[1] + 1))) for side in photo.shape[:2])
    top = int(rng.integers(photo.shape[0] - height + 1))
    left = int(rng.integers(photo.shape[1] - width + 1))
    return np.ascontiguousarray(photo[top : top + height, left : left + width])


def embed_real(mllm: Mllm, data: HeadData, cache: Path) -> Examples:
    """Embed real photographs with what their folder says about them."""
    parts = []
    for name, folder, presence in real_folders(data.real_weak, data.real_pairs):
        photos = list_photos(folder)

        def make(photos: list[Path] = photos) -> Iterator[dict[str, Tensor]]:
            for path in photos:
                yield {"pooled": embed(mllm, read_photo(path))[1]}

        pooled = _cached(cache / f"{name}.safetensors", make, len(photos), name)["pooled"]
        values, known = map(torch.from_numpy, presence_of(presence))
        parts.append(Examples(pooled, values.expand(len(pooled), -1), known.expand(len(pooled), -1)))
    return Examples(*(torch.cat([getattr(part, name) for part in parts]) for name in ("pooled", "presence", "known")))


def measure_directions(mllm: Mllm, photos: str, fit: FitConfig, cache: Path) -> Directions:
    """Measure the mean move of the embedding when each degradation is added to clean photos."""
    paths, levels = list_photos(photos), fit.direction_levels
    chosen = np.random.default_rng(0).permutation(len(paths))[: fit.direction_photos]

    def make() -> Iterator[dict[str, Tensor]]:
        for number in map(int, chosen):
            clean = np.ascontiguousarray(read_photo(paths[number])[:DIRECTION_SIDE, :DIRECTION_SIDE])
            start = embed(mllm, clean)
            moves: list[tuple[Tensor, Tensor]] = []
            for index, name in enumerate(DEGRADATIONS):
                for level in range(1, levels + 1):
                    severities = Severities.from_strengths({name: level / levels})
                    end = embed(mllm, synthesize(clean, severities, np.random.default_rng((5, number, index))).image)
                    moves.append((end[0] - start[0], end[1] - start[1]))
            yield {"tokens": torch.stack([a for a, _ in moves]), "pooled": torch.stack([b for _, b in moves])}

    stored = _cached(cache, make, len(chosen), "directions")
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
    optimizer = torch.optim.AdamW(trained, fit.learning_rate, weight_decay=fit.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, fit.steps)
    weights = _balanced_weights(real, fit.good_weight)

    def logits(pooled: Tensor) -> Tensor:
        normalized = F.dropout((pooled - fitted.mean) * fitted.scale, fit.dropout / 2)
        hidden = F.dropout(F.gelu(fitted.widen(normalized)), fit.dropout)
        base: Tensor = fitted.read(pooled)[:, : len(DEGRADATIONS)]
        added: Tensor = fitted.presence(hidden)
        return base.detach() + added

    for _ in range(fit.steps):
        some = torch.randint(len(generated.pooled), (fit.batch,))
        others = torch.randint(len(real.pooled), (fit.batch,))
        made = F.binary_cross_entropy_with_logits(logits(generated.pooled[some]), generated.presence[some])
        errors = F.binary_cross_entropy_with_logits(
            logits(real.pooled[others]), real.presence[others], reduction="none"
        )
        loss = 2 * made + fit.real_weight * (errors * weights[others]).sum() * len(real.pooled) / fit.batch
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return fitted.eval()


def restrain(mllm: Mllm, head: DegradationHead, settings: HeadRun, cache: Path) -> DegradationHead:
    """Teach the network of presence what good photographs do not show; their embeddings are kept in `cache`.

    Raises:
        TrainingError: The head has no network of presence.
    """
    config = settings.restraint
    if not head.hidden:
        raise TrainingError("[restraint] needs a head with a network of presence: fit one with members in [fit].")
    good, generated = embed_good(mllm, settings, cache)
    noisy, dark = embed_noisy(mllm, settings, cache), embed_dark(mllm, settings, cache)
    real = embed_real(mllm, settings.data, cache)
    return merge(
        [restrained(head, good, noisy, dark, generated, real, config, number) for number in range(config.members)]
    )


def restrained(
    head: DegradationHead,
    good: Tensor,
    noisy: Tensor,
    dark: Tensor,
    generated: Examples,
    real: Examples,
    config: RestraintConfig,
    number: int,
) -> DegradationHead:
    """Return a copy of a head whose network of presence has learned from good photographs.

    Args:
        head: The head.
        good: Embeddings of the photographs, [N, D].
        noisy: Those of the same photographs with noise, [N, D].
        dark: Those of the same photographs in low light, [N, D].
        generated: Degraded images.
        real: Real photographs with and without degradations, whose logits are held.
        config: What is learned, and how.
        number: Seed.
    """
    torch.manual_seed(number)
    absent = [DEGRADATIONS.index(name) for name in config.degradations]
    learned = [LOW_LIGHT, *absent]
    held = [column for column in range(len(DEGRADATIONS)) if column not in learned]
    pupil = copy.deepcopy(head).requires_grad_(False)
    trained = [*pupil.widen.requires_grad_().parameters(), *pupil.presence.requires_grad_().parameters()]
    optimizer = torch.optim.AdamW(trained, config.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    with torch.no_grad():
        before = [head(pooled).presence for pooled in (good, noisy, dark, generated.pooled, real.pooled)]
    meant_dark = (before[0][:, LOW_LIGHT] > 0).float()
    present, denied = real.presence * real.known, (1 - real.presence) * real.known
    denied[:, learned] = 0
    for _ in range(config.steps):
        rows = [torch.randint(len(logits), (config.batch,)) for logits in before]
        of_good, of_noisy, of_dark, of_generated, of_real = (
            pupil(pooled[some]).presence
            for pooled, some in zip((good, noisy, dark, generated.pooled, real.pooled), rows, strict=True)
        )
        old_good, old_noisy, old_dark, old_generated, old_real = (
            logits[some] for logits, some in zip(before, rows, strict=True)
        )
        absence = F.softplus(of_good[:, absent]).mean()
        with_noise = F.softplus(of_noisy[:, absent]).mean()
        with_noise = with_noise + F.binary_cross_entropy_with_logits(of_noisy[:, LOW_LIGHT], meant_dark[rows[1]])
        darkened = F.softplus(-of_dark[:, LOW_LIGHT]).mean()
        made = F.binary_cross_entropy_with_logits(of_generated[:, learned], generated.presence[rows[3]][:, learned])
        is_there, is_not = present[rows[4]], denied[rows[4]]
        against = (F.softplus(of_real) * is_not).sum() / is_not.sum().clamp_min(1)
        fallen = (F.relu(old_real + config.floor - of_real).square() * is_there)[:, learned].mean()
        moved = ((of_real - old_real).square() * (1 - is_not)).mean() + sum(
            (new - old)[:, columns].square().mean()
            for new, old, columns in (
                (of_good, old_good, [LOW_LIGHT, *held]),
                (of_noisy, old_noisy, held),
                (of_dark, old_dark, [*absent, *held]),
                (of_generated, old_generated, held),
            )
        )
        loss = config.good_weight * absence + config.noisy_weight * with_noise + config.dark_weight * darkened + made
        loss = loss + config.denied_weight * against + config.floor_weight * fallen + config.keep_weight * moved
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return pupil.requires_grad_(False).eval()


def embed_good(mllm: Mllm, settings: HeadRun, cache: Path) -> tuple[Tensor, Examples]:
    """Embed the good photographs of `[restraint]` as they are, [N, D], and a degraded piece of each."""
    photos = list_photos(settings.restraint.photos)

    def make() -> Iterator[dict[str, Tensor]]:
        for index, path in enumerate(photos):
            rng = np.random.default_rng((settings.fit.seed, index))
            photo = _shrunk(read_photo(path), settings.restraint.side)
            degraded = synthesize(_piece(photo, rng), settings.mix.draw(rng), rng)
            yield {
                "pooled": embed(mllm, photo)[1],
                "degraded": embed(mllm, degraded.image)[1],
                "presence": torch.from_numpy(degraded.truth.presence).float(),
            }

    stored = _cached(cache / "restraint.safetensors", make, len(photos), "restraint")
    presence = stored["presence"]
    return stored["pooled"], Examples(stored["degraded"], presence, torch.ones_like(presence))


def embed_noisy(mllm: Mllm, settings: HeadRun, cache: Path) -> Tensor:
    """Embed the good photographs of `[restraint]` with noise and nothing else, [N, D]."""
    return _embed_with(mllm, settings, cache, "noisy", settings.mix.draw_noise)


def embed_dark(mllm: Mllm, settings: HeadRun, cache: Path) -> Tensor:
    """Embed the good photographs of `[restraint]` in low light, which comes with noise, [N, D]."""

    def draw(rng: np.random.Generator) -> Severities:
        return sample_combination("low", rng, wide=rng.random() < settings.mix.wide_share)

    return _embed_with(mllm, settings, cache, "dark", draw)


def _embed_with(
    mllm: Mllm, settings: HeadRun, cache: Path, name: str, draw: Callable[[np.random.Generator], Severities]
) -> Tensor:
    photos = list_photos(settings.restraint.photos)

    def make() -> Iterator[dict[str, Tensor]]:
        for index, path in enumerate(photos):
            rng = np.random.default_rng((settings.fit.seed, index, 1))
            degraded = synthesize(_shrunk(read_photo(path), settings.restraint.side), draw(rng), rng)
            yield {"pooled": embed(mllm, degraded.image)[1]}

    return _cached(cache / f"restraint-{name}.safetensors", make, len(photos), name)["pooled"]


def _shrunk(photo: np.ndarray, side: int) -> np.ndarray:
    """Shrink a photo [H, W, 3] in 0..1 to a longest side in px, in steps of 1/255; smaller ones stay."""
    longest = max(photo.shape[:2])
    if longest <= side:
        return photo
    height, width = (round(length * side / longest) for length in photo.shape[:2])
    small = F.interpolate(to_tensor(photo)[None], (height, width), mode="bilinear", antialias=True)
    return np.ascontiguousarray(quantise(small)[0].permute(1, 2, 0).numpy())


def merge(members: list[DegradationHead]) -> DegradationHead:
    """Merge heads of the same embedding into one wider head that gives the mean of their logits."""
    first = members[0]
    merged = DegradationHead(first.width, sum(member.hidden for member in members))
    merged.read.load_state_dict(first.read.state_dict())
    with torch.no_grad():
        merged.mean.copy_(first.mean)
        merged.scale.copy_(first.scale)
        merged.widen.weight.copy_(torch.cat([member.widen.weight for member in members]))
        merged.widen.bias.copy_(torch.cat([member.widen.bias for member in members]))
        merged.presence.weight.copy_(torch.cat([member.presence.weight for member in members], 1) / len(members))
        merged.presence.bias.copy_(torch.stack([member.presence.bias for member in members]).mean(0))
    return merged.eval()


def _balanced_weights(real: Examples, good_weight: float) -> Tensor:
    """Return [N, 7]: for each degradation, present ones weigh half, absent ones `good_weight` times half, together."""
    present = (real.presence * real.known).sum(0).clamp_min(20)  # a handful must not count like hundreds
    absent = ((1 - real.presence) * real.known).sum(0).clamp_min(1)
    return real.known * torch.where(real.presence > 0, 0.5 / present, good_weight * 0.5 / absent)


def _cached(path: Path, make: Callable[[], Iterator[dict[str, Tensor]]], count: int, name: str) -> dict[str, Tensor]:
    """Return the stacked results of `make`, from the file `path` if it holds so many, else computed and stored."""
    if path.exists():
        stored = load_file(path)
        if all(len(value) == count for value in stored.values()):
            return stored
    rows = list(tqdm(make(), total=count, desc=name, unit="image", disable=None))
    stacked = {key: torch.stack([row[key] for row in rows]).clone() for key in rows[0]}
    with atomic_write(path) as temporary:
        save_file(stacked, temporary)
    return stacked
