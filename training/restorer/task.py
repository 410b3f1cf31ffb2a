"""The restorer's training: generated composite degradations, under the guidance of a frozen MLLM.

Each batch has a few degraded scenes with several crops of each: the thumbnail and the guidance come from the whole
scene, as at inference. Crops teach all but the tone branch, which learns from whole scenes, many of which are seen as
thumbnails only (`[tone]`).
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...model.atomic import recover_folder
from ...model.errors import TrainingError
from ...model.guidance import Conditioning
from ...model.images import psnr, round_up
from ...model.mllm.loading import load_mllm
from ...model.restorer.config import RestorerConfig
from ...model.restorer.loading import load_restorer
from ...model.restorer.network import Restorer
from ...model.restorer.thumbnail_branches import Position
from ...model.synthesis.degrade import Degraded, synthesize
from ...model.synthesis.severities import COMBINATIONS, Severities, sample_combination
from ...model.vocabulary import CAMERA_FAULTS, DEGRADATIONS
from ...model.weights import Card, write_weights
from ...model.whole_image import thumbnail_of
from ..data.photos import list_photos, read_photo
from ..data.scenes import SceneSampler, SteeredScene, draw_windows, sample_generator, to_tensor
from ..engine.config import LoopConfig, RawConfig, parse_table, read_toml
from ..engine.loop import train
from ..engine.provenance import code_version, training_record
from ..metrics import quantise
from .config import RestorerRun
from .guidance_sources import make_guidance_source
from .losses import LossParts, crop_loss, tone_loss
from .network import RestorerInTraining

VALIDATION_SEED = 30_000_000
"""Seed of the validation images, far from those of training."""

CROPS = ("crop", "target", "place", "scene")
"""Entries of a batch about its crops."""

WHOLE = ("thumbnail", "target_thumbnail", "removal", "severities", "statistics")
"""Entries of a batch about whole scenes that need no embedding; the last where the tone branch reads it."""

TONE = "tone_"
"""Prefix of the entries about scenes without crops."""

MISSED, ERROR = 0.15, 0.05
"""Share of the dark scenes whose noise and JPEG the camera branch is not told of, as an MLLM misses some; and the
deviation of the strengths that it is told, as in its own training."""

_CAMERA, _LOW_LIGHT = [DEGRADATIONS.index(name) for name in CAMERA_FAULTS], DEGRADATIONS.index("low_light")


class RestorerTask:
    """The restorer as a task of the training loop (`engine.task.Task`).

    Args:
        run: Its configuration.
        loop: That of the loop.
        raw_config: The tables of the TOML file, for the card.

    Attributes:
        network: What is trained.
        scenes: Sampler of the scenes from which crops are taken.
        tone_scenes: Sampler of the scenes that only the tone branch sees.
        guidance: Source of the guidance.

    Raises:
        TrainingError: The settings do not fit together.
    """

    def __init__(self, run: RestorerRun, loop: LoopConfig, raw_config: RawConfig) -> None:
        self.run, self.seed, self.is_bf16 = run, loop.seed, loop.is_bf16
        self._raw_config = raw_config
        code_version()  # now, not when the files may have changed
        data = run.data
        self.scenes = SceneSampler.read(
            data.photos,
            run.mix,
            rain_layers=data.rain_layers,
            low_light=data.low_light,
            real_pairs=data.real_pairs,
            min_side=run.batch.crop,
        )
        more = SceneSampler.read(run.tone.photos).photos if run.tone.photos else ()
        self.tone_scenes = self.scenes.with_more(more, run.tone_mix)
        self._sent: set[int] = set()
        self._kept: dict[int, dict[str, Tensor]] = {}
        recover_folder(Path(data.mllm))
        self.guidance = make_guidance_source(data.guidance, load_mllm(data.mllm))
        self.network = RestorerInTraining(self._make_restorer(loop.seed))
        tables = {name: raw_config.get(name, {}) for name in ("model", "data", "batch", "tone", "mix", "tone_mix")}
        self.recipe = {
            **tables,
            "losses": raw_config.get("losses", {}),
            "card": raw_config.get("card", {}),
            "mllm_identity": self.guidance.identity,  # other embeddings would make another run
        }
        self._validation: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def _make_restorer(self, seed: int) -> Restorer:
        torch.manual_seed(seed)
        restorer = build_restorer(self.run, self.guidance.width)
        if restorer.camera is not None:
            restorer.camera.requires_grad_(False)
        self._camera = deepcopy(restorer.camera)  # batches are made on the CPU, and in other processes
        return restorer

    def batch(self, index: int) -> dict[str, Any]:
        """Make batch `index`: crops of some scenes, and these scenes and others as wholes.

        The names of entries about scenes without crops begin with `TONE`. They depend on `tone_key` alone; where it
        comes again they are left out, since `prepare` has kept them.
        """
        batch_config, tone = self.run.batch, self.run.tone
        count = batch_config.scenes + tone.scenes
        rng = sample_generator(self.seed, index, count)
        batch: dict[str, Any] = {
            "guidance_mask": torch.from_numpy(rng.random(count) >= self.run.losses.guidance_dropout)
        }
        if batch_config.scenes:
            batch |= self._make_crops(index)
        if tone.scenes:
            key = index % tone.cycle if tone.cycle else index
            batch["tone_key"] = key
            if key not in self._sent:
                generators = (sample_generator(self.seed, key, batch_config.scenes + n) for n in range(tone.scenes))
                scenes = [self._make_scene(self.tone_scenes, rng, tone.view_sets)[1] for rng in generators]
                batch |= {f"{TONE}{name}": value for name, value in _stack(scenes).items()}
            if tone.cycle:
                self._sent.add(key)
        return batch

    def _make_crops(self, index: int) -> dict[str, Tensor]:
        """Make the crops of a batch, their places, their scenes, and these scenes as wholes."""
        config, grid = self.run.batch, self.network.restorer.multiple  # crops start where tiles do
        crops, targets, places, wholes = [], [], [], []
        for scene in range(config.scenes):
            rng = sample_generator(self.seed, index, scene)
            made, whole = self._make_scene(self.scenes, rng)
            target, image = to_tensor(made.target), to_tensor(made.degraded.image)
            if rng.random() >= MISSED:
                errors = rng.normal(0.0, ERROR, len(_CAMERA))
                image = self._after_camera_branch(made.degraded, made.removal, errors)
            wholes.append(whole)
            height, width = image.shape[1:]
            for top, left in draw_windows(rng, (height, width), config.crop, config.crops, grid):
                window = (slice(None), slice(top, top + config.crop), slice(left, left + config.crop))
                crops.append(image[window])
                targets.append(target[window])
                places.append((top, left, height, width))
        return {
            "crop": torch.stack(crops).half(),
            "target": torch.stack(targets).half(),
            "place": torch.tensor(places),
            "scene": torch.arange(config.scenes).repeat_interleave(config.crops),
            **_stack(wholes),
        }

    def _make_scene(
        self, sampler: SceneSampler, rng: np.random.Generator, view_sets: int = 1
    ) -> tuple[SteeredScene, dict[str, Tensor]]:
        """Return a scene, and its entries as a whole."""
        config, restorer = self.run.batch, self.network.restorer
        scene = sampler.draw_steered(rng, config.sides, config.steered_share, config.set_share)
        thumbnail, statistics = restorer.look_at(to_tensor(scene.degraded.image)[None])
        whole = {
            "views": self.guidance.prepare(to_tensor(scene.seen), scene.degraded.truth, view_sets),
            "thumbnail": thumbnail[0].half(),
            "target_thumbnail": thumbnail_of(to_tensor(scene.target)[None], thumbnail.shape[2])[0].half(),
            "removal": torch.from_numpy(scene.removal),
            "severities": torch.from_numpy(scene.severities),
        }
        if statistics is not None:
            whole["statistics"] = statistics[0].half()
        return scene, whole

    def _after_camera_branch(self, degraded: Degraded, removal: np.ndarray, errors: np.ndarray) -> Tensor:
        """Return an image [3, H, W] as the local branch gets it: a dark one without its noise and JPEG.

        In others the guidance tells the local branch that these are gone (`Guidance.after_camera_branch`), so that it
        need not learn what is left of them.

        Args:
            degraded: The image and its ground truth.
            removal: How much of each degradation is to be removed, [7] in 0..1.
            errors: Of the strengths that the camera branch is told, [3].
        """
        image, truth = to_tensor(degraded.image), degraded.truth
        told = np.clip(truth.strength[_CAMERA] + errors, 0.02, 1.0)
        told[~truth.presence[_CAMERA] | (removal[_CAMERA] == 0)] = 0.0
        told[CAMERA_FAULTS.index("blur")] = 0.0
        is_lit = truth.presence[_LOW_LIGHT] and removal[_LOW_LIGHT] > 0
        if self._camera is None or not is_lit or not told.any():
            return image
        height, width = image.shape[1:]
        missing = [round_up(length, self._camera.multiple) - length for length in (width, height)]
        padded = F.pad(image[None], (0, missing[0], 0, missing[1]), mode="replicate")
        cleaned = self._camera.clean(padded, torch.from_numpy(told).float()[None])[0, :, :height, :width]
        return torch.lerp(image, cleaned, float(removal[_CAMERA][told > 0].max()))

    def prepare(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Embed the scenes of a batch on its device.

        Returns:
            What `RestorerInTraining` and `loss` take: entries about all scenes, those with crops first.
        """
        parts = []
        prepared = {name: batch[name] for name in ("guidance_mask", *CROPS) if name in batch}
        if self.run.batch.scenes:
            whole, prepared["tokens"] = self._embed(batch, "")
            parts.append(whole)
        if self.run.tone.scenes:
            key = batch["tone_key"]
            whole_tone = self._kept.get(key)
            if whole_tone is None:
                whole_tone = self._embed(batch, TONE)[0]
                if self.run.tone.cycle:
                    # copies: tensors that a worker sent hold an open file each, and a process may have a thousand
                    self._kept[key] = {name: tensor.clone() for name, tensor in whole_tone.items()}
            parts.append(whole_tone)
        return prepared | {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _embed(self, batch: dict[str, Tensor], prefix: str) -> tuple[dict[str, Tensor], Tensor]:
        views = batch[f"{prefix}views"]
        with torch.autocast(views.device.type, torch.bfloat16, enabled=self.is_bf16(views.device)):
            tokens, pooled = self.guidance.embed(views)
        return {
            "pooled": pooled,
            **{name: batch[f"{prefix}{name}"] for name in WHOLE if f"{prefix}{name}" in batch},
        }, tokens

    def loss(self, network: nn.Module, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Return the loss of a prepared batch and its parts."""
        restored, routing, preview = network(batch)
        loss, parts = tone_loss(preview, batch["target_thumbnail"], self.run.losses)
        if restored is not None:
            more, crop_parts = self._crop_loss(restored, routing, batch)
            loss, parts = loss + more, parts | crop_parts
        return {"loss": loss, **parts}

    def _crop_loss(self, restored: Tensor, routing: list[Tensor], batch: dict[str, Tensor]) -> LossParts:
        embeddings, guided = batch["pooled"][batch["scene"]], batch["guidance_mask"][batch["scene"]]
        return crop_loss(restored, batch["target"], routing, embeddings, guided, self.run.losses)

    @torch.inference_mode()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the mean PSNR in dB over the eleven combinations on a few validation photos, and of clean photos.

        Of the network alone, whose tone branch is asked for everything; at inference `Guidance.tone_removal` asks for
        less.
        """
        if not self._validation:
            self._validation = list(self._validation_images())
        restorer = network.restorer
        assert isinstance(restorer, Restorer)
        composite: list[float] = []
        clean: list[float] = []
        others = self._validation[1:] + self._validation[:1]
        for number, (seen, (_, _, other, _)) in enumerate(zip(self._validation, others, strict=True)):
            image, read, views, target = seen
            value = psnr(quantise(self._restore(restorer, image, read, views, other)), target)
            (composite if number < self.run.batch.validation_images else clean).append(value)
        return {"psnr": float(np.mean(composite)), "psnr_clean": float(np.mean(clean))}

    def export(self, network: nn.Module, folder: Path, step: int, metrics: dict[str, float]) -> None:
        """Write the weight file `folder`/restorer.safetensors."""
        restorer = network.restorer
        assert isinstance(restorer, Restorer)
        write_weights(folder / "restorer.safetensors", restorer.state_dict(), self._card(restorer, step, metrics))

    def _restore(self, restorer: Restorer, image: Tensor, read: Tensor, views: Tensor, other: Tensor) -> Tensor:
        """Restore a whole image [3, H, W] whose sides are multiples of the network's, in the training's precision.

        Args:
            restorer: The network.
            image: The image.
            read: What the local branch reads of it.
            views: What the guidance source prepared of the image.
            other: The same of another image, for a source that exchanges them.
        """
        device = next(restorer.parameters()).device
        tokens, pooled = (each[:1] for each in self.guidance.embed(torch.stack([views, other]).to(device)))
        # a network that never saw guidance is validated without it
        guided = torch.tensor([self.run.losses.guidance_dropout < 1], device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.is_bf16(device)):
            image = image[None].to(device)
            thumbnail, statistics = restorer.look_at(image)
            position = Position.of(0, 0, *image.shape[2:])
            guidance = Conditioning(tokens, pooled, guided)
            restored, _ = restorer(read[None].to(device), position, thumbnail, guidance, statistics)
        whole: Tensor = restored[0]
        return whole.cpu()

    def _card(self, restorer: Restorer, step: int, metrics: dict[str, float]) -> Card:
        about = self.run.card
        return Card(
            kind="restorer",
            name=str(about.get("name", "restorer")),
            version="0.1.0",
            architecture=restorer.config.to_card(),
            training=training_record(self._raw_config, step),
            metrics=metrics,
            data=str(about.get("data", "")),
            limits=str(about.get("limits", "")),
            licence="Apache-2.0",
            mllm_identity=self.guidance.identity,
        )

    def _validation_images(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Yield degraded image, what is read of it, its views and the clean image: composites, then clean ones."""
        everything, exact = np.ones(len(DEGRADATIONS)), np.zeros(len(_CAMERA))
        paths, multiple = list_photos(self.run.data.validation), self.network.restorer.multiple
        composites = self.run.batch.validation_images
        for number in range(composites + max(1, composites // 4)):
            rng = sample_generator(VALIDATION_SEED, number)
            photo = read_photo(paths[number % len(paths)])
            height, width = (length // multiple * multiple for length in photo.shape[:2])
            photo = photo[:height, :width]
            severities = Severities()
            if number < composites:
                severities = sample_combination(COMBINATIONS[number % len(COMBINATIONS)], rng)
            degraded = synthesize(photo, severities, rng)
            image, read = to_tensor(degraded.image), self._after_camera_branch(degraded, everything, exact)
            yield image, read, self.guidance.prepare(image, degraded.truth), to_tensor(photo)


def run(config_path: Path) -> None:
    """Train as the TOML file says; resumes where an earlier run of the same file stopped."""
    train_restorer(read_toml(config_path))


def train_restorer(raw_config: RawConfig) -> dict[str, float]:
    """Train as the tables of a TOML file say; return what `train` returns."""
    loop = parse_table(LoopConfig, raw_config, "loop")
    return train(RestorerTask(RestorerRun.from_raw(raw_config), loop, raw_config), loop)


def build_restorer(run: RestorerRun, guidance_width: int) -> Restorer:
    """Build the restorer of a configuration, with the weights from which it goes on, if it names any.

    Raises:
        TrainingError: `[model]` cannot be built, does not fit these weights, or does not fit the crops.
    """
    trained = load_restorer(Path(run.data.initial))[0] if run.data.initial else None
    try:
        config = RestorerConfig.from_dict({**_camera_fields(trained), **run.model, "guidance_width": guidance_width})
    except ValueError as error:
        raise TrainingError(f"[model] cannot be built: {error}.") from error
    restorer = Restorer(config)
    if trained is not None:
        _copy_weights(trained, run.data.initial, restorer)
    if run.batch.crop % restorer.multiple:
        raise TrainingError(
            f"crop in [batch] must be a multiple of {restorer.multiple} px for this network, not {run.batch.crop}."
        )
    return restorer


def _camera_fields(trained: Restorer | None) -> dict[str, Any]:
    """Return the sizes of the camera branch, which has a training of its own; empty ones where there is none."""
    fields = {} if trained is None else trained.config.to_dict()
    return {name: value for name, value in fields.items() if name.startswith("camera_")}


def _copy_weights(trained: Restorer, path: str, restorer: Restorer) -> None:
    """Copy the weights of a trained restorer; its MLLM may be another, and blocks that it lacks start afresh."""
    state, known = restorer.state_dict(), trained.state_dict()
    if any(name not in state or state[name].shape != tensor.shape for name, tensor in known.items()):
        raise TrainingError(
            f"{path} in [data] does not fit into [model]: only more blocks than it has may be asked for."
        )
    restorer.load_state_dict({**state, **known})


def _stack(scenes: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Stack the entries of several scenes by name."""
    return {name: torch.stack([scene[name] for scene in scenes]) for name in scenes[0]}
