"""Fit the network of the second look of a trained MLLM (`model/mllm/second_look.py`); MLLM and head stay as they are.

    mofe train second-look --config training/configs/second_look.toml

Photographs without low light and weather are degraded, some by faults of a camera that hide what else there is, and
those are seen twice, as they are and after the camera branch of a restorer, whose tone branch foretells what it would
make of what is left. Real photographs teach what is known of them, as they are and, where they have neither noise nor
JPEG, also with such a fault (our design). Good photographs that look degraded (`lookalikes.py`) teach restraint.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from ...model.errors import TrainingError
from ...model.mllm.describer import Mllm
from ...model.mllm.head import DegradationHead
from ...model.mllm.loading import HEAD_FILE, SECOND_LOOK_FILE, load_mllm
from ...model.mllm.second_look import INDICES, JUDGED, SecondLook
from ...model.restorer.loading import load_restorer
from ...model.synthesis.degrade import Degraded, synthesize
from ...model.synthesis.severities import Severities
from ...model.vocabulary import DEGRADATIONS, PRESENT
from ...model.weights import read_card, write_weights
from ...model.whole_image import PREVIEW_STATISTICS
from ..data.photos import list_photos, read_photo
from ..data.real_photos import LONGEST_SIDE, presence_of, real_folders
from ..data.scenes import to_tensor
from ..engine.config import RawConfig, read_toml
from ..engine.provenance import training_record
from .config import HazeWeights, SecondLookFit, SecondLookRun, ShiftConfig
from .examples import cached, embed, shrunk
from .lookalikes import see_dark, see_suspects, see_toned
from .looks import Previewer, SeenTwice, presence_in, see_once, see_twice, see_weather, statistics_of, weights_of
from .presence import merge_into, minimize
from .second_look_images import CROPPED, FIRST_PART, draw_alone, draw_image, with_fault

UNFORESEEN = 0.1
"""Share of the examples whose preview is withheld: an MLLM can be asked without a restorer."""

DEGRADED = "degraded.safetensors"
"""File of the embeddings of images with faults of a camera, and of the photographs as they are."""


def run(config_path: Path) -> None:
    """Fit as the TOML file says; embeddings that an earlier run has computed are used again."""
    raw_config = read_toml(config_path)
    fit_second_look(SecondLookRun.from_raw(raw_config), raw_config)


def fit_second_look(settings: SecondLookRun, raw_config: RawConfig) -> Path:
    """Fit the network; return the path of its weight file.

    Raises:
        TrainingError: The MLLM has no head, or no network to go on from, or the restorer no camera branch.
    """
    data, fit = settings.data, settings.fit
    mllm, output = load_mllm(data.mllm, precision="fp32"), Path(data.output)
    restorer = load_restorer(data.restorer)[0]
    if mllm.network.head is None:
        raise TrainingError(f"{data.mllm} in [data] has no {HEAD_FILE}: train it with mofe train mllm first.")
    if restorer.camera is None:
        raise TrainingError(f"{data.restorer} in [data] has no camera branch: train it with mofe train camera first.")
    if fit.goes_on and mllm.network.second_look is None:
        raise TrainingError(
            f"{data.mllm} in [data] has no {SECOND_LOOK_FILE} to go on from: leave out goes_on in [fit]."
        )
    cache = output / "embeddings"
    cache.mkdir(parents=True, exist_ok=True)
    previewer = Previewer(restorer, output / "previews")
    examples = see_degraded(mllm, previewer, settings, cache).and_more(see_alone(mllm, previewer, settings, cache))
    clean = load_file(cache / DEGRADED)["clean"][:: fit.images]
    for some in (
        see_dark(mllm, previewer, settings, clean, cache),
        see_toned(mllm, previewer, settings, cache),
        see_suspects(mllm, previewer, settings, cache),
    ):
        for each in some:
            examples = examples.and_more(each)
    for name, folder, known in real_folders(data.real_weak, data.real_pairs):
        if not known.keys().isdisjoint(JUDGED):
            seen = see_real(mllm, previewer, settings, folder, known, cache, name)
            is_noisy = folder.is_relative_to(Path(data.real_pairs) / "noise")
            examples = examples.and_more(seen.weighted(fit.real_noise, "low_light") if is_noisy else seen)
    if fit.goes_on:
        assert mllm.network.second_look is not None  # checked above
        judge = go_on(Path(data.mllm), mllm.network.second_look, examples, fit)
    else:
        judge = merge([fit_member(examples, fit, number) for number in range(fit.members)])
    shift, scale = _calibration(settings.shift, settings.haze)
    with torch.no_grad():
        judge.presence.weight.mul_(scale[:, None])
        judge.presence.bias.sub_(shift).mul_(scale)
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


def see_degraded(mllm: Mllm, previewer: Previewer, settings: SecondLookRun, cache: Path) -> SeenTwice:
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
                seen = see_twice(mllm, previewer.restorer, to_tensor(degraded.image))
                yield {**seen, "presence": presence_in(degraded), "clean": pooled}

    def pixels() -> Iterator[np.ndarray]:
        return (degraded.image for _, images in sets() for degraded in images)

    count = len(photos) * fit.images
    stored = cached(cache / DEGRADED, rows, count)
    statistics = statistics_of(pixels, count, cache / "degraded_pixels.safetensors")
    with torch.no_grad():
        meant_dark = head(stored["clean"]).certainty()[:, DEGRADATIONS.index("low_light")] >= PRESENT
    cropped = torch.arange(count) % fit.images == CROPPED
    weight = weights_of(stored["presence"], meant_dark | cropped)
    preview = previewer.of("degraded", pixels, stored["first"], stored["faults"])
    every = SeenTwice(stored["first"], stored["second"], statistics, preview, stored["presence"], weight)
    return every.where(stored["hidden"].bool())


def see_alone(mllm: Mllm, previewer: Previewer, settings: SecondLookRun, cache: Path) -> SeenTwice:
    """See the photographs of `[data]` without faults of a camera; images in which one is seen are left out."""
    fit, photos = settings.fit, list_photos(settings.data.photos)

    def images() -> Iterator[Degraded]:
        for number, photo in enumerate(photos):
            whole = read_photo(photo)
            for index in range(fit.alone):
                rng = np.random.default_rng((fit.seed, number, fit.images + index))
                yield draw_alone(whole, fit.side, rng, index)

    is_part = torch.arange(len(photos) * fit.alone) % fit.alone >= FIRST_PART
    return see_weather(mllm, previewer, images, is_part, cache / "alone.safetensors")


def see_real(
    mllm: Mllm,
    previewer: Previewer,
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

    def originals() -> Iterator[np.ndarray]:
        return (read_photo(path) for path in photos)

    plain = cached(
        cache / f"{name}_alone.safetensors",
        lambda: (see_once(mllm, to_tensor(each)) for each in originals()),
        len(photos),
    )
    hidden = plain["hidden"].bool()

    def images() -> Iterator[np.ndarray]:
        for number, photo in enumerate(originals()):
            if not hidden[number]:
                rng = np.random.default_rng((fit.seed, number))
                shown = shrunk(photo, LONGEST_SIDE)
                photo = synthesize(shown, with_fault(Severities(), settings.mix, rng), rng).image
            yield photo

    faulty = cached(
        cache / f"{name}.safetensors",
        lambda: (see_twice(mllm, previewer.restorer, to_tensor(each)) for each in images()),
        len(photos),
    )
    statistics = statistics_of(images, len(photos), cache / f"{name}_pixels.safetensors")
    presence, weight = (torch.from_numpy(each)[INDICES].expand(len(photos), -1) for each in presence_of(known))
    weight = fit.real_weight * weight
    preview = previewer.of(f"{name}_alone", originals, plain["first"])
    alone = SeenTwice(plain["first"], plain["first"], plain["statistics"], preview, presence, weight)
    preview = previewer.of(name, images, faulty["first"], faulty["faults"])
    twice = SeenTwice(faulty["first"], faulty["second"], statistics, preview, presence, weight)
    once, again = alone.where(~hidden), twice.where(faulty["hidden"].bool())
    return once.weighted(settings.haze.real, "haze").and_more(again.weighted(settings.haze.faulty_real, "haze"))


def fit_member(examples: SeenTwice, fit: SecondLookFit, number: int) -> SecondLook:
    """Fit a network from random weights of its own."""
    torch.manual_seed(fit.seed + number)
    seen = torch.cat([examples.first, examples.second, examples.statistics, examples.preview], dim=1)
    judge = SecondLook(examples.first.shape[1], fit.hidden)
    judge.mean.copy_(seen.mean(0))
    judge.scale.copy_(1 / (seen.std(0) + 1e-4))
    return _trained(judge, examples, fit)


def go_on(folder: Path, network: SecondLook, examples: SeenTwice, fit: SecondLookFit) -> SecondLook:
    """Return a copy of the network in an MLLM's folder that has learned more, without the calibration on its card."""
    torch.manual_seed(fit.seed)
    judge, tables = copy.deepcopy(network).requires_grad_(True), read_card(folder / SECOND_LOOK_FILE).training
    had = tables.get("second_look", {})
    shift, scale = _calibration(ShiftConfig(**had.get("shift", {})), HazeWeights(**had.get("haze", {})))
    with torch.no_grad():
        judge.presence.weight.div_(scale[:, None])
        judge.presence.bias.div_(scale).add_(shift)
    return _trained(judge, examples, fit)


def _calibration(shift: ShiftConfig, haze: HazeWeights) -> tuple[Tensor, Tensor]:
    """Return what is taken from the logits of `JUDGED` at last, [4], and what they are then multiplied by, [4]."""
    scale = [haze.scale if name == "haze" else 1.0 for name in JUDGED]
    return torch.tensor([getattr(shift, name) for name in JUDGED]), torch.tensor(scale)


def _trained(judge: SecondLook, examples: SeenTwice, fit: SecondLookFit) -> SecondLook:
    """Train a network whose `mean` and `scale` are known."""
    seen = torch.cat([examples.first, examples.second, examples.statistics, examples.preview], dim=1)
    normalized = (seen - judge.mean) * judge.scale
    trained = [*judge.widen.parameters(), *judge.presence.parameters()]

    def loss() -> Tensor:
        some = torch.randint(len(seen), (fit.batch,))
        given = normalized[some]
        given[torch.rand(fit.batch) < UNFORESEEN, -PREVIEW_STATISTICS:] = 0.0
        logits = judge.presence(F.dropout(F.gelu(judge.widen(given)), fit.dropout))
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
