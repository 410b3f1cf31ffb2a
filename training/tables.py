"""What an evaluation gives: named tables of numbers, as Markdown or JSON, or one sentence why there are none."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class EvaluationError(ValueError):
    """Data or a restoration that cannot be evaluated; the message is one sentence."""


@dataclass(frozen=True)
class Table:
    """Named rows of numbers.

    Attributes:
        name: what the rows are, the heading of the first column.
        columns: heading of each column of numbers, with the decimals it is printed with.
        rows: numbers by row and column; NaN where there is nothing to measure.
    """

    name: str
    columns: dict[str, int]
    rows: dict[str, dict[str, float]]

    def lines(self) -> list[str]:
        """The table in Markdown, padded so that it also reads well in a terminal."""
        cells = [[self.name, *self.columns]]
        for row, values in self.rows.items():
            cells.append([row, *(_number(values[column], digits) for column, digits in self.columns.items())])
        widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]

        def line(texts: list[str]) -> str:
            first, *numbers = (
                text.ljust(w) if i == 0 else text.rjust(w)
                for i, (text, w) in enumerate(zip(texts, widths, strict=True))
            )
            return "| " + " | ".join([first, *numbers]) + " |"

        rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
        return [line(cells[0]), rule, *(line(texts) for texts in cells[1:])]


@dataclass(frozen=True)
class Evaluation:
    """The result of one evaluation.

    Attributes:
        title: what was evaluated, on what.
        tables: the first one holds the main numbers.
    """

    title: str
    tables: tuple[Table, ...]

    def value(self, row: str, column: str) -> float:
        """A number of the first table that has this row and column.

        Raises:
            KeyError: there is none.
        """
        for table in self.tables:
            if row in table.rows and column in table.columns:
                return table.rows[row][column]
        raise KeyError(f"no row {row!r} with a column {column!r} in {self.title!r}")

    def to_markdown(self) -> str:
        return "\n\n".join([self.title, *("\n".join(table.lines()) for table in self.tables)]) + "\n"

    def to_json(self) -> str:
        """`{"title", "tables": [{"name", "columns": {column: digits}, "rows": {row: {column: number or null}}}]}`."""
        tables = [
            {
                "name": table.name,
                "columns": table.columns,
                "rows": {
                    row: {column: None if math.isnan(value) else round(value, 6) for column, value in values.items()}
                    for row, values in table.rows.items()
                },
            }
            for table in self.tables
        ]
        return json.dumps({"title": self.title, "tables": tables}, indent=2)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evaluation:
        """The inverse of `to_json`, from what `json.loads` makes of it."""
        return cls(
            values["title"],
            tuple(
                Table(
                    table["name"],
                    table["columns"],
                    {
                        row: {name: math.nan if number is None else number for name, number in numbers.items()}
                        for row, numbers in table["rows"].items()
                    },
                )
                for table in values["tables"]
            ),
        )


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
