"""The tables of a restorer run's TOML, beside `[loop]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...model.errors import TrainingError
from ..data.mix import Mix
from ..engine.config import RawConfig, Tables, check_minimum, check_shares, check_sides

GUIDANCE_SOURCES = ("mllm", "other", "oracle")
"""Where guidance comes from: the MLLM; for the ablation also another image of the batch, or the true parameters."""


@dataclass(frozen=True)
class DataConfig:
    """The `[data]` table: paths.

    Attributes:
        photos: Folder of clean photos.
        validation: Folder of clean photos that are not trained on.
        mllm: Folder of the MLLM whose guidance the restorer learns to use.
        guidance: One of `GUIDANCE_SOURCES`.
        rain_layers: Folder of rain layers (grey images); empty for none.
        low_light: Folder of real pairs, `input/` under-exposed and `target/` well exposed; empty for none.
        real_pairs: Folder of real pairs by degradation, `<degradation>/train/{input,target}`; empty for none.
        initial: Weight file to start from, such as the shipped one; the optimizer starts afresh. Empty for random
            weights.

    Raises:
        TrainingError: An unknown source of guidance.
    """

    photos: str
    validation: str
    mllm: str
    guidance: str = "mllm"
    rain_layers: str = ""
    low_light: str = ""
    real_pairs: str = ""
    initial: str = ""

    def __post_init__(self) -> None:
        """Check the values."""
        if self.guidance not in GUIDANCE_SOURCES:
            raise TrainingError(f"guidance in [data] must be mllm, other or oracle, not {self.guidance!r}.")


@dataclass(frozen=True)
class BatchConfig:
    """The `[batch]` table: crops, which teach all but the tone branch.

    Attributes:
        scenes: Scenes in a batch from which crops are taken; 0 trains the tone branch alone.
        crops: Crops of each scene; a batch has scenes x crops of them.
        crop: Side of a crop in px.
        sides: Smallest and largest side of a scene in px.
        steered_share: Share of the scenes in which some degradations are to be kept, so that users can steer.
        set_share: Share of the scenes in which the restorer is told strengths, beside the embedding or against it;
            needs `severity_width` in `[model]`.
        validation_images: Composites of a validation.

    Raises:
        TrainingError: A value outside its range.
    """

    scenes: int = 4
    crops: int = 2
    crop: int = 128
    sides: tuple[int, int] = (224, 384)
    steered_share: float = 0.2
    set_share: float = 0.0
    validation_images: int = 44

    def __post_init__(self) -> None:
        """Check the values."""
        check_minimum(self, "batch", {"scenes": 0, "crops": 1, "crop": 1, "validation_images": 1})
        check_sides(self.sides, "batch", self.crop)
        check_shares(self, "batch", ("steered_share", "set_share"))


@dataclass(frozen=True)
class ToneConfig:
    """The `[tone]` table: scenes that are seen as thumbnails only and teach only the tone branch.

    They cost a fraction of a crop.

    Attributes:
        scenes: Such scenes in a batch, beside those of `[batch]`.
        photos: Folder of more photos for these scenes, for which small or strongly compressed ones are good enough.
        cycle: After so many batches the same scenes are used again, kept in memory (0.2 MB each): to make and embed one
            takes twice as long as to learn from it. 0 makes new ones for every batch. Best a multiple of processes
            times workers.
        view_sets: Sets of views of each of these scenes that the MLLM sees; at inference it sees five, and each takes
            time.

    Raises:
        TrainingError: A value outside its range.
    """

    scenes: int = 0
    photos: str = ""
    cycle: int = 0
    view_sets: int = 1

    def __post_init__(self) -> None:
        """Check the values."""
        check_minimum(self, "tone", {"scenes": 0, "cycle": 0, "view_sets": 1})


@dataclass(frozen=True)
class LossConfig:
    """The `[losses]` table: weights of the parts, and how often guidance is withheld.

    Attributes:
        log_error: Of the logarithm of the squared error.
        tone: Of the L1 between the clean image and the affine grid's correction of the degraded one, both small; it
            alone teaches the tone branch.
        detail: Of the logarithm of the squared error without its coarse part (`detail_of`): what a crop can teach even
            where it cannot tell the tone, whose error would dominate.
        relational: Of the relational alignment loss.
        relational_temperature: Of its contrast.
        balance: Of the guard against unused experts.
        guidance_dropout: Share of the scenes whose guidance is withheld.

    Raises:
        TrainingError: A value outside its range.
    """

    log_error: float = 0.02
    tone: float = 1.0
    detail: float = 0.0
    relational: float = 0.02
    relational_temperature: float = 0.5
    balance: float = 0.01
    guidance_dropout: float = 0.1

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.relational_temperature > 0:
            raise TrainingError("relational_temperature in [losses] must be above 0.")
        check_shares(self, "losses", ("guidance_dropout",))


@dataclass(frozen=True)
class RestorerRun(Tables):
    """All tables of a restorer run beside `[loop]`.

    Attributes:
        data: Paths.
        batch: Crops.
        tone: Scenes of the tone branch.
        mix: Degradations of the scenes from which crops are taken.
        tone_mix: Those of the other scenes; keys that `[tone_mix]` does not set are those of `[mix]`.
        losses: Weights of the parts.
        model: Fields of `RestorerConfig` without `guidance_width`.
        card: Name, data and limits for the card.

    Raises:
        TrainingError: Settings that do not fit together.
    """

    data: DataConfig
    batch: BatchConfig = field(default_factory=BatchConfig)
    tone: ToneConfig = field(default_factory=ToneConfig)
    mix: Mix = field(default_factory=Mix)
    tone_mix: Mix = field(default_factory=Mix)
    losses: LossConfig = field(default_factory=LossConfig)
    model: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.batch.scenes + self.tone.scenes:
            raise TrainingError("scenes in [batch] and in [tone] are both 0: give at least one of them.")
        if self.data.guidance == "other" and 1 in (self.batch.scenes, self.tone.scenes):
            raise TrainingError(
                'guidance = "other" in [data] needs at least two scenes in [batch] and in [tone], or none of them.'
            )

    @classmethod
    def from_raw(cls, raw_config: RawConfig) -> RestorerRun:
        """Parse the tables of a TOML file; `[tone_mix]` holds what differs from `[mix]`.

        Raises:
            TrainingError: An unknown or missing key, or a value that makes no sense; the message names it.
        """
        both = {**raw_config.get("mix", {}), **raw_config.get("tone_mix", {})}
        return super().from_raw({**raw_config, "tone_mix": both})
