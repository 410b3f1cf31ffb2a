"""The configuration of a training run: one TOML file, read strictly."""

from __future__ import annotations

import dataclasses
import re
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from ...model.errors import TrainingError
from ...model.precision import native_dtype

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

_LONG_KEY = re.compile(r"(?<![\w\"'-])(?:[\w\"'-]+[ \t]*\.[ \t]*){64}")
"""A dotted key of so many parts is an attack on the parser, whose memory grows with the square of its length."""

_LONGEST = 2**16
"""Characters of a recipe."""

RawConfig = Mapping[str, Any]
"""The parsed TOML file: tables by name."""

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
"""Keys that may change when a run is resumed; all others must stay as they were."""


@dataclass(frozen=True)
class LoopConfig:
    """The `[loop]` table of a run's TOML.

    Attributes:
        output: Run folder; gets checkpoint/, export/, snapshots/, log.csv, curve.png.
        steps: Updates in total.
        seed: Of the data and of everything random in a step.
        optimizer: "adamw", or "muon" for Muon on linear layers and AdamW on the rest, or "muon-conv" for Muon on the
            dense convolutions, too.
        learning_rate: Of the optimizer.
        weight_decay: Of the optimizer; parameters of less than two dimensions do not decay.
        warmup_steps: Linear warm-up from zero.
        decay_steps: Length of the final cosine decay to 1 % of the rate; 0 means none.
        gradient_clip: Maximum norm of the gradient.
        ema: Decay of the averaged weights.
        precision: "bf16" (autocast), "fp32", or "auto": bf16 on hardware that computes in it, fp32 elsewhere.
        compile: Let torch.compile fuse the blocks that are marked `fusible`, on a CUDA device, where it takes 80 s at
            the start. On CPUs it gains nothing and is ignored.
        capture: On a CUDA device, capture a training step as a CUDA graph and replay it, for tasks whose batches keep
            their shapes: launching thousands of operations one by one takes longer than running them.
        workers: Processes that make batches, per training process; 0 makes them in the training process.
        checkpoint_minutes: Time between checkpoints.
        log_every: Steps between rows of the log.
        validate_every: Steps between validations; 0 validates only at the end.
        minutes: Time limit in minutes of the whole run, compilation included, on one process; the learning rate decays
            by the clock where that is ahead of the steps. 0 means none.
        max_minutes: Stop with a checkpoint after so many minutes since the start of this process; 0 means no limit.
        snapshots: Steps at which the averaged weights are also exported, to snapshots/step-<n>/.

    Raises:
        TrainingError: A value outside its range.
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
        """Check the values."""
        check_minimum(self, "loop", {"steps": 1, "log_every": 1, "gradient_clip": 1e-12, "learning_rate": 0})
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
        if self.optimizer not in ("adamw", "muon", "muon-conv"):
            raise TrainingError(f"optimizer in [loop] must be adamw, muon or muon-conv, not {self.optimizer}.")
        if self.precision not in ("auto", "bf16", "fp32"):
            raise TrainingError(f"precision in [loop] must be auto, bf16 or fp32, not {self.precision}.")

    def is_bf16(self, device: torch.device) -> bool:
        """Return whether the training computes in bf16 on this device."""
        return self.precision == "bf16" or (self.precision == "auto" and native_dtype(device) == torch.bfloat16)


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read the tables of a TOML file.

    Raises:
        TrainingError: It cannot be read or is not TOML.
    """
    nested = f"{path} is no recipe of a run: it is too long, or nested too deeply."
    try:
        text = Path(path).read_text(encoding="utf-8")
        safe = len(text) <= _LONGEST and not _LONG_KEY.search(text)
        tables = tomllib.loads(text) if safe else None
    except OSError as error:
        raise TrainingError(f"{path} cannot be read ({error.strerror}): give the path of a TOML file.") from error
    except ValueError as error:  # covers TOMLDecodeError and UnicodeDecodeError
        raise TrainingError(f"{path} is not a valid TOML file: {error}.") from error
    except RecursionError as error:
        raise TrainingError(nested) from error
    if tables is None:
        raise TrainingError(nested)
    return tables


