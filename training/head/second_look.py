"""Fit the network of the second look of a trained MLLM (`model/mllm/second_look.py`); MLLM and head stay as they are.

    mofe train second-look --config training/configs/second_look.toml

Photographs without low light and weather are degraded, some by faults of a camera that hide what else there is, and
those are seen twice, as they are and after the camera branch of a restorer. Real photographs teach what is known of
them, as they are and, where they have neither noise nor JPEG, also with such a fault (our design).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...model.errors import TrainingError
from ...model.mllm.describer import Mllm
from ...model.mllm.head import DegradationHead
from ...model.mllm.loading import HEAD_FILE, SECOND_LOOK_FILE, load_mllm
from ...model.mllm.second_look import INDICES, JUDGED, Cleaner, SecondLook
from ...model.restorer.loading import load_restorer
from ...model.synthesis.degrade import Degraded, synthesize
from ...model.synthesis.severities import COMBINATIONS, Severities, sample_combination
from ...model.vocabulary import DEGRADATIONS, PRESENT
from ...model.weights import read_card, write_weights
from ...model.whole_image import image_statistics
from ..data.mix import HEAVIEST_SNOW, HEAVIEST_SOFT_RAIN, Mix
from ..data.photos import list_photos, read_photo
from ..data.real_photos import LONGEST_SIDE, presence_of, real_folders
from ..data.scenes import to_tensor
from ..engine.config import RawConfig, Tables, check_minimum, read_toml
from ..engine.provenance import training_record
from .config import ShiftConfig
from .examples import cached, cut_out, embed, shrunk
from .presence import merge_into, minimize

FAULTS_UNTIL, DARK_UNTIL, DARK_COMPOSITES_UNTIL = 0.30, 0.47, 0.65
"""Up to these values of a random number in 0..1 an image has faults of a camera alone, low light alone, or low light
with others; above the last one weather with such faults. Low light brings noise of its own."""

WEATHER = {"haze": 0.3, "rain": 0.25, "snow": 0.2, "haze_rain": 0.15, "haze_snow": 0.1}
"""Combinations of weather and their shares."""

NOISE_SHARE = 0.65
"""Of the images with a fault of a camera, those with noise; the others have JPEG."""

PLAIN_SHARE, PLAIN_NOISE = 0.5, (4.0, 30.0)
"""Of the images with noise, those with white Gaussian noise, and its sigmas, of 255; `[mix]` draws the others."""

ALONE = {"low": 0.22, "soft_rain": 0.18, "rain": 0.12, "haze": 0.14, "snow": 0.1, "blown_snow": 0.06, "composite": 0.18}
"""What is drawn without a fault of a camera, and its share."""

LEAST_NOISE = 0.006
"""Maximum noise, as a sigma in 0..1, of dark images without a fault."""

SAVED_SHARE, SAVED_QUALITY = 0.3, (75, 98)
"""Of the images without a fault, those that are saved as a JPEG that hides nothing, and its qualities."""

JPEG_QUALITY = (8, 76)
"""Qualities of JPEG, the upper one excluded."""

SAVED_DARK_QUALITY = (20, 99)
"""Those of dark images with noise of their own that are saved as a JPEG, the upper one excluded."""

SAVED_DARK, CROPPED = 3, 4
"""Of the images of a photograph with faults of a camera, the one that is dark and saved as a JPEG, and the one that
shows a part of it, with a fault and nothing else."""

FIRST_PART = 3
"""Of the images without such faults, the first that shows a part of the photograph, since ribs of a leaf, a wall or a
sky alone look like rain or haze. Every other one of these is as it is."""

PART = (0.4, 0.8)
"""Sides of a part, as shares of those of the photograph."""

DARK_COMPOSITES = [name for name in COMBINATIONS if name.startswith("low_")]
"""The combinations of low light with others."""

WIDE_SHARE = 0.4
"""Of the combinations of CDD-11, those in wider ranges than the published ones."""


@dataclass(frozen=True)
class SecondLookData:
    """The `[data]` table: paths.

    Attributes:
        mllm: Model folder; it is not changed.
        restorer: Weight file whose camera branch removes noise and JPEG.
        photos: Folder of photographs without low light, haze, rain and snow, new to the MLLM.
        real_weak: Folder of real photographs by label, `<label>/train`, see `real_folders`.
        real_pairs: Folder of real pairs by degradation; empty for none.
        output: Gets the network and the embeddings, which are computed once.
    """

    mllm: str
    restorer: str
    photos: str
    real_weak: str
    real_pairs: str
    output: str


@dataclass(frozen=True)
class SecondLookFit:
    """The `[fit]` table.

    Attributes:
        images: Images of each photograph that have faults of a camera, the first of them nothing else, the fourth and
            fifth see `SAVED_DARK` and `CROPPED`.
        alone: Images of each without such faults, the first of them as it is; from `FIRST_PART` on of its parts.
        side: Longest side in px to which the photographs of `photos` are shrunk.
        members: Networks that are fitted from different random weights and merged into one.
        hidden: Width of each.
        steps: Updates of each.
        batch: Images of a step.
        learning_rate: Of AdamW, with a cosine decay to 0.
        weight_decay: Of AdamW.
        dropout: Of the hidden layer.
        real_weight: Of what is known of a real photograph, against a degraded one.
        seed: Of everything random.

    Raises:
        TrainingError: A value outside its range.
    """

    images: int = 5
    alone: int = 7
    side: int = 512
    members: int = 4
    hidden: int = 128
    steps: int = 900
    batch: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    dropout: float = 0.5
    real_weight: float = 2.0
    seed: int = 77

    def __post_init__(self) -> None:
        """Check the values."""
        check_minimum(self, "fit", dict.fromkeys(("images", "alone", "side", "members", "hidden", "steps", "batch"), 1))


@dataclass(frozen=True)
class SecondLookRun(Tables):
    """All tables of the TOML file.

    Attributes:
        data: Paths.
        fit: Sizes.
        mix: Noise of the images, see `Mix.draw_noise`.
        shift: Of the logits of `JUDGED`, at last.
        card: Data and limits for the card.
    """

    data: SecondLookData
    fit: SecondLookFit = field(default_factory=SecondLookFit)
    mix: Mix = field(default_factory=Mix)
    shift: ShiftConfig = field(default_factory=ShiftConfig)
    card: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SeenTwice:
    """What a network of a second look learns from.

    Attributes:
        first: Embeddings of images as they are, [N, D].
        second: Those without noise and JPEG, [N, D]; the same where neither is seen.
        statistics: Of the images as they are, [N, S].
        presence: [N, 4] in 0..1, of `JUDGED`.
        weight: Of each, [N, 4].
    """

    first: Tensor
    second: Tensor
    statistics: Tensor
    presence: Tensor
    weight: Tensor

    def and_more(self, other: SeenTwice) -> SeenTwice:
        """Return both."""
        return SeenTwice(*(torch.cat(pair) for pair in zip(vars(self).values(), vars(other).values(), strict=True)))

    def where(self, chosen: Tensor) -> SeenTwice:
        """Return some of them, by [N] bool."""
        return SeenTwice(*(value[chosen] for value in vars(self).values()))


def run(config_path: Path) -> None:
    """Fit as the TOML file says; embeddings that an earlier run has computed are used again."""
    raw_config = read_toml(config_path)
    fit_second_look(SecondLookRun.from_raw(raw_config), raw_config)


def fit_second_look(settings: SecondLookRun, raw_config: RawConfig) -> Path:
    """Fit the network; return the path of its weight file.

    Raises:
        TrainingError: The MLLM has no head, or the restorer no camera branch.
    """
    data, fit = settings.data, settings.fit
    mllm, output = load_mllm(data.mllm, precision="fp32"), Path(data.output)
    camera = load_restorer(data.restorer)[0].camera
    if mllm.network.head is None:
        raise TrainingError(f"{data.mllm} in [data] has no {HEAD_FILE}: train it with mofe train mllm first.")
    if camera is None:
        raise TrainingError(f"{data.restorer} in [data] has no camera branch: train it with mofe train camera first.")
    cache = output / "embeddings"
    cache.mkdir(parents=True, exist_ok=True)
    examples = see_degraded(mllm, camera, settings, cache).and_more(see_alone(mllm, settings, cache))
    for name, folder, known in real_folders(data.real_weak, data.real_pairs):
        if not known.keys().isdisjoint(JUDGED):
            examples = examples.and_more(see_real(mllm, camera, settings, folder, known, cache, name))
    judge = merge([fit_member(examples, fit, number) for number in range(fit.members)])
    with torch.no_grad():
        judge.presence.bias.sub_(torch.tensor([getattr(settings.shift, name) for name in JUDGED]))
    head = read_card(Path(data.mllm) / HEAD_FILE)
    card = replace(
        head,
        kind="second_look",
        name=f"{head.name}, second look",
        architecture={"width": judge.width, "hidden": judge.hidden},
        training={"second_look": training_record(raw_config, fit.steps)},
        metrics={},
        data=str(settings.card.get("data", "")),
        mllm_identity=mllm.identity,
    )
    path = output / SECOND_LOOK_FILE
    write_weights(path, judge.state_dict(), card)
    return path


def see_degraded(mllm: Mllm, cleaner: Cleaner, settings: SecondLookRun, cache: Path) -> SeenTwice:
    """See the photographs of `[data]` with faults of a camera; images in which none is seen are left out."""
    fit, photos = settings.fit, list_photos(settings.data.photos)
    head = _head_of(mllm)

    def sets() -> Iterator[tuple[np.ndarray, list[Degraded]]]:
        for number, photo in enumerate(photos):
            whole, key = read_photo(photo), (fit.seed, number)
            generators = [np.random.default_rng((*key, index)) for index in range(fit.images)]
            images = [draw_image(whole, fit.side, settings.mix, rng, index) for index, rng in enumerate(generators)]
            yield shrunk(whole, fit.side), images

    def rows() -> Iterator[dict[str, Tensor]]:
        for clean, images in sets():
            pooled = embed(mllm, to_tensor(clean))[1]
            for degraded in images:
                presence = torch.from_numpy(degraded.truth.presence)[INDICES].float()
                yield {**see_twice(mllm, cleaner, to_tensor(degraded.image)), "presence": presence, "clean": pooled}

    def pixels() -> Iterator[np.ndarray]:
        return (degraded.image for _, images in sets() for degraded in images)

    count = len(photos) * fit.images
    stored = cached(cache / "degraded.safetensors", rows, count)
    statistics = _statistics(pixels, count, cache / "degraded_pixels.safetensors")
    with torch.no_grad():
        meant_dark = head(stored["clean"]).certainty()[:, DEGRADATIONS.index("low_light")] >= PRESENT
    cropped = torch.arange(count) % fit.images == CROPPED
    weight = _weights(stored["presence"], meant_dark | cropped)
    every = SeenTwice(stored["first"], stored["second"], statistics, stored["presence"], weight)
    return every.where(stored["hidden"].bool())


def see_alone(mllm: Mllm, settings: SecondLookRun, cache: Path) -> SeenTwice:
    """See the photographs of `[data]` without faults of a camera; images in which one is seen are left out."""
    fit, photos = settings.fit, list_photos(settings.data.photos)

    def rows() -> Iterator[dict[str, Tensor]]:
        for number, photo in enumerate(photos):
            whole = read_photo(photo)
            for index in range(fit.alone):
                rng = np.random.default_rng((fit.seed, number, fit.images + index))
                degraded = draw_alone(whole, fit.side, rng, index)
                presence = torch.from_numpy(degraded.truth.presence)[INDICES].float()
                yield {**see_once(mllm, to_tensor(degraded.image)), "presence": presence}

    stored = cached(cache / "alone.safetensors", rows, len(photos) * fit.alone)
    presence = stored["presence"]
    weight = _weights(presence, torch.arange(len(presence)) % fit.alone >= FIRST_PART)
    every = SeenTwice(stored["first"], stored["first"], stored["statistics"], presence, weight)
    return every.where(~stored["hidden"].bool())


def see_real(
    mllm: Mllm,
    cleaner: Cleaner,
    settings: SecondLookRun,
    folder: Path,
    known: dict[str, float],
    cache: Path,
    name: str,
) -> SeenTwice:
    """See real photographs of which some presences are known.

    All are seen as they are; where no noise or JPEG is seen, once more with such a fault.
    """
    fit, photos = settings.fit, list_photos(folder)
    plain = cached(
        cache / f"{name}_alone.safetensors",
        lambda: (see_once(mllm, to_tensor(read_photo(path))) for path in photos),
        len(photos),
    )
    hidden = plain["hidden"].bool()

    def images() -> Iterator[np.ndarray]:
        for number, path in enumerate(photos):
            photo = read_photo(path)
            if not hidden[number]:
                rng = np.random.default_rng((fit.seed, number))
                photo = synthesize(shrunk(photo, LONGEST_SIDE), _with_fault(Severities(), settings.mix, rng), rng).image
            yield photo

    faulty = cached(
        cache / f"{name}.safetensors",
        lambda: (see_twice(mllm, cleaner, to_tensor(each)) for each in images()),
        len(photos),
    )
    statistics = _statistics(images, len(photos), cache / f"{name}_pixels.safetensors")
    presence, weight = (torch.from_numpy(each)[INDICES].expand(len(photos), -1) for each in presence_of(known))
    weight = fit.real_weight * weight
    alone = SeenTwice(plain["first"], plain["first"], plain["statistics"], presence, weight)
    twice = SeenTwice(faulty["first"], faulty["second"], statistics, presence, weight)
    return alone.where(~hidden).and_more(twice.where(faulty["hidden"].bool()))


@torch.inference_mode()
def see_once(mllm: Mllm, image: Tensor) -> dict[str, Tensor]:
    """Return the embedding [D] of an image [3, H, W], its statistics, and whether there is a reason for a second."""
    look = mllm.first_look(image)
    hidden = torch.tensor(look.faults is not None)
    return {"first": look.pooled[0], "statistics": image_statistics(image), "hidden": hidden}


@torch.inference_mode()
def see_twice(mllm: Mllm, cleaner: Cleaner, image: Tensor) -> dict[str, Tensor]:
    """Return both embeddings of an image [3, H, W], each [D], and whether there is a reason for the second."""
    look = mllm.first_look(image)
    first, faults = look.pooled[0], look.faults
    second = first if faults is None else mllm.embed_cleaned(image, faults, cleaner)[0]
    return {"first": first, "second": second, "hidden": torch.tensor(faults is not None)}


def _statistics(images: Callable[[], Iterable[np.ndarray]], count: int, cache: Path) -> Tensor:
    """Return the statistics [N, S] of images [H, W, 3], which are only made where `cache` does not hold them."""
    return cached(cache, lambda: ({"statistics": image_statistics(to_tensor(each))} for each in images()), count)[
        "statistics"
    ]


def _weights(presence: Tensor, may_be_dark: Tensor) -> Tensor:
    """Return the weights [N, 4] of presences [N, 4].

    An image that may be dark by itself ([N] bool), as a part of a photograph may, teaches nothing about low light
    unless it was made dark.
    """
    weight, dark = torch.ones_like(presence), JUDGED.index("low_light")
    weight[may_be_dark & (presence[:, dark] == 0), dark] = 0.0
    return weight


def draw_alone(photo: np.ndarray, side: int, rng: np.random.Generator, index: int) -> Degraded:
    """Degrade a photograph [H, W, 3] by low light or weather alone: image `index` of its images, the first by nothing.

    Args:
        photo: In 0..1.
        side: Longest side in px of the image.
        rng: Source of randomness.
        index: Its number; from `FIRST_PART` on it shows a part of the photograph.
    """
    is_part = index >= FIRST_PART
    untouched = (index - FIRST_PART) % 2 == 0 if is_part else index == 0
    clean = shrunk(_part(photo, rng) if is_part else photo, side)
    return synthesize(clean, Severities() if untouched else _draw_alone(rng), rng)


def _part(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random part of a photograph [H, W, 3]."""
    height, width = (round(length * rng.uniform(*PART)) for length in photo.shape[:2])
    return cut_out(photo, height, width, rng)


