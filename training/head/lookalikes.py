"""Good photographs that look degraded: those that are meant dark, toned ones, and parts that are taken for weather.

They teach the network of a second look restraint. What it takes for weather is found by itself: most parts of
photographs teach it nothing any more, a few are leaves with ribs like streaks, sky between branches like flakes, or a
pale wall like haze (our design; hard negatives, as in arXiv 1604.03540).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...model.images import LUMA
from ...model.mllm.describer import Mllm
from ...model.mllm.second_look import INDICES, JUDGED
from ...model.synthesis.degrade import Degraded, synthesize
from ...model.synthesis.severities import Severities, sample_combination
from ...model.vocabulary import DEGRADATIONS
from ...model.whole_image import image_statistics
from ..data.mix import Mix
from ..data.photos import list_photos, read_photo
from ..data.scenes import to_tensor
from .config import SecondLookRun
from .examples import cached, shrunk
from .looks import Previewer, SeenTwice, see_once, see_twice, see_weather, weights_of
from .second_look_images import WIDE_SHARE, draw_weather_alone, part_of, with_fault

DARKISH = -3.0
"""Logit of low light from which on a photograph may be meant dark."""

DARK_WEIGHT = 0.5
"""Weight of such photographs: with that of others twice as many dark images with noise are missed."""

HAZY_SHARE, HAZY = 0.4, ("haze", "haze_rain", "haze_snow")
"""Of the toned photographs that are degraded, those that get one of these combinations."""

CAST, BRIGHTEST, GRAYEST = 0.08, (0.8, 1.05), (0.3, 1.25)
"""Of a toned photograph: deviation of the logarithms of its channels' gains, their common factor, and its saturation,
against that of the photograph."""

GAMMA = 0.15
"""Deviation of the logarithm of its exponent."""

SMALL_PART = (0.25, 0.85)
"""Sides of a part that is looked at, as shares of those of the photograph."""

LEAST_SIDE = 64
"""Smallest side of such a part in px."""

SUSPECT = -2.0
"""Logit of weather from which on a part is kept: that which is called present has 0."""

BOLDER = 1.5
"""By how much the network's logit is above the head's of what is equally likely."""

_LOW_LIGHT = JUDGED.index("low_light")

_DARK, _TONED, _PARTS, _FAULTS = 200, 100, 300, 500  # first numbers of their random draws


def see_dark(mllm: Mllm, previewer: Previewer, settings: SecondLookRun, clean: Tensor, cache: Path) -> list[SeenTwice]:
    """See photographs that may be meant dark with faults of a camera.

    Args:
        mllm: The MLLM.
        previewer: Of the restorer.
        settings: Of the run.
        clean: Embeddings of the photographs of `[data]` as they are, [P, D].
        cache: Folder of the embeddings.
    """
    fit, photos = settings.fit, list_photos(settings.data.photos)
    assert mllm.network.head is not None  # fit_second_look
    with torch.no_grad():
        logits = mllm.network.head(clean).presence[:, DEGRADATIONS.index("low_light")]
    darkish = torch.nonzero(logits > DARKISH).flatten().tolist()

    def images() -> Iterator[np.ndarray]:
        for number in darkish:
            photo = shrunk(read_photo(photos[number]), fit.side)
            for index in range(fit.dark):
                rng = np.random.default_rng((fit.seed, number, _DARK + index))
                yield _with_fault(photo, settings.mix, rng)

    count = len(darkish) * fit.dark
    seen = _see_good(mllm, previewer, images, count, cache / "dark.safetensors", is_twice=True, says_dark=True)
    return [each.weighted(DARK_WEIGHT) for each in seen]


def see_toned(mllm: Mllm, previewer: Previewer, settings: SecondLookRun, cache: Path) -> list[SeenTwice]:
    """See the photographs in other tones, half of them degraded, where no fault of a camera is seen in them."""
    fit = settings.fit
    if not fit.toned:
        return []
    photos = list_photos(settings.data.photos)

    def images() -> Iterator[Degraded]:
        for number, photo in enumerate(photos):
            whole = read_photo(photo)
            for index in range(fit.toned):
                rng = np.random.default_rng((fit.seed, number, _TONED + index))
                yield draw_toned(whole, fit.side, rng, index)

    may_be_dark = torch.ones(len(photos) * fit.toned, dtype=torch.bool)  # a tone may be a darker one
    return [see_weather(mllm, previewer, images, may_be_dark, cache / "toned.safetensors")]


def see_suspects(mllm: Mllm, previewer: Previewer, settings: SecondLookRun, cache: Path) -> list[SeenTwice]:
    """See the parts of photographs that are taken for weather, and those of every second one with a fault, too.

    They are found in one quick look at each part, by the head, and by the network that the MLLM's folder has already,
    if any. Streaks with noise are better not unlearned: rain is missed then.
    """
    fit = settings.fit
    if not fit.parts:
        return []
    folders = (settings.data.photos, settings.data.more_photos)
    photos = [path for folder in folders if folder for path in list_photos(folder)]

    def parts(wanted: Tensor) -> Iterator[tuple[int, int, np.ndarray]]:
        for number, path in enumerate(photos):
            indices = wanted[number].nonzero().flatten().tolist()
            photo = read_photo(path) if indices else np.empty(0)
            for index in indices:
                rng = np.random.default_rng((fit.seed, number, _PARTS + index))
                yield number, index, shrunk(part_of(photo, rng, SMALL_PART, LEAST_SIDE), fit.side)

    def quick() -> Iterator[dict[str, Tensor]]:
        every = torch.ones(len(photos), fit.parts)
        return ({"logit": _likeliest(mllm, to_tensor(part))} for _, _, part in parts(every))

    logits = cached(cache / "parts.safetensors", quick, len(photos) * fit.parts)["logit"]
    suspected = logits.view(len(photos), fit.parts) > SUSPECT
    every_second = suspected & (torch.arange(len(photos)) % 2 == 0)[:, None]

    def plain() -> Iterator[np.ndarray]:
        return (part for _, _, part in parts(suspected))

    def faulty() -> Iterator[np.ndarray]:
        for number, index, part in parts(every_second):
            rng = np.random.default_rng((fit.seed, number, _FAULTS + index))
            yield _with_fault(part, settings.mix, rng)

    once = _see_good(mllm, previewer, plain, int(suspected.sum()), cache / "suspects.safetensors")
    count, file = int(every_second.sum()), cache / "suspects_faulty.safetensors"
    twice = _see_good(mllm, previewer, faulty, count, file, is_twice=True)
    return [each.weighted(settings.haze.parts, "haze") for each in once] + [
        each.weighted(settings.haze.faulty_parts, "haze").weighted(0.0, "rain") for each in twice
    ]


def draw_toned(photo: np.ndarray, side: int, rng: np.random.Generator, index: int) -> Degraded:
    """Give a photograph [H, W, 3] in 0..1 another tone: image `index` of its toned images.

    Every second one shows a part of it, and from the third on they are degraded.
    """
    clean = toned(shrunk(part_of(photo, rng) if index % 2 else photo, side), rng)
    severities = Severities()
    if index > 1 and rng.random() < HAZY_SHARE:
        severities = sample_combination(str(rng.choice(HAZY)), rng, wide=rng.random() < WIDE_SHARE)
    elif index > 1:
        severities = draw_weather_alone(rng)
    return synthesize(clean, severities, rng)


def toned(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change white balance, saturation and contrast of a photograph [H, W, 3] in 0..1; black stays black."""
    gains = np.exp(rng.normal(0.0, CAST, 3)).astype(np.float32) * np.float32(rng.uniform(*BRIGHTEST))
    photo = np.clip(photo * gains, 0, 1)
    saturation, gray = np.float32(rng.uniform(*GRAYEST)), (photo @ np.array(LUMA, np.float32))[..., None]
    photo = np.clip(gray + (photo - gray) * saturation, 0, 1)
    return (photo ** np.float32(np.exp(rng.normal(0.0, GAMMA)))).astype(np.float32)


