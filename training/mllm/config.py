"""The tables of an MLLM run's TOML, beside `[loop]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...model.errors import TrainingError
from ..data.mix import Mix
from ..engine.config import Tables, check_minimum, check_shares, check_sides
from .architecture import MllmConfig


@dataclass(frozen=True)
class DataConfig:
    """The `[data]` table: paths.

    Attributes:
        photos: Folder of clean photos.
        validation: Folder of clean photos that are not trained on.
        rain_layers: Folder of rain layers (grey images); empty for none.
        low_light: Folder of real pairs, `input/` under-exposed and `target/` well exposed; empty for none.
        initial: Model folder to start from, such as the shipped one; the optimizer starts afresh. Empty for random
            weights.
    """

    photos: str
    validation: str
    rain_layers: str = ""
    low_light: str = ""
    initial: str = ""


@dataclass(frozen=True)
class BatchConfig:
    """The `[batch]` table.

    Attributes:
        size: View sets in a batch.
        view_sets: View sets of each degraded scene: to degrade a scene takes longer than to look at it.
        answers_every: One in so many batches is learned with its answers; the others end with the prompt, where the
            embedding is.
        sides: Smallest and largest side of a scene in px.
        validation_images: Degraded images of a validation.

    Raises:
        TrainingError: A value outside its range.
    """

    size: int = 32
    view_sets: int = 2
    answers_every: int = 4
    sides: tuple[int, int] = (192, 416)
    validation_images: int = 136

    def __post_init__(self) -> None:
        """Check the values."""
        check_minimum(self, "batch", {"size": 1, "view_sets": 1, "answers_every": 1, "validation_images": 1})
        check_sides(self.sides, "batch", 1)
        if self.size % self.view_sets:
            raise TrainingError(f"size in [batch] must be a multiple of view_sets ({self.view_sets}), not {self.size}.")


@dataclass(frozen=True)
class RealConfig:
    """The `[real]` table: real photographs beside the generated scenes, in a run that goes on from trained weights.

    Attributes:
        photos: Folder of real photographs by label, `<label>/train`; `good/train` holds those without degradation.
            Empty for none.
        pairs: Folder of real pairs by degradation, `<degradation>/train/{input,target}`; empty for none.
        share: Share of real photographs in a batch.
        good_share: Of these, the share of good ones.
        noisy_share: Of these, the share of good ones, mostly dark ones, that get the noise of a real pair.
        keep_weight: Weight of how far the embedding of generated scenes moves, so that a restorer that was trained
            with it goes on reading it.
        saved_share: Of the generated scenes, the share that is seen as photographs are, after a JPEG: their embedding
            is to be that of the scene before it and, where the JPEG counts as a degradation, the direction of JPEG.

    Raises:
        TrainingError: A value outside its range.
    """

    photos: str = ""
    pairs: str = ""
    share: float = 0.375
    good_share: float = 0.4
    noisy_share: float = 0.0
    keep_weight: float = 2.0
    saved_share: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("share", "good_share"):
            if not 0 < getattr(self, name) < 1:
                raise TrainingError(f"{name} in [real] must lie between 0 and 1, not {getattr(self, name)}.")
        check_shares(self, "real", ("saved_share", "noisy_share"))
        check_minimum(self, "real", {"keep_weight": 0})


@dataclass(frozen=True)
class MllmRun(Tables):
    """All tables of an MLLM run beside `[loop]`.

    Attributes:
        data: Paths.
        batch: Sizes of a batch.
        mix: Degradations of the scenes.
        model: Sizes of the network.
        real: Real photographs.
        card: Data and limits for the card.
    """

    data: DataConfig
    batch: BatchConfig = field(default_factory=BatchConfig)
    mix: Mix = field(default_factory=Mix)
    model: MllmConfig = field(default_factory=MllmConfig)
    real: RealConfig = field(default_factory=RealConfig)
    card: Mapping[str, Any] = field(default_factory=dict)
