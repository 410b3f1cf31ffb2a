"""The result of an evaluation: named tables of numbers, as Markdown or JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Row = dict[str, float]
"""Numbers by column."""

COUNT = "n"
"""Column with the number of images of a row; every table has it."""


@dataclass(frozen=True)
class Table:
    """Named rows of numbers.

    Attributes:
        name: What the rows are; the heading of their column.
        columns: Heading of each column of numbers, with the decimals it is printed with.
        rows: Numbers by row and column; NaN where there is nothing to measure.
    """

    name: str
    columns: dict[str, int]
    rows: dict[str, Row]

    def lines(self) -> list[str]:
        """Return the table in Markdown, padded so that it also reads well in a terminal."""
        cells = [[self.name, *self.columns]]
        for row, values in self.rows.items():
            cells.append([row, *(format_number(values[column], digits) for column, digits in self.columns.items())])
        widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]

        def line(texts: list[str]) -> str:
            first, *numbers = (
                text.ljust(width) if i == 0 else text.rjust(width)
                for i, (text, width) in enumerate(zip(texts, widths, strict=True))
            )
            return "| " + " | ".join([first, *numbers]) + " |"

        rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
        return [line(cells[0]), rule, *(line(texts) for texts in cells[1:])]


@dataclass(frozen=True)
class Evaluation:
    """The result of one evaluation.

    Attributes:
        title: What was evaluated, and on what.
        tables: The first one holds the main numbers.
    """

    title: str
    tables: tuple[Table, ...]

    def value(self, row: str, column: str) -> float:
        """Return the number at a row and a column, from the first table that has both.

        Raises:
            KeyError: No table has both.
        """
        for table in self.tables:
            if row in table.rows and column in table.columns:
                return table.rows[row][column]
        raise KeyError(f"no row {row!r} with a column {column!r} in {self.title!r}")

    def to_markdown(self) -> str:
        """Return the title and the tables that have rows."""
        return "\n\n".join([self.title, *("\n".join(table.lines()) for table in self.tables if table.rows)]) + "\n"

    def to_json(self) -> str:
        """Return the result as JSON, NaN as null.

        The form is `{"title", "tables": [{"name", "columns": {column: digits}, "rows": {row: {column: number}}}]}`.
        """
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
        """Return the result that `to_json` wrote, from what `json.loads` makes of it."""
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


def format_number(value: float, digits: int) -> str:
    """Return a number with so many decimals, "-" for NaN."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