def parse_table(kind: type[T], raw_config: RawConfig, name: str) -> T:
    """Parse the table `name` of a TOML file strictly.

    Args:
        kind: A dataclass whose fields are str, bool, int, float or tuples of them.
        raw_config: The tables of the file; a missing table is an empty one.
        name: Of the table.

    Returns:
        An instance of `kind`; keys that are not given keep their defaults.

    Raises:
        TrainingError: An unknown or missing key, or a value of the wrong type; the message names it.
    """
    table = raw_config.get(name, {})
    if not isinstance(table, Mapping):
        raise TrainingError(f"[{name}] must be a table, not {table!r}.")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in fields:
            raise TrainingError(f"[{name}] has an unknown key {key}; known are {', '.join(fields)}.")
        values[key] = _parse_value(hints[key], value, f"{key} in [{name}]")
    for key, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if key not in values and required:
            raise TrainingError(f"[{name}] lacks the key {key}.")
    return kind(**values)


class Tables:
    """All tables of a run's TOML beside `[loop]`: base of dataclasses that have a field of the same name for each.

    A table whose field is a dataclass is parsed strictly; one whose field is a mapping is kept as it is.
    """

    @classmethod
    def from_raw(cls: type[T], raw_config: RawConfig) -> T:
        """Parse the tables of a TOML file.

        Raises:
            TrainingError: An unknown or missing key, or a value that makes no sense; the message names it.
        """
        kinds, tables = typing.get_type_hints(cls), dict[str, Any]()
        if unknown := sorted(raw_config.keys() - kinds.keys() - {"loop"}):
            raise TrainingError(f"There is no table [{unknown[0]}] here; known are {', '.join(kinds)} and loop.")
        for name, kind in kinds.items():
            if isinstance(kind, type) and dataclasses.is_dataclass(kind):
                tables[name] = parse_table(kind, raw_config, name)
            elif not isinstance(table := raw_config.get(name, {}), Mapping):
                raise TrainingError(f"[{name}] must be a table, not {table!r}.")
            else:
                tables[name] = table
        return cls(**tables)


def _parse_value(hint: Any, value: Any, where: str) -> Any:
    """Return a value of the type that a field is annotated with; whole numbers are numbers, lists become tuples."""
    if hint is float and type(value) is int:
        return float(value)
    if typing.get_origin(hint) is tuple:
        arguments = typing.get_args(hint)
        if isinstance(value, list | tuple):
            items = arguments[:1] * len(value) if arguments[-1:] == (...,) else arguments
            if len(items) == len(value):
                return tuple(_parse_value(item, each, where) for item, each in zip(items, value, strict=True))
    elif type(value) is hint:
        return value
    shown = hint if isinstance(hint, types.GenericAlias) else hint.__name__
    raise TrainingError(f"{where} must be {shown}, not {value!r}.")


def check_minimum(config: object, table: str, minimums: Mapping[str, float]) -> None:
    """Check that fields of a config are not below their minimum.

    Raises:
        TrainingError: One is; the message names it and the table.
    """
    for name, minimum in minimums.items():
        if not getattr(config, name) >= minimum:
            raise TrainingError(f"{name} in [{table}] must be at least {minimum}, not {getattr(config, name)}.")


def check_shares(config: object, table: str, names: Iterable[str]) -> None:
    """Check that fields of a config are shares.

    Raises:
        TrainingError: One lies outside 0..1; the message names it and the table.
    """
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise TrainingError(f"{name} in [{table}] must lie between 0 and 1, not {getattr(config, name)}.")


def check_sides(sides: tuple[int, int], table: str, minimum: int) -> None:
    """Check a range of scene sides in px, smallest and largest.

    Raises:
        TrainingError: It is not rising, or begins below `minimum`.
    """
    if not minimum <= sides[0] <= sides[1]:
        raise TrainingError(f"sides in [{table}] must be two rising sizes from {minimum} px up, not {list(sides)}.")