def _draw_alone(rng: np.random.Generator) -> Severities:
    kind = str(rng.choice(list(ALONE), p=list(ALONE.values())))
    if kind == "soft_rain":
        severities = Severities(rain=rng.uniform(0.1, HEAVIEST_SOFT_RAIN), soft_rain=True)
    elif kind == "blown_snow":
        severities = Severities(snow=rng.uniform(0.2, HEAVIEST_SNOW), blown_snow=True)
    else:
        several = [name for name in COMBINATIONS if "_" in name]
        name = str(rng.choice(several)) if kind == "composite" else kind
        severities = sample_combination(name, rng, wide=rng.random() < WIDE_SHARE)
    if severities.low_light_noise:
        severities = replace(severities, low_light_noise=rng.uniform(0.0, LEAST_NOISE))
    if rng.random() < SAVED_SHARE:
        severities = replace(severities, jpeg_quality=int(rng.integers(*SAVED_QUALITY)))
    return severities


def draw_image(photo: np.ndarray, side: int, mix: Mix, rng: np.random.Generator, index: int) -> Degraded:
    """Degrade a photograph [H, W, 3] in 0..1, shrunk to a longest side in px: image `index` of its images."""
    clean = shrunk(_part(photo, rng) if index == CROPPED else photo, side)
    severities = _draw(mix, rng)
    if index in (0, CROPPED):
        severities = _with_fault(Severities(), mix, rng)
    elif index == SAVED_DARK:
        severities = replace(_draw_dark(rng), jpeg_quality=int(rng.integers(*SAVED_DARK_QUALITY)))
    return synthesize(clean, severities, rng)


