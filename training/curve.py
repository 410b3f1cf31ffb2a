"""The log of a training run (CSV) and the learning curve drawn from it (PNG)."""

from __future__ import annotations

import csv
import io
import math
import os
from pathlib import Path

VALIDATION = "val_"
"""Columns that start with this are validation metrics; they are empty in the rows between validations."""

FIXED = ("step", "seconds", "lr")


class TrainingLog:
    """Rows `step, seconds, lr, <loss parts>, val_<metrics>`, one step at most once, in rising order.

    Every row is handed to the system at once, so a killed process loses none; a row torn by a power cut is dropped
    when the run goes on.
    """

    def __init__(self, path: Path, last_step: int) -> None:
        """Open the log of a run that goes on after `last_step`: later rows are cut away."""
        self.path = path
        self.columns, rows = read_log(path)
        self._replace([row for row in rows if row["step"] <= last_step])

    def write(self, row: dict[str, float]) -> None:
        """Append a row; a column that is new widens the table."""
        new = [name for name in row if name not in self.columns]
        if new:
            _, rows = read_log(self.path)
            # Loss parts stand left of the validation metrics, whichever comes first.
            self.columns = sorted(
                [*self.columns, *new], key=lambda name: (name not in FIXED, name.startswith(VALIDATION))
            )
            self._replace(rows)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(self._line(row))

    def sync(self) -> None:
        """Make sure that what was written is on the disk."""
        with self.path.open("r+", encoding="utf-8") as file:
            os.fsync(file.fileno())

    def _replace(self, rows: list[dict[str, float]]) -> None:
        new = self.path.with_suffix(".new")
        with new.open("w", encoding="utf-8", newline="") as file:
            if self.columns:
                file.write(",".join(self.columns) + "\n")
            file.writelines(self._line(row) for row in rows)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)

    def _line(self, row: dict[str, float]) -> str:
        return ",".join(_number(row[name]) if name in row else "" for name in self.columns) + "\n"


def read_log(path: Path) -> tuple[list[str], list[dict[str, float]]]:
    """The columns and the rows of a log; absent values are absent from the row, a torn last row is left out."""
    if not path.exists():
        return [], []
    text = path.read_text(encoding="utf-8")
    reader = csv.reader(io.StringIO(text[: text.rfind("\n") + 1]))
    columns = next(reader, [])
    rows: list[dict[str, float]] = []
    for cells in reader:
        try:
            row = {name: float(cell) for name, cell in zip(columns, cells, strict=True) if cell}
        except ValueError:  # not a row of this table: a torn write
            continue
        if "step" in row:
            rows.append(row)
    return columns, rows


def draw_curve(log: Path, png: Path) -> None:
    """Draw the loss and its parts, each validation metric, and the learning rate; nothing where the log is empty."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns, rows = read_log(Path(log))
    if not rows:
        return
    parts = [name for name in columns if name not in FIXED and name != "loss" and not name.startswith(VALIDATION)]
    panels = [["loss"]] + ([parts] if parts else []) + [[n] for n in columns if n.startswith(VALIDATION)] + [["lr"]]
    width = min(3, len(panels))
    height = math.ceil(len(panels) / width)
    figure = Figure(figsize=(4.6 * width, 2.9 * height), dpi=100, layout="constrained")
    for number, names in enumerate(panels):
        axes = figure.add_subplot(height, width, number + 1)
        values: list[float] = []
        for name in names:
            points = [(row["step"], row[name]) for row in rows if math.isfinite(row.get(name, math.nan))]
            if not points:
                continue
            steps, heights = zip(*points, strict=True)
            values += heights
            plain = name == "lr" or name.startswith(VALIDATION)
            axes.plot(
                steps,
                heights,
                linewidth=1.0,
                marker="." if name != "lr" and plain else "",
                alpha=1.0 if plain else 0.35,
            )
            if not plain:
                axes.plot(steps, _smooth(heights), linewidth=1.6, color=axes.lines[-1].get_color(), label=name)
        if values and min(values) > 0 and max(values) > 10 * min(values):
            axes.set_yscale("log")
        axes.set_title(names[0] if len(names) == 1 else "parts of the loss", fontsize=9)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25)
        if len(names) > 1:
            axes.legend(fontsize=6)
    new = Path(png).with_suffix(".new.png")
    FigureCanvasAgg(figure).print_png(str(new))
    new.replace(png)


def _smooth(values: tuple[float, ...], share: float = 0.1) -> list[float]:
    mean, smooth = values[0], []
    for number, value in enumerate(values):  # a plain mean at first, so that the first values do not linger
        mean += max(share, 1 / (number + 1)) * (value - mean)
        smooth.append(mean)
    return smooth


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.7g}"
