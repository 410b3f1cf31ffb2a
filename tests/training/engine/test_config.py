"""Settings that make no sense are refused in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from mofe_restore.model.errors import TrainingError
from mofe_restore.training.engine.config import LoopConfig, Tables, check_sides, parse_table


def test_a_decay_longer_than_the_run_is_refused() -> None:
    with pytest.raises(TrainingError, match="must fit into steps"):
        LoopConfig("run", 1000, warmup_steps=200, decay_steps=900)


@dataclass(frozen=True)
class Sample:
    """One field of every kind."""

    sides: tuple[int, int]
    numbers: tuple[float, ...] = ()
    name: str = "a"
    flag: bool = False


def test_tuples_of_fixed_and_of_any_length_are_read_with_their_types() -> None:
    read = parse_table(Sample, {"sample": {"sides": [1, 2], "numbers": [1, 2.5, 3]}}, "sample")
    assert read == Sample((1, 2), (1.0, 2.5, 3.0))
    assert all(type(number) is float for number in read.numbers)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"sides": [1]}, r"sides in \[sample\] must be tuple\[int, int\]"),
        ({"sides": [1, 2, 3]}, r"sides in \[sample\]"),
        ({"sides": [1, "2"]}, r"sides in \[sample\]"),
        ({"sides": [1, 2], "flag": 1}, r"flag in \[sample\] must be bool"),
        ({"sides": [1, 2], "name": True}, r"name in \[sample\] must be str"),
        ({}, r"\[sample\] lacks the key sides"),
        ("no table", r"\[sample\] must be a table"),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(table: Any, says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        parse_table(Sample, {"sample": table}, "sample")


def test_sides_that_fall_or_begin_too_low_are_refused() -> None:
    check_sides((64, 64), "batch", 64)
    for sides in ((300, 200), (32, 200)):
        with pytest.raises(TrainingError, match=r"sides in \[batch\]"):
            check_sides(sides, "batch", 64)


@dataclass(frozen=True)
class Both(Tables):
    """A table that is parsed, and one that is kept."""

    sample: Sample
    card: Mapping[str, Any] = field(default_factory=dict)


def test_all_tables_of_a_run_are_read() -> None:
    raw = {"loop": {"steps": 3}, "sample": {"sides": [1, 2]}, "card": {"name": "n", "more": [1]}}
    assert Both.from_raw(raw) == Both(Sample((1, 2)), {"name": "n", "more": [1]})
    assert Both.from_raw({"sample": {"sides": [1, 2]}}).card == {}


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({}, r"\[sample\] lacks the key sides"),
        ({"sample": {"sides": [1, 2]}, "card": "a text"}, r"\[card\] must be a table, not 'a text'"),
    ],
)
def test_a_run_without_what_it_needs_is_refused(raw: dict[str, Any], says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        Both.from_raw(raw)
