"""Trains the restorer on generated composite degradations, under the guidance of a frozen MLLM.

Each batch holds a few degraded scenes with several crops of each: the thumbnail and the guidance come from the whole
scene, as in use. Crops teach all but the tone branch, which learns from whole scenes, many of them seen as thumbnails
alone (`overviews`). Losses: L1 and the logarithm of the squared error (the mean PSNR, as in NAFNet, arXiv 2204.04676),
the relational alignment of the routing with the MLLM's embeddings (arXiv 2605.11444, abstract; formula ours), and a
guard against unused experts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model.imaging.degradations import COMBINATIONS, Severities, degrade, sample_combination
from ..model.mllm_folder import load_mllm
from ..model.relations import balance_loss, relational_alignment_loss, routing_vectors
from ..model.restorer import Position, Restorer, RestorerConfig, load_restorer, thumbnail_of
from ..model.weights import Card, write_weights
from .config import LoopConfig, TrainingError, check_sides, load_toml, table_to_config
from .folders import settle
from .guides import guide_of
from .loop import train
from .metrics import psnr, quantise
from .photos import list_photos, read_photo
from .record import code_version, training_record
from .samples import PhotoStore, check_shares, read_store, sample_generator, to_tensor

VALIDATION_SEED = 30_000_000

CROPS = ("crop", "target", "place", "scene")
"""What a batch says of its crops."""

COARSE = 16
"""Errors over more picture pixels than this are those of tone."""


@dataclass(frozen=True)
class RestorerData:
    """The [data] table of the run's TOML."""

    photos: str
    validation: str
    mllm: str
    """Folder of the MLLM whose guidance the restorer learns to use."""
    guidance: str = "mllm"
    """"mllm"; for the ablation also "other", that of another picture, and "oracle", the true parameters."""
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
    initial: str = ""
    """Weight file to start from, for example the shipped one; the optimizer starts afresh. Empty: random weights."""
    scenes: int = 4
    """Scenes in a batch of which crops are learned; 0: overviews alone, and the local branch stays."""
    crops: int = 2
    """Crops of each scene in a batch; a batch holds scenes x crops of them."""
    overviews: int = 0
    """Scenes more in a batch, of which only the overview is learned: they cost a fraction of a crop."""
    overview_photos: str = ""
    """Folder of more photos for these scenes alone, which small or strongly compressed ones serve as well."""
    overview_batches: int = 0
    """After so many batches the same overviews come again, kept in memory (0.2 MB each): to make and embed one takes
    twice as long as to learn from it. 0 makes all of them anew. Best a multiple of processes times workers."""
    overview_looks: int = 1
    """At how many places the MLLM looks at each of these scenes; in use it looks at five, and each costs time."""
    composite_share: float = 0.0
    """Of the overviews' scenes, those with a combination of CDD-11 and nothing else; the rest are drawn as those with
    crops are, noise alone among them: a tone that is right has to be learned, too."""
    overview_rain_share: float = 0.0
    """Takes the place of `rain_share` in the rest of the overviews' scenes: what soft rain costs most is its veil."""
    overview_clean_share: float = 0.0
    """Of the rest of the overviews' scenes, those to which nothing is done: where veils are frequent and clean pictures
    rare, clean ones are taken for veiled (RESULTS.md)."""
    overview_unusual_of: int = 1
    """Of so many photos the one with the most unusual tone is taken for overviews whose tone is to stay (see
    `PhotoStore`)."""
    crop: int = 128
    sides: tuple[int, int] = (224, 384)
    steered: float = 0.2
    """Share of the scenes in which some degradations are to be kept, so that users can steer."""
    validation_pictures: int = 44

    def __post_init__(self) -> None:
        check_sides(self.sides, self.crop)
        check_shares(self)
        whole = self.noise_share + self.snow_share + self.blur_share
        if whole + self.overview_rain_share + self.overview_clean_share > 1:
            raise TrainingError(
                "noise_share, snow_share, blur_share, overview_rain_share and overview_clean_share in [data] must not "
                "add up to more than 1."
            )
        for name in ("steered", "composite_share", "overview_rain_share", "overview_clean_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise TrainingError(f"{name} in [data] must lie between 0 and 1, not {getattr(self, name)}.")
        least_of = dict.fromkeys(("crops", "crop", "overview_looks", "overview_unusual_of", "validation_pictures"), 1)
        least_of |= dict.fromkeys(("scenes", "overviews", "overview_batches"), 0)
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise TrainingError(f"{name} in [data] must be at least {least}, not {getattr(self, name)}.")
        if self.guidance == "other" and 1 in (self.scenes, self.overviews):
            raise TrainingError('guidance = "other" in [data] needs two scenes and two overviews, or none of them.')
        if not self.scenes + self.overviews:
            raise TrainingError("scenes and overviews in [data] are both 0: give at least one of them.")


@dataclass(frozen=True)
class RestorerLosses:
    """The [losses] table: weights of the parts, and how often the guidance is withheld."""

    log_error: float = 0.02
    overview: float = 1.0
    """Of the L1 between the clean picture and what the affine grid alone makes of the degraded one, both small. Most of
    what is lost is lost in brightness and haze over the whole picture, of which a crop shows a part (RESULTS.md).
    It alone teaches the tone branch."""
    detail: float = 0.0
    """Of the logarithm of the squared error without its part coarser than `COARSE` px: what a crop can teach even where
    it cannot tell the tone, which would drown it."""
    relational: float = 0.02
    relational_temperature: float = 0.5
    balance: float = 0.01
    guidance_dropout: float = 0.1

    def __post_init__(self) -> None:
        if not self.relational_temperature > 0:
            raise TrainingError("relational_temperature in [losses] must be above 0.")
        if not 0 <= self.guidance_dropout <= 1:
            raise TrainingError(f"guidance_dropout in [losses] must lie between 0 and 1, not {self.guidance_dropout}.")


class RestorerTask:
    """What the training loop needs to train the restorer."""

    def __init__(
        self,
        model: dict[str, Any],
        data: RestorerData,
        losses: RestorerLosses,
        loop: LoopConfig,
        tables: dict[str, Any],
    ) -> None:
        self.data, self.losses, self.tables, self.seed = data, losses, tables, loop.seed
        self.is_bf16 = loop.is_bf16
        code_version()  # now, not when the files may have changed
        self.store = read_store(data, data.crop)
        self.whole_scenes = replace(
            self.store,
            photos=self.store.photos
            + (PhotoStore.read(Path(data.overview_photos)).photos if data.overview_photos else ()),
            composite_share=data.composite_share,
            rain_share=data.overview_rain_share,
            clean_share=data.overview_clean_share,
            unusual_of=data.overview_unusual_of,
        )
        self._sent: set[int] = set()
        self._kept: dict[int, dict[str, Tensor]] = {}
        settle(Path(data.mllm))
        self.guide = guide_of(data.guidance, load_mllm(data.mllm))
        torch.manual_seed(loop.seed)
        try:
            config = RestorerConfig.from_dict({**model, "guidance_width": self.guide.width})
        except ValueError as error:
            raise TrainingError(f"[model] cannot be built: {error}.") from error
        self.network = Restorer(config)
        if data.initial:
            self._start_from(Path(data.initial))
        if data.crop % self.network.multiple:
            raise TrainingError(
                f"crop in [data] must be a multiple of {self.network.multiple} px for this network, not {data.crop}."
            )
        self.recipe = {name: tables.get(name, {}) for name in ("model", "data", "losses", "card")}
        self.recipe["mllm_identity"] = self.guide.identity  # other embeddings would make another run
        self._validation: list[tuple[Tensor, Tensor, Tensor]] = []

    def _start_from(self, path: Path) -> None:
        """Copies the weights of a trained restorer; its MLLM may be another, and blocks that it lacks start afresh."""
        trained, _ = load_restorer(path)
        state, known = self.network.state_dict(), trained.state_dict()
        if any(name not in state or state[name].shape != tensor.shape for name, tensor in known.items()):
            raise TrainingError(
                f"{path} in [data] does not fit into [model]: only more blocks than it has may be asked for."
            )
        self.network.load_state_dict({**state, **known})

    def batch(self, index: int) -> dict[str, Any]:
        """Crops of some scenes, and of these scenes and others what the tone and the global branch see.

        The names of what belongs to the scenes without crops, the overviews, begin with "overview_". They are a
        function of `overview_key`; where they come again they are left out, since `prepare` has kept them.
        """
        data = self.data
        rng = sample_generator(self.seed, index, data.scenes + data.overviews)
        keep = rng.random(data.scenes + data.overviews) >= self.losses.guidance_dropout
        batch: dict[str, Any] = {"keep": torch.from_numpy(keep)}
        if data.scenes:
            batch |= self._crops(index)
        if data.overviews:
            key = index % data.overview_batches if data.overview_batches else index
            batch["overview_key"] = key
            if key not in self._sent:
                generators = (sample_generator(self.seed, key, data.scenes + place) for place in range(data.overviews))
                scenes = [self._scene(self.whole_scenes, rng, data.overview_looks)[2] for rng in generators]
                overviews = _stacked(scenes)
                batch |= {f"overview_{name}": value for name, value in overviews.items()}
            if data.overview_batches:
                self._sent.add(key)
        return batch

    def _crops(self, index: int) -> dict[str, Tensor]:
        """The crops of a batch, where they lie and in which scene, and what is seen of their scenes as wholes."""
        data, grid = self.data, self.network.multiple  # crops start where tiles do
        crops, targets, places, cropped = [], [], [], []
        for scene in range(data.scenes):
            rng = sample_generator(self.seed, index, scene)
            target, picture, seen = self._scene(self.store, rng)
            cropped.append(seen)
            height, width = picture.shape[1:]
            for _ in range(data.crops):
                top, left = (int(rng.integers((length - data.crop) // grid + 1)) * grid for length in (height, width))
                window = (slice(None), slice(top, top + data.crop), slice(left, left + data.crop))
                crops.append(picture[window])
                targets.append(target[window])
                places.append((top, left, height, width))
        return {
            "crop": torch.stack(crops).half(),
            "target": torch.stack(targets).half(),
            "place": torch.tensor(places),
            "scene": torch.arange(data.scenes).repeat_interleave(data.crops),
            **_stacked(cropped),
        }

    def _scene(
        self, store: PhotoStore, rng: np.random.Generator, looks: int = 1
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """A scene's target and picture [3, H, W], and what is to be known of it as a whole, seen in so many looks."""
        wanted, degraded, removal = store.steered_scene(rng, self.data.sides, self.data.steered)
        target, picture = to_tensor(wanted), to_tensor(degraded.picture)
        side = self.network.config.thumbnail
        seen = {
            "looks": self.guide.prepare(picture, degraded.truth, looks),
            "thumbnail": thumbnail_of(picture[None], side)[0].half(),
            "wanted_thumbnail": thumbnail_of(target[None], side)[0].half(),
            "removal": torch.from_numpy(removal),
        }
        return target, picture, seen

    def prepare(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """What `loss` takes: the crops, and what is seen of all scenes, those with crops, then the overviews; of the
        former the tokens, too."""
        parts, prepared = [], {name: batch[name] for name in ("keep", *CROPS) if name in batch}
        if self.data.scenes:
            seen, prepared["tokens"] = self._embed(batch, "")
            parts.append(seen)
        if self.data.overviews:
            key = batch["overview_key"]
            overviews = self._kept.get(key)
            if overviews is None:
                overviews = self._embed(batch, "overview_")[0]
                if self.data.overview_batches:
                    # copies: what a worker sent holds an open file each, of which a process may have a thousand
                    self._kept[key] = {name: tensor.clone() for name, tensor in overviews.items()}
            parts.append(overviews)
        return prepared | {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _embed(self, batch: dict[str, Tensor], prefix: str) -> tuple[dict[str, Tensor], Tensor]:
        looks = batch[f"{prefix}looks"]
        with torch.autocast(looks.device.type, torch.bfloat16, enabled=self.is_bf16(looks.device)):
            tokens, pooled = self.guide.embed(looks)
        given = {name: batch[f"{prefix}{name}"] for name in ("thumbnail", "wanted_thumbnail", "removal")}
        return {"pooled": pooled, **given}, tokens

    def loss(self, network: nn.Module, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        has_crops = self.data.scenes > 0
        restored, routing, corrected = network(
            batch["crop"].float() if has_crops else None,
            batch["thumbnail"].float(),
            batch.get("tokens"),
            batch["pooled"],
            batch["keep"],
            Position(*batch["place"].unbind(1)) if has_crops else None,
            batch["removal"],
            batch["scene"] if has_crops else None,
        )
        overview_error = corrected - F.adaptive_avg_pool2d(batch["wanted_thumbnail"].float(), corrected.shape[2:])
        overview, overview_decibel = overview_error.abs().mean(), _decibel(overview_error)
        loss = self.losses.overview * (overview - self.losses.log_error * overview_decibel)
        parts = {"overview": overview, "overview_psnr": overview_decibel}
        if has_crops:
            of_crops, more = self._loss_of_crops(restored, routing, batch)
            loss, parts = loss + of_crops, parts | more
        return {"loss": loss, **parts}

    def _loss_of_crops(
        self, restored: Tensor, routing: list[Tensor], batch: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Their part of the loss, and its parts."""
        error = restored.float() - batch["target"].float()
        absolute, decibel = error.abs().mean(), _decibel(error)
        detail_decibel = _decibel(detail_of(error))
        relational = absolute * 0.0  # a network without MoFE, for the ablation, has nothing to align
        if routing:
            seen, guided = batch["pooled"][batch["scene"]], batch["keep"][batch["scene"]]
            temperature = self.losses.relational_temperature
            relational = relational_alignment_loss(routing_vectors(routing), seen, temperature, guided)
        balance = sum((balance_loss(weights) for weights in routing), absolute * 0.0) / max(1, len(routing))
        weights = self.losses
        loss = (
            absolute
            - weights.log_error * decibel
            - weights.detail * detail_decibel
            + weights.relational * relational
            + weights.balance * balance
        )
        return loss, {
            "l1": absolute,
            "psnr": decibel,
            "detail_psnr": detail_decibel,
            "relational": relational,
            "balance": balance,
        }

    @torch.inference_mode()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Mean PSNR in dB over the eleven combinations on a few validation photos, and of clean photos left clean.

        Of the network alone, whose tone branch is asked for everything; in use `Guidance.tone_removal` asks for less.
        """
        if not self._validation:
            self._validation = list(self._validation_pictures())
        composite, clean = [], []
        others = self._validation[1:] + self._validation[:1]
        for number, ((picture, looks, target), (_, another, _)) in enumerate(
            zip(self._validation, others, strict=True)
        ):
            value = psnr(quantise(self._restore(network, picture, looks, another)), target)
            (composite if number < self.data.validation_pictures else clean).append(value)
        return {"psnr": float(np.mean(composite)), "psnr_clean": float(np.mean(clean))}

    def export(self, network: nn.Module, folder: Path, step: int, metrics: dict[str, float]) -> None:
        write_weights(folder / "restorer.safetensors", network.state_dict(), self._card(network, step, metrics))

    def _restore(self, network: nn.Module, picture: Tensor, looks: Tensor, another: Tensor) -> Tensor:
        """A whole picture [3, H, W] whose sides are multiples of the network's, in the training's precision.

        Args:
            looks: what the guide prepared of the picture.
            another: the same of another picture, for a guide that mixes them up.
        """
        device = next(network.parameters()).device
        tokens, pooled = (each[:1] for each in self.guide.embed(torch.stack([looks, another]).to(device)))
        with torch.autocast(device.type, torch.bfloat16, enabled=self.is_bf16(device)):
            context = network.look(
                thumbnail_of(picture[None], network.config.thumbnail).to(device),
                tokens,
                pooled,
                # a network that never saw guidance is judged without it
                torch.tensor([self.losses.guidance_dropout < 1], device=device),
            )
            restored, _ = network.restore(picture[None].to(device), context, Position.of(0, 0, *picture.shape[1:]))
        return restored[0].cpu()

    def _card(self, network: nn.Module, step: int, metrics: dict[str, float]) -> Card:
        about = self.tables.get("card", {})
        return Card(
            kind="restorer",
            name=str(about.get("name", "restorer")),
            version="0.1.0",
            architecture=network.config.describe(),
            training=training_record(self.tables, step),
            metrics=metrics,
            data=str(about.get("data", "")),
            limits=str(about.get("limits", "")),
            licence="Apache-2.0",
            mllm_identity=self.guide.identity,
        )

    def _validation_pictures(self):  # type: ignore[no-untyped-def]
        paths, multiple = list_photos(Path(self.data.validation)), self.network.multiple
        for number in range(self.data.validation_pictures + max(1, self.data.validation_pictures // 4)):
            rng = sample_generator(VALIDATION_SEED, number)
            photo = read_photo(paths[number % len(paths)])
            height, width = (length // multiple * multiple for length in photo.shape[:2])
            photo = photo[:height, :width]
            asked = Severities()
            if number < self.data.validation_pictures:
                asked = sample_combination(COMBINATIONS[number % 11], rng)
            degraded = degrade(photo, asked, rng)
            picture = to_tensor(degraded.picture)
            yield picture, self.guide.prepare(picture, degraded.truth), to_tensor(photo)


def _stacked(scenes: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """One tensor of each name from those of several scenes."""
    return {name: torch.stack([scene[name] for scene in scenes]) for name in scenes[0]}


def _decibel(error: Tensor) -> Tensor:
    """Mean PSNR in dB of errors [B, 3, H, W]."""
    return -10 * torch.log10(error.square().mean((1, 2, 3)) + 1e-5).mean()


def detail_of(error: Tensor) -> Tensor:
    """An error [B, 3, H, W] without its part coarser than `COARSE` px, of which H and W are multiples (our design)."""
    tone = F.interpolate(F.avg_pool2d(error, COARSE), scale_factor=COARSE, mode="bilinear", align_corners=False)
    return error - tone


def run(config_path: Path) -> None:
    """Train as the TOML file says; goes on where an earlier run of the same file stopped."""
    train_tables(load_toml(config_path))


def train_tables(tables: dict[str, Any]) -> dict[str, float]:
    """The same from the tables of the file; what `train` returns."""
    loop = LoopConfig.from_table(tables.get("loop", {}))
    data = table_to_config(RestorerData, tables.get("data", {}), "data")
    losses = table_to_config(RestorerLosses, tables.get("losses", {}), "losses")
    return train(RestorerTask(tables.get("model", {}), data, losses, loop, tables), loop)