def _draw(mix: Mix, rng: np.random.Generator) -> Severities:
    kind, wide = rng.random(), rng.random() < WIDE_SHARE
    if kind < FAULTS_UNTIL:
        return _with_fault(Severities(), mix, rng)
    if kind < DARK_UNTIL:
        return sample_combination("low", rng, wide=wide)
    if kind < DARK_COMPOSITES_UNTIL:
        return sample_combination(str(rng.choice(DARK_COMPOSITES)), rng, wide=wide)
    weather = str(rng.choice(list(WEATHER), p=list(WEATHER.values())))
    return _with_fault(sample_combination(weather, rng, wide=wide), mix, rng)


def _draw_dark(rng: np.random.Generator) -> Severities:
    """Draw low light, in half of the images with others."""
    names = DARK_COMPOSITES if rng.random() < 0.5 else ["low"]
    return sample_combination(str(rng.choice(names)), rng, wide=rng.random() < WIDE_SHARE)


def _with_fault(severities: Severities, mix: Mix, rng: np.random.Generator) -> Severities:
    """Add noise or JPEG."""
    if rng.random() >= NOISE_SHARE:
        return replace(severities, jpeg_quality=int(rng.integers(*JPEG_QUALITY)))
    noise = mix.draw_noise(rng)
    if rng.random() < PLAIN_SHARE:
        noise = Severities(noise_sigma=rng.uniform(*PLAIN_NOISE) / 255)
    return replace(
        severities,
        noise_sigma=noise.noise_sigma,
        sensor_gain=noise.sensor_gain,
        noise_grain=noise.noise_grain,
        noise_gray=noise.noise_gray,
        jpeg_quality=noise.jpeg_quality,
    )


