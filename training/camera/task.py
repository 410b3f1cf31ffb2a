"""The training of the restorer's camera branch: crops with blur, noise and JPEG, and the strengths of these.

The branch needs no MLLM to learn: it is told true strengths with errors like those of the MLLM. All else of the
restorer stays as it is. Other degradations (haze, rain, darkness) are in some of the scenes, and stay in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ...model.errors import TrainingError
from ...model.images import psnr
from ...model.restorer.camera_branch import CameraBranch
from ...model.synthesis.degrade import Degraded, RandomLayers, synthesize
from ...model.synthesis.severities import Severities
from ...model.vocabulary import CAMERA_FAULTS, DEGRADATIONS
from ..data.photos import list_photos, read_photo
from ..data.scenes import SceneSampler, draw_windows, sample_generator, to_tensor
from ..engine.config import LoopConfig, RawConfig, parse_table, read_toml
from ..engine.loop import train
from ..engine.provenance import code_version, digest_of, training_record
from ..metrics import quantise
from .branch import Sharpener, load_with_branch, write_restorer
from .config import CameraRun

_INDICES = [DEGRADATIONS.index(name) for name in CAMERA_FAULTS]

_BLUR = CAMERA_FAULTS.index("blur")

INVENTED = (0.02, 0.6)
"""Strengths of a blur that is told and not there."""

VALIDATION_SEED = 40_000_000
"""Seed of the validation images, far from those of training."""

VALIDATION: dict[str, Severities] = {
    "noise15": Severities(noise_sigma=15 / 255),
    "noise25": Severities(noise_sigma=25 / 255),
    "noise50": Severities(noise_sigma=50 / 255),
    "jpeg10": Severities(jpeg_quality=10),
    "jpeg30": Severities(jpeg_quality=30),
    "gaussian1.6": Severities(gaussian_sigma=1.6),
    "motion9": Severities(motion_length=9, motion_angle=30),
}
"""What the validation photos are degraded with, by name."""

FLOOR = 3e-5
"""Squared error below which a crop teaches little more: 45 dB."""

USED_PAIRS = ("noise", "blur")
"""Kinds of real pairs that the camera made."""


class CameraTask:
    """The camera branch as a task of the training loop (`engine.task.Task`).

    Args:
        run: Its configuration.
        loop: That of the loop.
        raw_config: The tables of the TOML file, for the card.

    Attributes:
        network: What is trained.
        restorer: The restorer that it belongs to.
        scenes: Sampler of the scenes.

    Raises:
        TrainingError: The settings do not fit together.
    """

    def __init__(self, run: CameraRun, loop: LoopConfig, raw_config: RawConfig) -> None:
        self.run, self.seed = run, loop.seed
        self._raw_config = raw_config
        code_version()  # now, not when the files may have changed
        data = run.data
        scenes = SceneSampler.read(
            data.photos, run.mix, rain_layers=data.rain_layers, real_pairs=data.real_pairs, min_side=run.batch.crop
        )
        real = {kind: pairs for kind, pairs in scenes.real.items() if kind in USED_PAIRS}
        self.scenes = replace(scenes, real=real)
        self.restorer, self._card_before = load_with_branch(Path(data.restorer), run.model, loop.seed)
        assert self.restorer.camera is not None
        self.network: CameraBranch = self.restorer.camera
        if run.batch.own_jpeg:
            self.network.requires_grad_(False)
            if self.network.jpeg is None:
                raise TrainingError(
                    "own_jpeg in [batch] needs weights for a JPEG: give their camera_jpeg_encoder_blocks and "
                    "camera_jpeg_decoder_blocks in [model]."
                )
            self.network.jpeg.requires_grad_(True)
        elif self.network.estimator is not None:
            self.network.estimator.requires_grad_(False)
        if run.batch.crop % self.network.multiple:
            raise TrainingError(
                f"crop in [batch] must be a multiple of {self.network.multiple} px for this branch, "
                f"not {run.batch.crop}."
            )
        self._sharpener = Sharpener(self.network)
        tables = {name: raw_config.get(name, {}) for name in ("model", "data", "batch", "mix", "card")}
        # batches are made with the estimator of the file, whatever estimator a checkpoint holds
        seen_by = "" if self.network.estimator is None else digest_of(self.network.estimator)
        self.recipe = {**tables, "estimator": seen_by}
        self._validation: list[tuple[str, Tensor, Tensor, Tensor]] = []

    def batch(self, index: int) -> dict[str, Tensor]:
        """Make batch `index`: crops [N, 3, h, w], targets, strengths [N, 3], and what deconvolution makes of the crops.

        Crops start where the blocks of a JPEG do. The last is there for a branch with an estimator.
        """
        config, grid = self.run.batch, self.network.multiple
        crops, sharpened, targets, strengths = [], [], [], []
        for scene in range(config.scenes):
            rng = sample_generator(self.seed, index, scene)
            target, image, told, present = self._make_scene(rng)
            height, width = image.shape[1:]
            deconvolved = self._sharpener.deconvolved(image, torch.from_numpy(present)) if told[_BLUR] > 0 else None
            if deconvolved is None:
                deconvolved = image.repeat(self.network.filters, 1, 1)
            for top, left in draw_windows(rng, (height, width), config.crop, config.crops, grid):
                window = (slice(None), slice(top, top + config.crop), slice(left, left + config.crop))
                crops.append(image[window])
                sharpened.append(deconvolved[window])
                targets.append(target[window])
                strengths.append(told)
        made = {
            "crop": torch.stack(crops).half(),
            "target": torch.stack(targets).half(),
            "strengths": torch.from_numpy(np.stack(strengths)),
        }
        return made | ({"deconvolved": torch.stack(sharpened).half()} if self.network.filters else {})

    def _make_scene(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray]:
        """Return a scene's target and degraded image [3, H, W], what the branch is told, [3], and what is there, [3].

        What is told lacks what is to stay.
        """
        target, degraded, kept = self._draw(rng)
        strength = degraded.truth.strength[_INDICES]
        error = self.run.batch.error * (3.0 if rng.random() < self.run.batch.large_error_share else 1.0)
        told = np.clip(strength + rng.normal(0.0, 1.0, len(strength)) * error, 0.02, 1.0)
        present = np.where(strength > 0, told, 0.0).astype(np.float32)
        told = np.where(kept, 0.0, present).astype(np.float32)
        invented = self.run.batch.invented_blur_share
        if invented and strength[_BLUR] == 0 and rng.random() < invented:
            told[_BLUR] = rng.uniform(*INVENTED)
        return to_tensor(target), to_tensor(degraded.image), told, present

    def _draw(self, rng: np.random.Generator) -> tuple[np.ndarray, Degraded, np.ndarray]:
        """Draw a scene: its target [H, W, 3], the degraded image, and which of the faults stay, [3] bool."""
        none_kept = np.zeros(len(CAMERA_FAULTS), dtype=bool)
        pair = self.scenes.draw_pair(rng, self.run.batch.sides)
        if pair is not None:
            return pair[0], pair[1], none_kept
        severities, layers = self.run.mix.draw(rng), RandomLayers()
        clean = self.scenes.draw_clean(rng, self.run.batch.sides)
        rain = self.scenes.rain_layers
        degraded = synthesize(clean, severities, rng, rain_layers=rain, layers=layers)
        kept = none_kept
        if rng.random() < self.run.batch.kept_share:
            kept = (rng.random(len(CAMERA_FAULTS)) < 0.5) & degraded.truth.presence[_INDICES]
        names = [name for name in DEGRADATIONS if name not in CAMERA_FAULTS]
        names += [name for name, stays in zip(CAMERA_FAULTS, kept, strict=True) if stays]
        wanted = severities.keeping(names)
        if wanted == Severities():
            return clean, degraded, kept
        return synthesize(clean, wanted, rng, rain_layers=rain, layers=layers).image, degraded, kept

    def loss(self, network: nn.Module, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Return the loss, the mean logarithm of the crops' squared errors, and their mean PSNR."""
        deconvolved = batch["deconvolved"].float() if "deconvolved" in batch else None
        restored = network(batch["crop"].float(), batch["strengths"], deconvolved)
        errors = (restored - batch["target"].float()).square().mean((1, 2, 3))
        return {
            "loss": 0.1 * torch.log(errors + FLOOR).mean(),
            "psnr": -10 * torch.log10(errors.detach() + 1e-8).mean(),
        }

    @torch.inference_mode()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the mean PSNR in dB of validation photos with each degradation of `VALIDATION`, told the truth."""
        if not self._validation:
            self._validation = list(self._validation_images())
        device = next(network.parameters()).device
        scores: dict[str, list[float]] = {name: [] for name in VALIDATION}
        for name, image, strengths, target in self._validation:
            deconvolved = self._sharpener.deconvolved(image, strengths) if strengths[_BLUR] > 0 else None
            more = None if deconvolved is None else deconvolved[None].to(device)
            restored = network(image[None].to(device), strengths[None].to(device), more)[0]
            scores[name].append(psnr(quantise(restored), target))
        means = {name: float(np.mean(values)) for name, values in scores.items()}
        return {"psnr": float(np.mean(list(means.values()))), **means}

    def export(self, network: nn.Module, folder: Path, step: int, metrics: dict[str, float]) -> None:
        """Write the restorer with this branch, `folder`/restorer.safetensors."""
        assert isinstance(network, CameraBranch)
        branch = {f"camera.{name}": value for name, value in network.state_dict().items()}
        record = {**training_record(self._raw_config, step), "metrics": metrics}
        before, about = self._card_before, self.run.card
        card = replace(before, data=str(about.get("data", before.data)), limits=str(about.get("limits", before.limits)))
        stage = "camera_jpeg" if self.run.batch.own_jpeg else "camera"
        write_restorer(folder, self.restorer, branch, card, {stage: record})

    def _validation_images(self) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
        """Yield the degradation's name, the degraded image, its strengths and the clean image."""
        multiple = self.network.multiple
        for number, path in enumerate(list_photos(self.run.data.validation)[: self.run.batch.validation_photos]):
            photo = read_photo(path)
            photo = photo[tuple(slice(length // multiple * multiple) for length in photo.shape[:2])]
            for name, severities in VALIDATION.items():
                degraded = synthesize(photo, severities, sample_generator(VALIDATION_SEED, number))
                strengths = torch.from_numpy(degraded.truth.strength[_INDICES])
                yield name, to_tensor(degraded.image), strengths, to_tensor(photo)


def run(config_path: Path) -> None:
    """Train as the TOML file says; resumes where an earlier run of the same file stopped."""
    train_camera(read_toml(config_path))


def train_camera(raw_config: RawConfig) -> dict[str, float]:
    """Train as the tables of a TOML file say; return what `train` returns."""
    loop = parse_table(LoopConfig, raw_config, "loop")
    return train(CameraTask(CameraRun.from_raw(raw_config), loop, raw_config), loop)