@torch.inference_mode()
def _likeliest(mllm: Mllm, image: Tensor) -> Tensor:
    """Return the largest logit of haze, rain and snow in an image [3, H, W] by one set of views."""
    head, network = mllm.network.head, mllm.network.second_look
    assert head is not None  # fit_second_look
    pooled = mllm.embed(mllm.view_sets(image, 1))[1]
    weather = [place for place in range(len(JUDGED)) if place != _LOW_LIGHT]
    logits = head(pooled).presence[:, INDICES][:, weather]
    if network is not None:
        bold = network(pooled, pooled, image_statistics(image)[None].to(pooled))[:, weather]
        logits = torch.maximum((logits + bold) / 2, bold - BOLDER)
    largest: Tensor = logits.amax()
    return largest


def _with_fault(photo: np.ndarray, mix: Mix, rng: np.random.Generator) -> np.ndarray:
    return synthesize(photo, with_fault(Severities(), mix, rng), rng).image


def _see_good(
    mllm: Mllm,
    previewer: Previewer,
    images: Callable[[], Iterable[np.ndarray]],
    count: int,
    cache: Path,
    *,
    is_twice: bool = False,
    says_dark: bool = False,
) -> list[SeenTwice]:
    """See `count` good images, in one look where none is a reason for a second, else in two; the others are left out.

    Unless they say that they are meant dark (`says_dark`) they teach nothing about low light: a part may be dark.
    """
    if not count:
        return []

    def rows() -> Iterator[dict[str, Tensor]]:
        for image in map(to_tensor, images()):
            if is_twice:
                yield {**see_twice(mllm, previewer.restorer, image), "statistics": image_statistics(image)}
            else:
                yield see_once(mllm, image)

    stored, presence = cached(cache, rows, count), torch.zeros(count, len(JUDGED))
    preview = previewer.of(cache.stem, images, stored["first"], stored.get("faults"))
    weight = weights_of(presence, torch.full((count,), not says_dark))
    second = stored["second" if is_twice else "first"]
    every = SeenTwice(stored["first"], second, stored["statistics"], preview, presence, weight)
    return [every.where(stored["hidden"].bool() == is_twice)]
