"""Train a small MLLM of another stock class on the pack's own data: a foreign guide to align with the restorer.

    mofe train foreign --config training/configs/foreign/qwen2_vl.toml

It learns what the shipped one learns (`task.py`): answers about degraded scenes, and severities by heads that are
thrown away afterwards. It never sees the shipped model or its embeddings. The folder that is written is a plain model
folder without a head, as users download them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...model.atomic import atomic_write, recover_folder, replace_folder, staging_folder
from ...model.errors import TrainingError
from ...model.mllm.head import DegradationHead
from ...model.mllm.views import CROPS, VIEW_SIDE, amplify_detail, make_views
from ...model.mllm.wording import DESCRIBE
from ...model.synthesis.degrade import GroundTruth, synthesize
from ...model.synthesis.severities import sample_severities
from ..data.mix import Mix
from ..data.photos import list_photos, read_photo
from ..data.scenes import SceneSampler, sample_generator, to_tensor
from ..engine.config import LoopConfig, RawConfig, Tables, check_minimum, check_sides, parse_table, read_toml
from ..engine.loop import train
from .architecture import cosine_filters
from .config import DataConfig
from .conversations import Turn, conversation
from .encoding import truth_tensors
from .families import END_OF_TURN, FAMILIES, FamilySizes, build_family
from .network import TONES, Seen, answer_loss, guide_loss, named_f1, presence_f1, tone_of
from .task import VALIDATION_SEED, _random_origins, _sentences

SCENE_SEED = 31_000_000
"""Seed of the kept scenes, far from those of other runs."""

VALIDATION_BATCH = 34


@dataclass(frozen=True)
class ForeignModel:
    """The `[model]` table.

    Attributes:
        family: One of `FAMILIES`.
        detail: Whether it sees the crops as amplified detail.
        prepared: Whether its first weights suit its widths and start from cosines; otherwise they are those that
            transformers draws.

    The others are those of `FamilySizes`.

    Raises:
        TrainingError: An unknown family.
    """

    family: str
    detail: bool = True
    prepared: bool = True
    vision_width: int = 160
    vision_layers: int = 3
    text_width: int = 192
    text_layers: int = 3
    side: int = 112
    patch: int = 14
    vocabulary: int = 800

    def __post_init__(self) -> None:
        """Check the family."""
        if self.family not in FAMILIES:
            raise TrainingError(f"family in [model] must be one of {', '.join(FAMILIES)}, not {self.family}.")

    def sizes(self) -> FamilySizes:
        """Return the sizes."""
        return FamilySizes(**{name: getattr(self, name) for name in FamilySizes.__dataclass_fields__})


@dataclass(frozen=True)
class ForeignBatch:
    """The `[batch]` table.

    Attributes:
        size: View sets in a batch.
        answers_every: One in so many batches is learned with its answers.
        scenes: Degraded scenes that are made once and kept, each with two view sets.
        keep: Folder in which they are kept; several runs may share it.
        sides: Smallest and largest side of a scene in px.
        validation_images: Degraded images of a validation.

    Raises:
        TrainingError: A value outside its range.
    """

    size: int = 32
    answers_every: int = 4
    scenes: int = 6000
    keep: str = "runs/foreign/scenes"
    sides: tuple[int, int] = (192, 416)
    validation_images: int = 136

    def __post_init__(self) -> None:
        """Check the values."""
        check_minimum(self, "batch", {"size": 1, "answers_every": 1, "scenes": 1, "validation_images": 1})
        check_sides(self.sides, "batch", 1)


@dataclass(frozen=True)
class ForeignRun(Tables):
    """All tables of a run beside `[loop]`."""

    model: ForeignModel
    data: DataConfig
    batch: ForeignBatch = field(default_factory=ForeignBatch)
    mix: Mix = field(default_factory=Mix)


class ForeignInTraining(nn.Module):
    """A language model and the heads that help it to learn; they are not exported."""

    def __init__(self, language_model: Any, image_token: int) -> None:
        super().__init__()
        self.language_model: Any = language_model
        self.image_token = image_token
        width = int(language_model.get_input_embeddings().embedding_dim)
        self.head, self.early_head, self.tone_head = (
            DegradationHead(width),
            DegradationHead(width),
            nn.Linear(width, TONES),
        )
        for layer in (self.early_head.read, self.tone_head):
            nn.init.zeros_(layer.weight)

    def forward(self, batch: dict[str, Any]) -> Seen:
        """Look at a batch."""
        output = self.language_model(**batch["inputs"], output_hidden_states=True, use_cache=False)
        rows = torch.arange(len(batch["embedding_at"]))
        pooled = output.hidden_states[-1][rows, batch["embedding_at"]]
        logits, labels = output.logits[:, :-1].float(), batch["labels"][:, 1:]
        answers = answer_loss(logits, labels) if (labels >= 0).any() else logits.sum() * 0
        at_image = (batch["inputs"]["input_ids"] == self.image_token)[..., None].float()
        early = (output.hidden_states[0].float() * at_image).sum(1) / at_image.sum(1)
        return Seen(answers, self.head(pooled), self.early_head(early), self.tone_head(pooled.float()))


class ForeignTask:
    """A foreign MLLM as a task of the training loop (`engine.task.Task`)."""

    def __init__(self, run: ForeignRun, loop: LoopConfig, raw_config: RawConfig) -> None:
        self.run, self.seed = run, loop.seed
        self.recipe = {name: raw_config.get(name, {}) for name in ("model", "data", "batch", "mix")}
        data = run.data

        def read() -> SceneSampler:
            return SceneSampler.read(data.photos, run.mix, rain_layers=data.rain_layers, low_light=data.low_light)

        self._scenes = kept_scenes(read, run.batch)
        sentences = str(self._scenes["sentences"]).split("\0")
        model, self.processor = build_family(run.model.family, sentences, run.model.sizes(), seed=loop.seed)
        self._prompts: dict[str, list[int]] = {}
        token = self.processor.tokenizer.convert_tokens_to_ids(self.processor.image_token)
        self.network = ForeignInTraining(model, token)
        self._validation: list[dict[str, Any]] = []
        if run.model.prepared:
            prepare_weights(model, run.model, self.batch(0)["inputs"])

    def batch(self, index: int) -> dict[str, Any]:
        """Make batch `index` from kept scenes, with conversations drawn anew."""
        config = self.run.batch
        rng = sample_generator(self.seed, index)
        chosen = rng.integers(len(self._scenes["views"]), size=config.size)
        truths = [self._truth(number) for number in chosen]
        with_answers = index % config.answers_every == 0
        turns = [conversation(truth, rng) if with_answers else [Turn(DESCRIBE, "")] for truth in truths]
        views = self._shown(torch.from_numpy(self._scenes["views"][chosen].copy()))
        return {
            **self._encode(views, turns),
            "tone": torch.from_numpy(self._scenes["tone"][chosen]),
            **truth_tensors(truths),
        }

    def loss(self, network: nn.Module, batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        """Return the loss and its parts, those of the shipped model (`guide_loss`)."""
        return guide_loss(network(batch), batch)

    @torch.inference_mode()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return F1 per degradation, and their mean."""
        if not self._validation:
            self._validation = list(self._validation_batches())
        counted = []
        for batch in self._validation:
            _, reading, _, _ = network(batch)
            counted.append(torch.stack([reading.presence >= 0, batch["presence"] > 0.5]))
        f1 = presence_f1(counted)
        return {"f1": float(f1.mean()), **named_f1(f1)}

    def export(self, network: nn.Module, folder: Path, step: int, metrics: dict[str, float]) -> None:
        """Write the model folder `folder`/mllm, whole or not at all."""
        assert isinstance(network, ForeignInTraining)
        target = folder / "mllm"
        recover_folder(target)
        temporary = staging_folder(target)
        temporary.mkdir(parents=True)
        network.language_model.save_pretrained(temporary)
        self.processor.save_pretrained(temporary)
        replace_folder(temporary, target)

    def _truth(self, number: int) -> GroundTruth:
        return GroundTruth(*(self._scenes[name][number] for name in ("presence", "strength", "parameters")))

    def _shown(self, views: Tensor) -> Tensor:
        """Views [B, V, 3, S, S] as bytes, the crops amplified where the model sees detail."""
        if not self.run.model.detail:
            return views
        crops = amplify_detail(views[:, 1:].flatten(0, 1).float() / 255)
        crops = (crops.clamp(0, 1) * 255).round().to(torch.uint8).unflatten(0, views[:, 1:].shape[:2])
        return torch.cat([views[:, :1], crops], dim=1)

    def _encode(self, views: Tensor, conversations: list[list[Turn]]) -> dict[str, Any]:
        """Encode conversations about views, padded at the right; labels are -100 outside answers."""
        tokenizer, count = self.processor.tokenizer, views.shape[1]
        images = self.processor.image_processor(images=list(views.flatten(0, 1)), return_tensors="pt")
        rows = []
        for turns in conversations:
            ids: list[int] = []
            labels: list[int] = []
            at = 0
            for number, (question, answer) in enumerate(turns):
                asked = self._prompt(question, count) if number == 0 else self._next_turn(question)
                end = tokenizer(f"{answer}{END_OF_TURN}", add_special_tokens=False)["input_ids"] if answer else []
                at = len(asked) - 1 if number == 0 else at
                ids += asked + end
                labels += [-100] * len(asked) + end
            rows.append((ids, labels, at))
        length = max(len(ids) for ids, _, _ in rows)
        input_ids = torch.tensor([ids + [tokenizer.pad_token_id] * (length - len(ids)) for ids, _, _ in rows])
        mask = torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids, _, _ in rows])
        inputs: dict[str, Any] = {name: value for name, value in images.items() if isinstance(value, Tensor)}
        inputs |= {"input_ids": input_ids, "attention_mask": mask}
        if self.run.model.family.startswith("qwen"):
            inputs["mm_token_type_ids"] = (input_ids == self.network.image_token).int()
        if "batch_num_images" in inputs:
            inputs["batch_num_images"] = torch.full((len(views),), count)
        return {
            "inputs": inputs,
            "labels": torch.tensor([labels + [-100] * (length - len(labels)) for _, labels, _ in rows]),
            "embedding_at": torch.tensor([at for _, _, at in rows]),
        }

    def _prompt(self, question: str, count: int) -> list[int]:
        """Return the tokens of a first question, as the processor expands them."""
        if question not in self._prompts:
            content = [{"type": "image"}] * count + [{"type": "text", "text": question}]
            text = self.processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
            )
            views = [torch.zeros(3, VIEW_SIDE, VIEW_SIDE, dtype=torch.uint8)] * count
            self._prompts[question] = self.processor(text=[text], images=[views])["input_ids"][0]
        return list(self._prompts[question])

    def _next_turn(self, question: str) -> list[int]:
        text = f"\n<|im_start|>user\n{question}{END_OF_TURN}\n<|im_start|>assistant\n"
        ids: list[int] = self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _validation_batches(self) -> Iterator[dict[str, Any]]:
        paths = list_photos(Path(self.run.data.validation))
        views, truths = [], []
        for number in range(self.run.batch.validation_images):
            rng = sample_generator(VALIDATION_SEED, number)
            degraded = synthesize(read_photo(paths[number % len(paths)]), sample_severities(rng), rng)
            views.append(make_views(to_tensor(degraded.image)))
            truths.append(degraded.truth)
        for start in range(0, len(views), VALIDATION_BATCH):
            part = slice(start, start + VALIDATION_BATCH)
            shown = self._shown(torch.stack(views[part]))
            yield {
                **self._encode(shown, [[Turn(DESCRIBE, "")] for _ in truths[part]]),
                **truth_tensors(truths[part]),
            }


