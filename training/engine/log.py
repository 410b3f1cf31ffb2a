"""The log of a training run, a CSV file."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

from ...model.atomic import write_text

VALIDATION = "val_"
"""Prefix of columns with validation metrics, which are empty in the rows between validations."""

FIXED = ("step", "seconds", "lr")


class TrainingLog:
    """Rows `step, seconds, lr, <loss parts>, val_<metrics>`, each step at most once, in rising order.

    Every row is flushed at once, so a killed process loses none; an incomplete row, left by a power cut, is dropped
    when the run is resumed.

    Args:
        path: The CSV file.
        last_step: The step after which the run is resumed; later rows are removed.
    """

    def __init__(self, path: Path, last_step: int) -> None:
        self.path = path
        self.columns, rows = read_log(path)
        self._replace([row for row in rows if row["step"] <= last_step])

    def write(self, row: dict[str, float]) -> None:
        """Append a row; new columns are added to the table."""
        new = [name for name in row if name not in self.columns]
        if new:
            _, rows = read_log(self.path)
            # loss parts are left of the validation metrics, whichever comes first
            self.columns = sorted(
                [*self.columns, *new], key=lambda name: (name not in FIXED, name.startswith(VALIDATION))
            )
            self._replace(rows)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(self._line(row))

    def sync(self) -> None:
        """Flush the file to the disk."""
        with self.path.open("r+", encoding="utf-8") as file:
            os.fsync(file.fileno())

    def _replace(self, rows: list[dict[str, float]]) -> None:
        head = ",".join(self.columns) + "\n" if self.columns else ""
        write_text(self.path, head + "".join(self._line(row) for row in rows))

    def _line(self, row: dict[str, float]) -> str:
        return ",".join(_number(row[name]) if name in row else "" for name in self.columns) + "\n"


def read_log(path: Path) -> tuple[list[str], list[dict[str, float]]]:
    """Return the columns and the rows of a log; rows lack absent values, an incomplete last row is left out."""
    if not path.exists():
        return [], []
    text = path.read_text(encoding="utf-8")
    reader = csv.reader(io.StringIO(text[: text.rfind("\n") + 1]))
    columns = next(reader, [])
    rows: list[dict[str, float]] = []
    for cells in reader:
        try:
            row = {name: float(cell) for name, cell in zip(columns, cells, strict=True) if cell}
        except ValueError:  # not a row of this table: an incomplete write
            continue
        if "step" in row:
            rows.append(row)
    return columns, rows


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.7g}"
