"""The tables of a camera run's TOML, and of the run of its estimator, beside `[loop]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...model.errors import TrainingError
from ...model.restorer.blur_estimator import SIDE
from ..data.mix import Mix
from ..engine.config import Tables, check_minimum, check_shares, check_sides

LEAST_JPEG = 0.5
"""Share of scenes with a JPEG alone with which every batch has some."""


@dataclass(frozen=True)
class CameraData:
    """The `[data]` table: paths.

    Attributes:
        photos: Folder of clean photos.
        validation: Folder of clean photos that are not trained on.
        restorer: Weight file of the restorer that gets the branch, or whose branch goes on learning.
        rain_layers: Folder of rain layers (grey images); empty for none.
        real_pairs: Folder of real pairs by degradation, `<degradation>/train/{input,target}`; those of noise and blur
            are used. Empty for none.
    """

    photos: str
    validation: str
    restorer: str
    rain_layers: str = ""
    real_pairs: str = ""


@dataclass(frozen=True)
class CameraBatch:
    """The `[batch]` table.

    Attributes:
        scenes: Scenes in a batch.
        crops: Crops of each scene; a batch has scenes x crops of them.
        crop: Side of a crop in px.
        sides: Smallest and largest side of a scene in px.
        kept_share: Share of the scenes in which some of the faults are told to be absent, and stay.
        invented_blur_share: Share of the scenes without blur in which the branch is told of one, and must not sharpen.
        error: Standard deviation of the errors of the told strengths, which the MLLM's have, too.
        large_error_share: Share of the scenes in which the errors are three times as large.
        validation_photos: Photos of a validation.
        own_jpeg: Whether only the branch's own weights for a JPEG are trained.

    Raises:
        TrainingError: A value outside its range.
    """

    scenes: int = 6
    crops: int = 6
    crop: int = 96
    sides: tuple[int, int] = (176, 352)
    kept_share: float = 0.08
    invented_blur_share: float = 0.0
    error: float = 0.05
    large_error_share: float = 0.2
    validation_photos: int = 8
    own_jpeg: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        check_minimum(self, "batch", {"scenes": 1, "crops": 1, "crop": 1, "validation_photos": 1, "error": 0})
        check_sides(self.sides, "batch", self.crop)
        check_shares(self, "batch", ("kept_share", "invented_blur_share", "large_error_share"))


@dataclass(frozen=True)
class CameraRun(Tables):
    """All tables of a camera run beside `[loop]`.

    Attributes:
        data: Paths.
        batch: Crops.
        mix: Degradations of the scenes.
        model: The fields of `RestorerConfig` that begin with `camera_`, where the restorer has no branch yet, or its
            branch is to get more blocks, or weights of its own for a JPEG.
        card: Name, data and limits for the card; those of the restorer where they are not given.
    """

    data: CameraData
    batch: CameraBatch = field(default_factory=CameraBatch)
    mix: Mix = field(default_factory=Mix)
    model: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what belongs to the run before."""
        if "camera_estimator_width" in self.model:
            raise TrainingError(
                "camera_estimator_width in [model] is for mofe train blur-estimator, which comes before."
            )
        if self.batch.own_jpeg and self.mix.jpeg_share < LEAST_JPEG:
            raise TrainingError(
                f"own_jpeg in [batch] needs scenes with a JPEG alone: jpeg_share in [mix] must be at least "
                f"{LEAST_JPEG}, not {self.mix.jpeg_share:g}."
            )


@dataclass(frozen=True)
class EstimatorData:
    """The `[data]` table of the estimator's run: paths.

    Attributes:
        photos: Folder of clean photos.
        validation: Folder of clean photos that are not trained on.
        restorer: Weight file of the restorer whose branch gets the estimator, or whose estimator goes on learning.
    """

    photos: str
    validation: str
    restorer: str


@dataclass(frozen=True)
class EstimatorBatch:
    """The `[batch]` table of the estimator's run.

    Attributes:
        scenes: Scenes in a batch.
        sides: Smallest and largest side of a scene in px.
        validation_photos: Photos of a validation.

    Raises:
        TrainingError: A value outside its range.
    """

    scenes: int = 64
    sides: tuple[int, int] = (176, 400)
    validation_photos: int = 16

    def __post_init__(self) -> None:
        """Check the values."""
        check_minimum(self, "batch", {"scenes": 1, "validation_photos": 1})
        check_sides(self.sides, "batch", SIDE)


@dataclass(frozen=True)
class EstimatorRun(Tables):
    """All tables of a run of the camera branch's estimator beside `[loop]`.

    Attributes:
        data: Paths.
        batch: Scenes.
        mix: Degradations of the scenes.
        model: As in `CameraRun`; `camera_estimator_width` where the branch has no estimator yet.
    """

    data: EstimatorData
    batch: EstimatorBatch = field(default_factory=EstimatorBatch)
    mix: Mix = field(default_factory=Mix)
    model: Mapping[str, Any] = field(default_factory=dict)
