"""Trains the shipped MLLM on generated degradations: to say what is wrong, and to embed how much of it.

Two losses: the cross-entropy of the answers, and the errors of the `DegradationHead` that reads presence, strength and
physical parameters off the embedding (our design; what the embedding must carry is measured in the restorer's gain).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..model.guidance import DEGRADATIONS, PARAMETERS
from ..model.head import OWNER, DegradationHead, scaled
from ..model.imaging.degradations import degrade, sample_severities
from ..model.mllm_folder import HEAD_FILE, identity_of, load_mllm
from ..model.views import BLOCK, CROPS, VIEW_SIDE, pad_to_side, views
from ..model.weights import Card, write_weights
from ..model.wording import DESCRIBE
from .config import TrainingError, check_sides
from .folders import replace_folder, settle, staging
from .loop import LoopConfig, load_toml, table_to_config, train
from .mllm_batch import encode, truth_tensors
from .mllm_export import save_language_model
from .mllm_model import NAME, MllmConfig, build_model, build_processor, build_tokenizer, fit_eye
from .mllm_network import MllmInTraining, mean_where, reading_losses, tone
from .photos import list_photos, read_photo
from .record import code_version, training_record
from .samples import PhotoStore, check_shares, read_store, sample_generator, to_tensor
from .text import Turn, conversation, description

VALIDATION_SEED = 20_000_000

IN_STEP = 8
"""So many batches in a row are of one kind, with answers or without: up to so many processes never wait for another."""


@dataclass(frozen=True)
class MllmData:
    """The [data] table of the run's TOML.

    Raises:
        TrainingError: a value outside its range.
    """

    photos: str
    validation: str
    rain_layers: str = ""
    low_light: str = ""
    """Folder of real pairs, `input/` too dark and `target/` well lit; empty: none."""
    low_light_share: float = 0.05
    noise_share: float = 0.0
    rain_share: float = 0.0
    snow_share: float = 0.0
    blur_share: float = 0.0
    """Of the generated scenes, those that are noisy, rained on softly, snowed on, mostly in wind, or blurred, and
    nothing else (see `PhotoStore`)."""
    wide_share: float = 0.5
    """Of the combinations of CDD-11, those in wider ranges than the published ones."""
    quiet_share: float = 0.0
    tinted_share: float = 0.0
    """Of the dark scenes those with next to no noise of the dark, and of the hazy ones those with a tint (see
    `PhotoStore`)."""
    clean_share: float = 0.0
    """Of the generated scenes, those to which nothing is done, beside those of the training mix."""
    unusual_of: int = 1
    """Of so many photos the one with the most unusual tone is taken where the tone is to stay (see `PhotoStore`)."""
    initial: str = ""
    """Model folder to start from, for example the shipped one; the optimizer starts afresh. Empty: random weights."""
    batch: int = 32
    answers_every: int = 4
    """One in so many batches is learned with its answers; the others stop at the prompt, where the embedding is."""
    looks: int = 2
    """Views taken of each degraded scene: degrading costs more than looking."""
    sides: tuple[int, int] = (192, 416)
    validation_pictures: int = 136

    def __post_init__(self) -> None:
        check_sides(self.sides, 1)
        check_shares(self, "clean_share")
        if not (self.looks >= 1 and self.batch >= self.looks and self.batch % self.looks == 0):
            raise TrainingError(f"batch in [data] must be a multiple of looks ({self.looks}), not {self.batch}.")
        for name in ("answers_every", "unusual_of"):
            if getattr(self, name) < 1:
                raise TrainingError(f"{name} in [data] must be at least 1, not {getattr(self, name)}.")


class MllmTask:
    """What the training loop needs to train the MLLM."""

    def __init__(self, model: MllmConfig, data: MllmData, loop: LoopConfig, tables: dict[str, Any]) -> None:
        self.data, self.tables, self.seed = data, tables, loop.seed
        self.recipe = {name: tables.get(name, {}) for name in ("model", "data", "card")}
        code_version()  # now, not when the files may have changed
        self.store = replace(read_store(data), clean_share=data.clean_share, unusual_of=data.unusual_of)
        torch.manual_seed(loop.seed)
        if data.initial:
            self._start_from(Path(data.initial), model)
        else:
            self._start_afresh(model)
        # The other kinds of attention need half as long again to learn from views of a few dozen patches.
        self.network.language_model.set_attn_implementation("eager")
        self._validation: list[dict[str, Tensor]] = []

    def _start_afresh(self, model: MllmConfig) -> None:
        tokenizer = build_tokenizer(_sentences(self.store, 4000), model.vocabulary)
        with TemporaryDirectory() as scratch:
            self.processor = build_processor(tokenizer, model, Path(scratch))
        self.network = MllmInTraining(build_model(model, tokenizer), DegradationHead(model.text_width))
        fit_eye(self.network.language_model, torch.cat([self.batch(index)["looks"] for index in range(2)]))

    def _start_from(self, folder: Path, model: MllmConfig) -> None:
        """Takes a trained model's weights, tokenizer and processor, so that its words keep their numbers."""
        settle(folder)
        trained = load_mllm(folder, precision="fp32")
        vision = trained.network.language_model.config.vision_config
        text = trained.network.language_model.config.text_config
        sizes = (vision.hidden_size, vision.num_hidden_layers, text.hidden_size, text.num_hidden_layers)
        if sizes != (model.vision_width, model.vision_layers, model.text_width, model.text_layers):
            raise TrainingError(f"{folder} in [data] has another architecture than [model]: make them the same.")
        if trained.network.head is None:
            raise TrainingError(f"{folder} in [data] has no {HEAD_FILE}: start from a model of this program.")
        if not trained.sees_detail:
            raise TrainingError(f"{folder} in [data] sees crops as they are: start from a model of this program.")
        self.processor = trained.processor
        self.network = MllmInTraining(trained.network.language_model, trained.network.head)
        self.network.requires_grad_(True)

    def batch(self, index: int) -> dict[str, Tensor]:
        looks, truths, turns, tones = [], [], [], []
        for scene in range(self.data.batch // self.data.looks):
            rng = sample_generator(self.seed, index, scene)
            clean, degraded = self.store.degraded_scene(rng, self.data.sides)
            picture, scene_tone = to_tensor(degraded.picture), tone(to_tensor(clean))
            for look in range(self.data.looks):
                looks.append(
                    views(picture if look % 2 == 0 else picture.flip(2), _random_origins(picture, rng), detail=True)
                )
                truths.append(degraded.truth)
                tones.append(scene_tone)
                turns.append(conversation(degraded.truth, rng))
        if index // IN_STEP % self.data.answers_every:
            turns = [[Turn(DESCRIBE, "")] for _ in turns]
        return {
            **encode(self.processor, turns),
            "looks": torch.stack(looks),
            "tone": torch.stack(tones),
            **truth_tensors(truths),
        }

    def loss(self, network: nn.Module, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """The loss and its parts.

        "answers" is 0 in the batches that stop at the prompt, so its mean in the log is over all batches: times
        `answers_every` it is the cross-entropy per token of the answers. "tone" is in steps of brightness, 0..1.
        """
        answers, reading, early, tones = network(batch)
        presence, strength, parameters = reading_losses(reading, batch)
        tone_error = (tones - batch["tone"]).abs().mean()
        early_loss = sum(weight * part for weight, part in zip((2, 2, 8), reading_losses(early, batch), strict=True))
        return {
            "loss": 0.5 * answers + 2 * presence + 4 * strength + 8 * parameters + 0.5 * early_loss + 4 * tone_error,
            "answers": answers,
            "presence": presence,
            "strength": strength,
            "parameters": parameters,
            "early": early_loss,
            "tone": tone_error,
        }

    @torch.inference_mode()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """F1 of each presence, their mean and smallest, and the mean error of the scaled parameters where present."""
        if not self._validation:
            self._validation = list(self._validation_batches())
        hits, parameter_errors = [], []
        device = next(network.parameters()).device
        for each in self._validation:
            batch = {name: value.to(device) for name, value in each.items()}
            _, reading, _, _ = network(batch)
            hits.append(torch.stack([reading.presence >= 0, batch["presence"] > 0.5]))
            errors = (reading.parameters - scaled(batch["parameters"])).abs()
            parameter_errors.append(mean_where(errors, batch["presence"][:, OWNER]))
        said, true = torch.cat(hits, dim=1)
        f1 = 2 * (said & true).sum(0) / (said.sum(0) + true.sum(0)).clamp(min=1)
        scores = {f"f1_{name}": float(value) for name, value in zip(DEGRADATIONS, f1, strict=True)}
        return {
            "f1": float(f1.mean()),
            "f1_worst": float(f1.min()),
            "parameter_error": float(torch.stack(parameter_errors).mean()),
            **scores,
        }

    def export(self, network: nn.Module, folder: Path, step: int, metrics: dict[str, float]) -> None:
        """Write the whole model folder, complete, as `folder`/mllm."""
        target = folder / "mllm"
        settle(target)
        temporary = staging(target)
        temporary.mkdir(parents=True)
        save_language_model(network.language_model, self.processor, temporary)
        card = replace(self._card(network, step, metrics), mllm_identity=identity_of(temporary))
        write_weights(temporary / HEAD_FILE, network.head.state_dict(), card)
        replace_folder(temporary, target)

    def _card(self, network: nn.Module, step: int, metrics: dict[str, float]) -> Card:
        return Card(
            kind="mllm_head",
            name=NAME,
            version="0.1.0",
            architecture={"width": network.head.width, "parameters": list(PARAMETERS)},
            training=training_record(self.tables, step),
            metrics=metrics,
            data=str(self.recipe.get("card", {}).get("data", "")),
            limits=str(self.recipe.get("card", {}).get("limits", "")),
            licence="Apache-2.0",
            mllm_identity="",
        )

    def _validation_batches(self):  # type: ignore[no-untyped-def]
        paths = list_photos(Path(self.data.validation))
        looks, truths = [], []
        for number in range(self.data.validation_pictures):
            rng = sample_generator(VALIDATION_SEED, number)
            degraded = degrade(read_photo(paths[number % len(paths)]), sample_severities(rng), rng)
            looks.append(views(to_tensor(degraded.picture), detail=True))
            truths.append(degraded.truth)
        for start in range(0, len(looks), 34):
            part = slice(start, start + 34)
            yield {
                **encode(self.processor, [[Turn(DESCRIBE, description(truth))] for truth in truths[part]]),
                "looks": torch.stack(looks[part]),
                **truth_tensors(truths[part]),
            }


def run(config_path: Path) -> None:
    """Train as the TOML file says; goes on where an earlier run of the same file stopped."""
    tables = load_toml(config_path)
    loop = LoopConfig.from_table(tables.get("loop", {}))
    data = table_to_config(MllmData, tables.get("data", {}), "data")
    task = MllmTask(
        table_to_config(MllmConfig, tables.get("model", {}), "model"),
        data,
        loop,
        tables,
    )
    train(task, loop)


def _sentences(store: PhotoStore, count: int) -> list[str]:
    """Text for the tokenizer to learn from: conversations about tiny degraded scenes."""
    sentences = []
    for number in range(count // 4):
        rng = sample_generator(VALIDATION_SEED + 1, number)
        truth = store.degraded_scene(rng, (32, 32))[1].truth
        for _ in range(4):
            sentences += [f" {question}\nUser:\nAssistant: {answer}" for question, answer in conversation(truth, rng)]
    return sentences


def _random_origins(picture: Tensor, rng: np.random.Generator) -> list[tuple[int, int]]:
    height, width = pad_to_side(picture, VIEW_SIDE).shape[1:]
    return [
        tuple(int(rng.integers((side - VIEW_SIDE) // BLOCK + 1)) * BLOCK for side in (height, width))
        for _ in range(CROPS)
    ]