@torch.inference_mode()
def prepare_weights(model: Any, settings: ForeignModel, inputs: Mapping[str, Tensor]) -> None:
    """Initialize the weights for a network this narrow, as `architecture.build_model` does for the shipped one."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and not name.endswith("lm_head"):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    patches = next(m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Conv3d) and m.in_channels == 3)
    filters = cosine_filters(patches.out_channels, settings.patch)
    if isinstance(patches, nn.Conv3d):
        filters = filters[:, :, None].expand_as(patches.weight) / patches.kernel_size[0]
    patches.weight.copy_(filters)
    seen: list[Tensor] = []
    hook = patches.register_forward_hook(lambda _module, _inputs, output: seen.append(output.detach()))
    model(**inputs, use_cache=False)
    hook.remove()
    spread = seen[0].transpose(0, 1).flatten(1).std(1) + 1e-3
    patches.weight.div_(spread.reshape(-1, *[1] * (patches.weight.ndim - 1)))
    if isinstance(patches, nn.Conv3d):  # the same product, several times faster where a patch is the whole input
        convolution: Any = patches
        convolution.forward = MethodType(_whole_patches, patches)  # a method: a copy of the model has one of its own


def _whole_patches(convolution: Any, pixels: Tensor) -> Tensor:
    """Convolve [N, C, T, H, W] with patches of exactly that size."""
    return F.linear(pixels.flatten(1), convolution.weight.flatten(1), convolution.bias)


def kept_scenes(read: Callable[[], SceneSampler], config: ForeignBatch) -> dict[str, np.ndarray]:
    """Return degraded scenes, made once and kept: two sets of views of each, as they are.

    Args:
        read: Reads the photographs, where scenes have to be made.
        config: How many, and where they are kept.

    Returns:
        `views` uint8 [2 N, V, 3, S, S], mapped from the disk, `tone` [2 N, `TONES`], `presence`, `strength` and
        `parameters`, and `sentences`, text for a tokenizer to learn from, divided by zeros.
    """
    folder = Path(config.keep)
    truths, views = folder / "truths.npz", folder / "views.npy"
    if not truths.is_file():
        _make_scenes(read(), config, views, truths)
    with np.load(truths) as kept:
        found = {name: kept[name] for name in kept.files}
    found["views"] = np.load(views, mmap_mode="r")
    if len(found["views"]) < 2 * config.scenes:
        raise TrainingError(f"{folder} keeps {len(found['views']) // 2} scenes, not {config.scenes}: remove it.")
    return found


def _make_scenes(sampler: SceneSampler, config: ForeignBatch, views: Path, truths: Path) -> None:
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("tone", "presence", "strength", "parameters")}
    views.parent.mkdir(parents=True, exist_ok=True)
    shape = (2 * config.scenes, 1 + CROPS, 3, VIEW_SIDE, VIEW_SIDE)
    kept = np.lib.format.open_memmap(views, mode="w+", dtype=np.uint8, shape=shape)
    for scene in range(config.scenes):
        rng = sample_generator(SCENE_SEED, scene)
        clean, degraded = sampler.draw_degraded(rng, config.sides)
        image, tone = to_tensor(degraded.image), tone_of(to_tensor(clean)).numpy()
        for number, seen in enumerate((image, image.flip(2))):
            kept[2 * scene + number] = make_views(seen, _random_origins(image, rng)).numpy()
            columns["tone"].append(tone)
            for name in ("presence", "strength", "parameters"):
                columns[name].append(getattr(degraded.truth, name))
    kept.flush()
    stacked: dict[str, Any] = {name: np.stack(values) for name, values in columns.items()}
    with atomic_write(truths) as temporary, temporary.open("wb") as file:
        np.savez(file, **stacked, sentences="\0".join(_sentences(sampler, 4000)))


def run(config_path: Path) -> None:
    """Train as the TOML file says; resumes where an earlier run of the same file stopped."""
    raw_config = read_toml(config_path)
    loop = parse_table(LoopConfig, raw_config, "loop")
    train(ForeignTask(ForeignRun.from_raw(raw_config), loop, raw_config), loop)
