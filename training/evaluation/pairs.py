"""Evaluation on pairs of degraded and clean files."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ...model.errors import EvaluationError
from ..data.pairs import match_files, pair_folders
from ..data.photos import read_photo
from .inputs import to_tensor
from .results import Evaluation, Row, Table
from .runner import MEAN, QUALITY_COLUMNS, Progress, Restore, mean_of, quality, quality_row, tracked


def evaluate_pairs(
    restore: Restore, folder: str | Path, *, limit: int | None = None, on_progress: Progress | None = None
) -> Evaluation:
    """Measure PSNR and SSIM on pairs of degraded and clean files, and the mean over several sets of pairs.

    Args:
        restore: What to evaluate; its output is rounded to 8 bits before it is measured.
        folder: Holds pairs in one of the layouts of `pair_folders`, matched by name as `match_files` does.
        limit: Use only the first so many pairs of each set.
        on_progress: Called after each pair.

    Raises:
        ImageFileError: A folder holds no photos, or one cannot be read.
        EvaluationError: Another layout; an image without its target, or of another size; a bad output.
    """
    folder = Path(folder)
    sets = {name: list(match_files(*folders))[:limit] for name, folders in pair_folders(folder).items()}
    pairs = [(name, *files) for name, matched in sets.items() for files in matched]
    scores: dict[str, list[Row]] = {name: [] for name in sets}
    for name, degraded, clean in tracked(pairs, len(pairs), on_progress):
        image, truth = read_pair(degraded, clean)
        scores[name].append(quality(restore, image, truth, str(degraded)))
    rows = {name: quality_row(each) for name, each in scores.items()}
    if len(rows) > 1:
        rows[MEAN] = mean_of(rows)
    return Evaluation(f"Pairs in {folder.name}", (Table("folder", QUALITY_COLUMNS, rows),))


def read_pair(degraded: Path, clean: Path) -> tuple[Tensor, Tensor]:
    """Read a degraded and a clean file as [1, 3, H, W] in 0..1.

    Raises:
        ImageFileError: One cannot be read.
        EvaluationError: Their sizes differ.
    """
    image, truth = to_tensor(read_photo(degraded)), to_tensor(read_photo(clean))
    if image.shape != truth.shape:
        raise EvaluationError(
            f"{degraded} is {_size(image)} but its target {clean} is {_size(truth)}: pairs need equal sizes."
        )
    return image, truth


def _size(image: Tensor) -> str:
    return f"{image.shape[-1]} x {image.shape[-2]}"
