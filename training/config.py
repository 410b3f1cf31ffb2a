"""The configuration of a training run: one TOML file, read strictly."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..model.precision import native_dtype

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class TrainingError(ValueError):
    """Something the user has to change before training can go on; the message is one sentence."""


FREE_KEYS = frozenset(
    (
        "output",
        "steps",
        "decay_steps",
        "compile",
        "capture",
        "workers",
        "checkpoint_minutes",
        "log_every",
        "validate_every",
        "minutes",
        "max_minutes",
        "snapshots",
        "recipe.card",
    )
)
"""What may change between the sittings of one run; everything else must stay as it was."""


@dataclass(frozen=True)
class LoopConfig:
    """The `[loop]` table of a run's TOML.

    Attributes:
        output: run folder; gets checkpoint/, export/, snapshots/, log.csv, curve.png.
        steps: updates in all.
        seed: of the data and of everything random in a step.
        optimizer: "adamw", or "muon" for Muon on linear layers and AdamW on the rest.
        learning_rate, weight_decay: of the optimizer; no decay on parameters of less than two dimensions.
        warmup_steps: linear warm-up from zero.
        decay_steps: length of the final cosine decay to 1 % of the rate; 0 = none.
        gradient_clip: largest norm of the gradient.
        ema: decay of the averaged weights.
        precision: "bf16" (autocast), "fp32", or "auto": bf16 on hardware that computes in it, fp32 elsewhere.
        compile: let torch.compile fuse the blocks that say they are `fusible`, on a CUDA device, where it takes 80 s at
            the start; on CPUs nothing was gained, and it is left out.
        capture: on a CUDA device, record the operations of a step once and replay them, for tasks whose batches keep
            their shapes: launching thousands of them one by one takes longer than they run.
        workers: processes that make batches, per training process; 0 = make them in between.
        checkpoint_minutes: time between checkpoints.
        log_every, validate_every: in steps; 0 validates only at the end.
        minutes: of training in all, compiling included, on one process, after which the run ends, with `steps` done or
            not: the decay follows the clock where it is ahead. For machines lent by the minute. 0 = no limit.
        max_minutes: stop cleanly, with a checkpoint, after so many minutes of this sitting; 0 = no limit.
        snapshots: steps at which the averaged weights are exported besides, to snapshots/step-<n>/.

    Raises:
        TrainingError: a value outside its range.
    """

    output: str
    steps: int
    seed: int = 0
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 200
    decay_steps: int = 0
    gradient_clip: float = 1.0
    ema: float = 0.999
    precision: str = "auto"
    compile: bool = False
    capture: bool = False
    workers: int = 1
    checkpoint_minutes: float = 3.0
    log_every: int = 20
    validate_every: int = 500
    minutes: float = 0.0
    max_minutes: float = 0.0
    snapshots: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("log_every", 1), ("gradient_clip", 1e-12), ("learning_rate", 0)):
            if not getattr(self, name) >= least:
                raise TrainingError(f"{name} in [loop] must be at least {least}, not {getattr(self, name)}.")
        for name in (
            "seed",
            "weight_decay",
            "warmup_steps",
            "decay_steps",
            "workers",
            "checkpoint_minutes",
            "validate_every",
            "minutes",
            "max_minutes",
        ):
            if not getattr(self, name) >= 0:
                raise TrainingError(f"{name} in [loop] must not be negative, but is {getattr(self, name)}.")
        if self.decay_steps and self.warmup_steps + self.decay_steps > self.steps:
            raise TrainingError(
                f"warmup_steps and decay_steps in [loop] must fit into steps ({self.steps}), "
                f"but are {self.warmup_steps} and {self.decay_steps}."
            )
        if not 0.0 <= self.ema < 1.0:
            raise TrainingError(f"ema in [loop] must be at least 0 and below 1, not {self.ema}.")
        if self.optimizer not in ("adamw", "muon"):
            raise TrainingError(f"optimizer in [loop] must be adamw or muon, not {self.optimizer}.")
        if self.precision not in ("auto", "bf16", "fp32"):
            raise TrainingError(f"precision in [loop] must be auto, bf16 or fp32, not {self.precision}.")

    def is_bf16(self, device: torch.device) -> bool:
        """Whether the training computes in bf16 on this device."""
        return self.precision == "bf16" or (self.precision == "auto" and native_dtype(device) == torch.bfloat16)

    @staticmethod
    def from_table(table: Mapping[str, Any]) -> LoopConfig:
        """The config from a parsed table.

        Raises:
            TrainingError: an unknown or missing key, or a value of the wrong type, named.
        """
        return table_to_config(LoopConfig, table, "loop")


def table_to_config(kind: type, table: Mapping[str, Any], name: str) -> Any:
    """A flat dataclass (str, bool, int, float and tuples of them) from the TOML table `name`, strictly.

    Raises:
        TrainingError: an unknown or missing key, or a value of the wrong type, named.
    """
    if not isinstance(table, Mapping):
        raise TrainingError(f"[{name}] must be a table, not {table!r}.")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in fields:
            raise TrainingError(f"[{name}] has an unknown key {key}; known are {', '.join(fields)}.")
        wanted = str(fields[key].type)  # annotations are strings: `from __future__ import annotations`
        if wanted == "float" and type(value) is int:
            value = float(value)
        fits = isinstance(value, list | tuple) if wanted.startswith("tuple") else type(value).__name__ == wanted
        if fits and wanted.startswith("tuple["):
            item = wanted[6:].split(",")[0].strip(" ]")
            value = tuple(float(v) if item == "float" and type(v) is int else v for v in value)
            fits = all(type(v).__name__ == item for v in value)
        if not fits:
            raise TrainingError(f"{key} in [{name}] must be {wanted}, not {value!r}.")
        values[key] = value
    for key, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if key not in values and required:
            raise TrainingError(f"[{name}] lacks the key {key}.")
    return kind(**values)


def check_sides(sides: tuple[int, ...], least: int) -> None:
    """Refuses a range of scene sides, smallest and largest in px, that is upside down or below `least`.

    Raises:
        TrainingError: says what is wrong.
    """
    if len(sides) != 2 or not least <= sides[0] <= sides[1]:
        raise TrainingError(f"sides in [data] must be two rising sizes from {least} px up, not {list(sides)}.")


def load_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        TrainingError: it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"{path} cannot be read ({error.strerror}): give the path of a TOML file.") from error
    except ValueError as error:  # covers TOMLDecodeError and UnicodeDecodeError
        raise TrainingError(f"{path} is not a valid TOML file: {error}.") from error
