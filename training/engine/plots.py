"""The learning curve of a run, drawn from its log."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from ...model.atomic import atomic_write
from .log import FIXED, VALIDATION, read_log


def draw_curve(log: Path, png: Path) -> None:
    """Draw the loss and its parts, each validation metric, and the learning rate.

    Args:
        log: The CSV file (`TrainingLog`); where it is empty, nothing is drawn.
        png: The file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns, rows = read_log(Path(log))
    if not rows:
        return
    parts = [name for name in columns if name not in FIXED and name != "loss" and not name.startswith(VALIDATION)]
    validations = [name for name in columns if name.startswith(VALIDATION)]
    together = [["loss"]] if "loss" in columns else []
    together += [parts] if parts else []
    panels = [*together, *([name] for name in validations), ["lr"]]
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
    with atomic_write(png) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))


def _smooth(values: Sequence[float], share: float = 0.1) -> list[float]:
    """Return the exponential moving average of values."""
    mean = values[0]
    smooth: list[float] = []
    for number, value in enumerate(values):  # a plain mean at first, so that the first values do not linger
        mean += max(share, 1 / (number + 1)) * (value - mean)
        smooth.append(mean)
    return smooth
