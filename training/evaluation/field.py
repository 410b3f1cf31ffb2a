"""The numbers that others have published, beside those of an evaluation on the same set.

They lie in `field.json`, each with its source: per method the PSNR and SSIM of each set, or only their means, as
published. Results of other data or protocols are left out.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .results import COUNT, Row, Table
from .runner import MEAN

OWN = "this restorer"
"""Row of what is evaluated."""

SIMILARITY, PARAMETERS = "mean SSIM", "M parameters"


@dataclass(frozen=True)
class Comparison:
    """The field's numbers on one board, with those of an evaluation.

    Attributes:
        title: Name of the board.
        measured_as: Who measures how.
        table: A row per method, the best mean PSNR last.
    """

    title: str
    measured_as: str
    table: Table


def boards() -> Mapping[str, Any]:
    """Return the boards of `field.json` by name."""
    return _read()["boards"]  # type: ignore[no-any-return]


def sources_of_field() -> Iterator[tuple[str, str]]:
    """Yield the short name and the text of each source."""
    yield from _read()["sources"].items()


def beside_field(board: str, rows: Mapping[str, Row], parameters: float = math.nan) -> Comparison:
    """Return the table of a board with an evaluation among the methods.

    Args:
        board: One of `boards`.
        rows: Of the evaluation: one for each column of the board, and `MEAN`.
        parameters: In millions, of what was evaluated.
    """
    about = boards()[board]
    lines = [(str(method["name"]), _published(method, about["columns"])) for method in about["methods"]]
    own = {COUNT: rows[MEAN][COUNT], **{name: rows[name]["PSNR out"] for name in about["columns"]}}
    own |= {MEAN: rows[MEAN]["PSNR out"], SIMILARITY: rows[MEAN]["SSIM out"], PARAMETERS: parameters}
    return Comparison(about["title"], about["measured_as"], _table([*lines, (OWN, own)], about["columns"]))


def field_table(board: str) -> Table:
    """Return the table of a board as published."""
    about = boards()[board]
    lines = [(str(method["name"]), _published(method, about["columns"])) for method in about["methods"]]
    return _table(lines, about["columns"])


def _table(lines: Iterable[tuple[str, Row]], columns: Iterable[str]) -> Table:
    heads = {COUNT: 0, **dict.fromkeys(columns, 2), MEAN: 2, SIMILARITY: 3, PARAMETERS: 2}
    return Table("PSNR of each method", heads, dict(sorted(lines, key=lambda line: line[1][MEAN])))


def _published(method: Mapping[str, Any], columns: list[str]) -> Row:
    values = method.get("psnr", [math.nan] * len(columns))
    row = {COUNT: math.nan, **dict(zip(columns, values, strict=True)), MEAN: method["mean_psnr"]}
    return row | {SIMILARITY: method.get("mean_ssim", math.nan), PARAMETERS: method.get("parameters", math.nan)}


@functools.cache
def _read() -> dict[str, Any]:
    return json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]