def fit_member(examples: SeenTwice, fit: SecondLookFit, number: int) -> SecondLook:
    """Fit a network from random weights of its own."""
    torch.manual_seed(fit.seed + number)
    seen = torch.cat([examples.first, examples.second, examples.statistics], dim=1)
    judge = SecondLook(examples.first.shape[1], fit.hidden)
    judge.mean.copy_(seen.mean(0))
    judge.scale.copy_(1 / (seen.std(0) + 1e-4))
    normalized = (seen - judge.mean) * judge.scale
    trained = [*judge.widen.parameters(), *judge.presence.parameters()]

    def loss() -> Tensor:
        some = torch.randint(len(seen), (fit.batch,))
        logits = judge.presence(F.dropout(F.gelu(judge.widen(normalized[some])), fit.dropout))
        errors = F.binary_cross_entropy_with_logits(logits, examples.presence[some], reduction="none")
        return (errors * examples.weight[some]).mean()

    minimize(trained, loss, fit.steps, fit.learning_rate, fit.weight_decay)
    return judge.eval()


def merge(members: list[SecondLook]) -> SecondLook:
    """Merge networks into one wider network that gives the mean of their logits."""
    first = members[0]
    merged = SecondLook(first.width, sum(member.hidden for member in members))
    merge_into(merged, members)
    return merged.eval()


def _head_of(mllm: Mllm) -> DegradationHead:
    head = mllm.network.head
    assert head is not None  # fit_second_look
    return head
