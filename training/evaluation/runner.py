"""What the evaluations share: checked restoration, rows of PSNR and SSIM and their means, progress."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from ...model.errors import EvaluationError
from ...model.guidance import Guidance
from ...model.images import psnr
from ..metrics import mean, quantise, ssim
from .results import COUNT, Row

T = TypeVar("T")

Restore = Callable[[Tensor], Tensor]
"""Takes an image [1, 3, H, W], float32 in 0..1, to one of the same size, clamped or not, on any device."""
GuidedRestore = Callable[[Tensor, Guidance | None], Tensor]
"""The same under guidance; None means without."""
Describe = Callable[[Tensor], Guidance]
"""Takes an image [1, 3, H, W] in 0..1 to its guidance."""
Progress = Callable[[int, int], None]
"""Called with the number of images done and the number of all."""

MEAN = "mean"
"""Row of the means over the other rows."""

WORST = "worst out"
"""Column with the PSNR of the image that came out worst, which a mean hides."""

QUALITY_COLUMNS = {COUNT: 0, "PSNR in": 2, "PSNR out": 2, WORST: 2, "gain": 2, "SSIM in": 4, "SSIM out": 4}


def tracked(items: Iterable[T], total: int, on_progress: Progress | None, done: int = 0) -> Iterator[T]:
    """Yield the items, and report each one as done when the next is asked for.

    Args:
        items: What a loop goes through.
        total: Number of steps in all.
        on_progress: Gets the steps done and `total`; None reports nothing.
        done: Steps done before the first item.
    """
    for number, item in enumerate(items, done + 1):
        yield item
        if on_progress:
            on_progress(number, total)


def restored_with(restore: GuidedRestore, guidance: Guidance | None, image: Tensor, what: str) -> Tensor:
    """Return the same as `restored`, for a restoration that takes guidance."""
    return restored(lambda each: restore(each, guidance), image, what)


def restored(restore: Restore, image: Tensor, what: str) -> Tensor:
    """Return the output of a restoration, checked and rounded to 8 bits.

    Args:
        restore: The restoration.
        image: [1, 3, H, W] in 0..1.
        what: The name of the image in messages.

    Raises:
        EvaluationError: The output has another size or is not finite.
    """
    return quantise(checked(restore, image, what))


def checked(restore: Restore, image: Tensor, what: str) -> Tensor:
    """Return the output of a restoration, checked as by `restored`: float32 on the CPU, clamped to 0..1."""
    with torch.no_grad():
        output = restore(image)
    if output.shape != image.shape:
        raise EvaluationError(f"The restoration of {what} has shape {list(output.shape)}, not {list(image.shape)}.")
    if not bool(torch.isfinite(output).all()):
        raise EvaluationError(f"The restoration of {what} has values that are not finite.")
    return output.detach().float().cpu().clamp(0.0, 1.0)


def quality(restore: Restore, image: Tensor, truth: Tensor, what: str) -> Row:
    """Return PSNR and SSIM of an image and of its restoration, which is checked as by `restored`."""
    output = restored(restore, image, what)
    return {
        "PSNR in": psnr(image, truth),
        "PSNR out": psnr(output, truth),
        "SSIM in": ssim(image, truth),
        "SSIM out": ssim(output, truth),
    }


def quality_row(scores: list[Row]) -> Row:
    """Return the row of one set of images from the `quality` of each: the means, the gain and the worst."""
    row = mean_row(scores)
    worst = min(score["PSNR out"] for score in scores)
    return {**row, WORST: worst, "gain": row["PSNR out"] - row["PSNR in"]}


def mean_row(scores: list[Row]) -> Row:
    """Return the number of images and the mean of each column over them."""
    return {COUNT: len(scores), **{column: mean([score[column] for score in scores]) for column in scores[0]}}


def mean_of(rows: dict[str, Row], total: str = COUNT) -> Row:
    """Return the mean over rows, each of which counts the same, however many images it has.

    Args:
        rows: The rows by name.
        total: Column that is summed. Of `WORST` the minimum is taken.
    """
    combine: dict[str, Callable[[list[float]], float]] = {total: sum, WORST: min}
    columns = next(iter(rows.values()))
    return {column: combine.get(column, mean)([row[column] for row in rows.values()]) for column in columns}
