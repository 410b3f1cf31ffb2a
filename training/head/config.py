"""The tables of the TOML files of a head's fit, and of that of a second look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ...model.errors import TrainingError
from ...model.mllm.head import DegradationHead
from ...model.vocabulary import CAMERA_FAULTS, DEGRADATIONS
from ..data.mix import Mix
from ..engine.config import Tables, check_minimum


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
    """The `[restraint]` table: what the network of presence unlearns from good photographs (`restraint`).

    Attributes:
        photos: Folder of photographs without any of `degradations`; empty leaves the network as it is.
        degradations: Those that none of the photographs shows, with a camera's faults or without. Beside these, low
            light is learned: a photograph with noise is as dark as it is without.
        side: Longest side in px to which the photographs are shrunk.
        members: Networks that learn from other random batches and are merged into one.
        steps: Updates of each.
        batch: Images of each kind of a step.
        learning_rate: Of AdamW, with a cosine decay to 0.
        good_weight: Of the photographs as they are, against generated images.
        noisy_weight: Of the photographs with noise or other faults of a camera, which are not dark for it.
        faults_weight: Of what the photographs with faults of a camera show of noise and blur.
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
    faults_weight: float = 3.0
    dark_weight: float = 0.1
    denied_weight: float = 1.5
    floor_weight: float = 0.2
    floor: float = 0.3
    keep_weight: float = 0.07

    def __post_init__(self) -> None:
        """Check the values."""
        check_minimum(self, "restraint", dict.fromkeys(("side", "members", "steps", "batch"), 1))
        if unknown := set(self.degradations) - set(DEGRADATIONS):
            raise TrainingError(f"degradations in [restraint] names {min(unknown)}, which is none.")
        if not self.degradations:
            raise TrainingError("degradations in [restraint] names none.")
        if taught := set(self.degradations) & {"low_light", *CAMERA_FAULTS}:
            raise TrainingError(
                f"degradations in [restraint] names {min(taught)}, which the photographs teach in another way."
            )


@dataclass(frozen=True)
class HeadRun(Tables):
    """All tables of the TOML file.

    Attributes:
        data: Paths.
        fit: Sizes and weights.
        mix: Degradations of the generated images.
        restraint: What good photographs teach.
        faults: Degradations of the good photographs with faults of a camera.
        shift: Of the presence logits, at last.
        card: Data and limits for the card.
    """

    data: HeadData
    fit: FitConfig = field(default_factory=FitConfig)
    mix: Mix = field(default_factory=Mix)
    shift: ShiftConfig = field(default_factory=ShiftConfig)
    restraint: RestraintConfig = field(default_factory=RestraintConfig)
    faults: Mix = field(default_factory=Mix)
    card: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SecondLookData:
    """The `[data]` table: paths.

    Attributes:
        mllm: Model folder; it is not changed.
        restorer: Weight file whose camera branch removes noise and JPEG.
        photos: Folder of photographs without low light, haze, rain and snow, new to the MLLM.
        more_photos: Folder of further ones, new or not, whose parts may look like weather; empty for none.
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
    more_photos: str = ""


@dataclass(frozen=True)
class SecondLookFit:
    """The `[fit]` table.

    Attributes:
        images: Images of each photograph that have faults of a camera, the first of them nothing else, the fourth and
            fifth see `SAVED_DARK` and `CROPPED`.
        alone: Images of each without such faults, the first of them as it is; from `FIRST_PART` on of its parts.
        dark: Images with a fault of a camera of each photograph that may be meant dark.
        toned: Images of each in another tone, see `draw_toned`.
        parts: Parts of each at which it is looked whether they are taken for weather.
        side: Longest side in px to which the photographs of `photos` are shrunk.
        members: Networks that are fitted from different random weights and merged into one.
        hidden: Width of each.
        steps: Updates of each.
        batch: Images of a step.
        learning_rate: Of AdamW, with a cosine decay to 0.
        weight_decay: Of AdamW.
        dropout: Of the hidden layer.
        real_weight: Of what is known of a real photograph, against a degraded one.
        real_noise: Of low light in the real pairs of noise, beside `real_weight`: many are meant dark, and noise looks
            dark to the network.
        goes_on: Whether the network in the MLLM's folder learns on, instead of new ones (`members`, `hidden`).
        seed: Of everything random.

    Raises:
        TrainingError: A value outside its range.
    """

    images: int = 5
    alone: int = 7
    dark: int = 8
    toned: int = 4
    parts: int = 7
    side: int = 512
    members: int = 4
    hidden: int = 128
    steps: int = 3600
    batch: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    dropout: float = 0.5
    real_weight: float = 2.0
    real_noise: float = 1.0
    goes_on: bool = False
    seed: int = 77

    def __post_init__(self) -> None:
        """Check the values."""
        check_minimum(self, "fit", dict.fromkeys(("images", "alone", "side", "members", "hidden", "steps", "batch"), 1))
        check_minimum(self, "fit", dict.fromkeys(("dark", "toned", "parts"), 0))


@dataclass(frozen=True)
class HazeWeights:
    """The `[haze]` table: how much more than others some examples count of haze, which is hardest to tell.

    Pale photographs look like haze, and generated haze is not like all that is real.

    Attributes:
        parts: Parts of photographs that are taken for weather.
        faulty_parts: Such parts with a fault of a camera.
        real: Real photographs, beside `real_weight`.
        faulty_real: Real photographs with a fault of a camera, of their own or added, beside `real_weight`.
        scale: Of the logits, at last: these weights and `[shift]` make the network less certain than it is right
            (arXiv 1706.04599).
    """

    parts: float = 8.0
    faulty_parts: float = 4.0
    real: float = 3.0
    faulty_real: float = 2.0
    scale: float = 2.0

    def __post_init__(self) -> None:
        """Check the values."""
        check_minimum(self, "haze", dict.fromkeys(("parts", "faulty_parts", "real", "faulty_real", "scale"), 0))


@dataclass(frozen=True)
class SecondLookRun(Tables):
    """All tables of the TOML file.

    Attributes:
        data: Paths.
        fit: Sizes.
        haze: Weights of examples.
        mix: Noise of the images, see `Mix.draw_noise`.
        shift: Of the logits of `JUDGED`, at last.
        card: Data and limits for the card.
    """

    data: SecondLookData
    fit: SecondLookFit = field(default_factory=SecondLookFit)
    haze: HazeWeights = field(default_factory=HazeWeights)
    mix: Mix = field(default_factory=Mix)
    shift: ShiftConfig = field(default_factory=ShiftConfig)
    card: Mapping[str, Any] = field(default_factory=dict)
