"""The MLLM's training on generated degradations: to say what is wrong, and to embed how much of it.

Two losses: the cross-entropy of the answers, and the errors of the `DegradationHead` that predicts presence, strength
and physical parameters from the embedding (our design).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...model.atomic import recover_folder, replace_folder, staging_folder
from ...model.errors import TrainingError
from ...model.guidance import Directions
from ...model.jpeg_grid import BLOCK, find_grid
from ...model.mllm.head import ABSENT, OWNER, DegradationHead, scale_parameters
from ...model.mllm.loading import HEAD_FILE, identity_of, load_mllm
from ...model.mllm.views import CROPS, VIEW_SIDE, make_views
from ...model.mllm.wording import DESCRIBE
from ...model.synthesis.degrade import GroundTruth, synthesize
from ...model.synthesis.severities import sample_severities
from ...model.vocabulary import DEGRADATIONS, PARAMETERS
from ...model.weights import Card, write_weights
from ..data.photos import list_photos, read_photo
from ..data.real_photos import RealSampler, pair_targets
from ..data.saved import JPEG, save
from ..data.scenes import SceneSampler, sample_generator, to_tensor
from ..engine.config import LoopConfig, RawConfig, parse_table, read_toml
from ..engine.loop import train
from ..engine.provenance import code_version, training_record
from .architecture import (
    NAME,
    MllmConfig,
    build_model,
    build_processor,
    build_tokenizer,
    calibrate_vision_encoder,
    pixel_values,
)
from .config import MllmRun
from .conversations import Turn, conversation, description
from .encoding import encode, truth_tensors
from .export import save_language_model
from .network import MllmInTraining, embedding_of, guide_loss, mean_where, named_f1, presence_f1, tone_of, tuning_loss

VALIDATION_SEED = 20_000_000
"""Seed of the validation images, far from those of training."""

SAME_KIND = 8
"""So many batches in a row are of one kind, with answers or without: up to so many processes never wait for another."""

VALIDATION_BATCH = 34

_NO_STRENGTH, _NO_PARAMETERS = np.zeros(len(DEGRADATIONS), np.float32), ABSENT.numpy()
"""In place of what is not known about real photographs."""


class MllmTask:
    """The MLLM as a task of the training loop (`engine.task.Task`).

    Args:
        run: Its configuration.
        loop: That of the loop.
        raw_config: The tables of the TOML file, for the card.

    Attributes:
        network: What is trained.
        processor: Makes the model's inputs from text and images.
        scenes: Sampler of degraded scenes.

    Raises:
        TrainingError: The settings do not fit together.
    """

    def __init__(self, run: MllmRun, loop: LoopConfig, raw_config: RawConfig) -> None:
        self.run, self.seed = run, loop.seed
        self._raw_config = raw_config
        self.recipe = {name: raw_config.get(name, {}) for name in ("model", "data", "batch", "mix", "real", "card")}
        code_version()  # now, not when the files may have changed
        data = run.data
        self.scenes = SceneSampler.read(data.photos, run.mix, rain_layers=data.rain_layers, low_light=data.low_light)
        self.real = None
        if run.real.photos:
            if not data.initial:
                raise TrainingError("photos in [real] needs initial in [data]: real photographs teach presence alone.")
            self.real = RealSampler.read(run.real.photos, run.real.pairs, run.real.good_share, run.real.noisy_share)
            # many show rooms: a room is not free of haze because all rooms in the pairs of noise are
            self.scenes = self.scenes.with_more(pair_targets(run.real.pairs), run.mix)
        self.processor: Any
        self.network: MllmInTraining
        self.directions: Directions | None = None
        torch.manual_seed(loop.seed)
        if data.initial:
            self._start_from(Path(data.initial), run.model)
        else:
            self._start_afresh(run.model)
        # the other kinds of attention need half as long again to learn from views of a few dozen patches
        self.network.language_model.set_attn_implementation("eager")
        self._teacher = copy.deepcopy(self.network.language_model).eval().requires_grad_(False) if self.real else None
        if run.real.saved_share and self.directions is None:
            raise TrainingError(
                f"{data.initial} in [data] has no directions for saved_share: run mofe train head first."
            )
        self._validation: list[dict[str, Tensor]] = []

    def _start_afresh(self, model: MllmConfig) -> None:
        tokenizer = build_tokenizer(_sentences(self.scenes, 4000), model.vocabulary)
        with TemporaryDirectory() as scratch:
            self.processor = build_processor(tokenizer, model, Path(scratch))
        self.network = MllmInTraining(build_model(model, tokenizer), DegradationHead(model.text_width))
        views = torch.cat([self.batch(index)["views"] for index in range(2)])
        calibrate_vision_encoder(self.network.language_model, views)

    def _start_from(self, folder: Path, model: MllmConfig) -> None:
        """Take a trained model's weights, tokenizer and processor, so that its words keep their token ids."""
        recover_folder(folder)
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
        self.processor, self.directions = trained.processor, trained.directions
        self.network = MllmInTraining(trained.network.language_model, trained.network.head)
        self.network.requires_grad_(True)

    def batch(self, index: int) -> dict[str, Tensor]:
        """Make batch `index`: view sets of degraded scenes, conversations about them, and their ground truth."""
        config = self.run.batch
        views, truths, turns, tones = [], [], [], []
        unsaved, strengths = [], []  # what the teacher sees, and the strength of the JPEG that comes after it
        photographs, saved_share = 0, 0.0
        if self.real is not None:
            photographs, saved_share = round(config.size * self.run.real.share), self.run.real.saved_share
        scenes = (config.size - photographs) // config.view_sets
        for scene in range(scenes):
            rng = sample_generator(self.seed, index, scene)
            clean, degraded = self.scenes.draw_degraded(rng, config.sides)
            saved = save(degraded, rng) if saved_share and rng.random() < saved_share else degraded
            image = to_tensor(saved.image)
            before = image if saved is degraded else to_tensor(degraded.image)
            scene_tone = tone_of(to_tensor(clean))
            strength = float(saved.truth.strength[JPEG] - degraded.truth.strength[JPEG])
            for number in range(config.view_sets):
                shown, shown_before = (each.flip(2) if number % 2 else each for each in (image, before))
                origins = _random_origins(shown, rng)
                views.append(make_views(shown, origins, detail=True))
                unsaved.append(views[-1] if saved is degraded else make_views(shown_before, origins, detail=True))
                strengths.append(strength)
                truths.append(saved.truth)
                tones.append(scene_tone)
                turns.append(conversation(saved.truth, rng))
        if index // SAME_KIND % config.answers_every:
            turns = [[Turn(DESCRIBE, "")] for _ in turns]
        more = {"tone": torch.stack(tones)}
        if self.real is not None:
            more = {
                "generated": (torch.arange(config.size) < len(views)).float(),
                "unsaved": torch.stack(unsaved),
                "saved": torch.tensor(strengths),
            }
            known = [np.ones(len(DEGRADATIONS), np.float32) for _ in views]
            for number in range(scenes, scenes + config.size - len(views)):
                rng = sample_generator(self.seed, index, number)
                example = self.real.draw(rng)
                image = to_tensor(example.image)
                views.append(make_views(image, _random_origins(image, rng), detail=True))
                truths.append(GroundTruth(example.presence, _NO_STRENGTH, _NO_PARAMETERS))
                turns.append([Turn(DESCRIBE, "")])
                known.append(example.known)
            more["known"] = torch.from_numpy(np.stack(known))
        return {**encode(self.processor, turns), "views": torch.stack(views), **truth_tensors(truths), **more}

    @torch.no_grad()
    def prepare(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Add the teacher's embedding of the generated scenes, where there are real photographs, too.

        The teacher sees a scene before it was saved; the direction of JPEG stands for what it does not see.
        """
        if self._teacher is None:
            return batch
        which = batch["generated"] > 0
        generated = {name: batch[name][which] for name in ("input_ids", "attention_mask", "embedding_at")}
        length = int(generated["embedding_at"].max()) + 1  # what comes after it, it does not see
        teacher = self._teacher.to(batch["views"].device)
        output = teacher(
            input_ids=generated["input_ids"][:, :length],
            attention_mask=generated["attention_mask"][:, :length],
            pixel_values=pixel_values(batch["unsaved"]),
            output_hidden_states=True,
            use_cache=False,
        )
        tokens, pooled = embedding_of(teacher, output.hidden_states[-1], generated)
        for row, strength in enumerate(batch["saved"].tolist()):
            if strength > 0 and self.directions is not None:
                token_move, pooled_move = self.directions.at(JPEG, strength)
                tokens[row] += token_move.to(tokens)
                pooled[row] += pooled_move.to(pooled)
        kept = {"kept_tokens": tokens, "kept_pooled": pooled}
        return {name: value for name, value in batch.items() if name not in ("unsaved", "saved")} | kept

    def loss(self, network: nn.Module, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """Return the loss and its parts: `tuning_loss` where there are real photographs, else `guide_loss`."""
        seen, embedding = network(batch)
        if self.real is None:
            return guide_loss(seen, batch)
        return tuning_loss(seen, embedding, batch, self.run.real.keep_weight)

    @torch.inference_mode()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return F1 per degradation, their mean and minimum, and the mean error of the scaled parameters."""
        if not self._validation:
            self._validation = list(self._validation_batches())
        counted, parameter_errors = [], []
        device = next(network.parameters()).device
        for each in self._validation:
            batch = {name: value.to(device) for name, value in each.items()}
            reading = network(batch)[0].reading
            counted.append(torch.stack([reading.presence >= 0, batch["presence"] > 0.5]))
            errors = (reading.parameters - scale_parameters(batch["parameters"])).abs()
            parameter_errors.append(mean_where(errors, batch["presence"][:, OWNER]))
        f1 = presence_f1(counted)
        return {
            "f1": float(f1.mean()),
            "f1_worst": float(f1.min()),
            "parameter_error": float(torch.stack(parameter_errors).mean()),
            **named_f1(f1),
        }

    def export(self, network: nn.Module, folder: Path, step: int, metrics: dict[str, float]) -> None:
        """Write the model folder `folder`/mllm, whole or not at all."""
        assert isinstance(network, MllmInTraining)
        target = folder / "mllm"
        recover_folder(target)
        temporary = staging_folder(target)
        temporary.mkdir(parents=True)
        save_language_model(network.language_model, self.processor, temporary)
        card = replace(self._card(network, step, metrics), mllm_identity=identity_of(temporary))
        write_weights(temporary / HEAD_FILE, network.head.state_dict(), card)
        replace_folder(temporary, target)

    def _card(self, network: MllmInTraining, step: int, metrics: dict[str, float]) -> Card:
        return Card(
            kind="mllm_head",
            name=NAME,
            version="0.1.0",
            architecture={
                "width": network.head.width,
                "hidden": network.head.hidden,
                "parameters": list(PARAMETERS),
            },
            training=training_record(self._raw_config, step),
            metrics=metrics,
            data=str(self.run.card.get("data", "")),
            limits=str(self.run.card.get("limits", "")),
            licence="Apache-2.0",
            mllm_identity="",
        )

    def _validation_batches(self) -> Iterator[dict[str, Tensor]]:
        paths = list_photos(Path(self.run.data.validation))
        views, truths = [], []
        for number in range(self.run.batch.validation_images):
            rng = sample_generator(VALIDATION_SEED, number)
            degraded = synthesize(read_photo(paths[number % len(paths)]), sample_severities(rng), rng)
            views.append(make_views(to_tensor(degraded.image), detail=True))
            truths.append(degraded.truth)
        for start in range(0, len(views), VALIDATION_BATCH):
            part = slice(start, start + VALIDATION_BATCH)
            yield {
                **encode(self.processor, [[Turn(DESCRIBE, description(truth))] for truth in truths[part]]),
                "views": torch.stack(views[part]),
                **truth_tensors(truths[part]),
            }


def run(config_path: Path) -> None:
    """Train as the TOML file says; resumes where an earlier run of the same file stopped."""
    train_mllm(read_toml(config_path))


def train_mllm(raw_config: RawConfig) -> dict[str, float]:
    """Train as the tables of a TOML file say; return what `train` returns."""
    loop = parse_table(LoopConfig, raw_config, "loop")
    return train(MllmTask(MllmRun.from_raw(raw_config), loop, raw_config), loop)


def _sentences(scenes: SceneSampler, count: int) -> list[str]:
    """Return text for the tokenizer to learn from: conversations about tiny degraded scenes."""
    sentences = []
    for number in range(count // 4):
        rng = sample_generator(VALIDATION_SEED + 1, number)
        truth = scenes.draw_degraded(rng, (32, 32))[1].truth
        for _ in range(4):
            sentences += [f" {question}\nUser:\nAssistant: {answer}" for question, answer in conversation(truth, rng)]
    return sentences


def _random_origins(image: Tensor, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return where crops start: anywhere, but where blocks of a JPEG do, as in `crop_origins`."""
    sides, grid = [max(length, VIEW_SIDE) for length in image.shape[1:]], find_grid(image)

    def start(axis: int) -> int:
        places = (sides[axis] - VIEW_SIDE - grid[axis]) // BLOCK + 1
        return grid[axis] + int(rng.integers(places)) * BLOCK if places > 0 else 0

    return [(start(0), start(1)) for _ in range(CROPS)]
