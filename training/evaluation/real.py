"""Evaluation on real photographs: pairs, photographs of which only the kind is known, and good ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ...model.errors import EvaluationError
from ...model.images import psnr
from ...model.vocabulary import DEGRADATIONS, PRESENT
from ..data.pairs import match_files
from ..data.photos import list_photos, read_photo
from ..data.real_photos import GOOD, UNKNOWN
from ..metrics import mean
from .inputs import to_tensor
from .pairs import read_pair
from .results import COUNT, Evaluation, Row, Table
from .runner import (
    MEAN,
    QUALITY_COLUMNS,
    WORST,
    Describe,
    GuidedRestore,
    Progress,
    mean_of,
    quality,
    quality_row,
    restored,
    restored_with,
    tracked,
)

RestoreOrdered = Callable[[Tensor, str], Tensor]
"""Takes an image [1, 3, H, W] and a degradation to the image without that degradation alone, seen or not."""

RECALLED = ("rain", "haze", "snow", "low_light", "noise")
"""The labels of which a mean is taken."""

LABELS = (*RECALLED, "blur", GOOD)

MEAN_RECALL = "mean without blur"
"""Row of the mean over `RECALLED`, or over those of them that there are."""

CHANGED = {"below 38 dB": 38.0, "below 28 dB": 28.0}
"""Limits of the PSNR of a restored good photograph to itself: below the first it is visibly another, below the second
severely."""

PAIR_COLUMNS = {**QUALITY_COLUMNS, "PSNR ordered": 2}
RECALL_COLUMNS = {COUNT: 0, "recall": 3}
GOOD_COLUMNS = {COUNT: 0, "called degraded": 3, **dict.fromkeys(CHANGED, 3), WORST: 2, "PSNR out": 2}
FALSE_ALARM_COLUMNS = {COUNT: 0, "false alarms": 3}


def evaluate_real(
    restore: GuidedRestore,
    describe: Describe,
    restore_ordered: RestoreOrdered,
    pairs_folder: str | Path,
    weak_folder: str | Path,
    *,
    split: str = "val",
    limit: int | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Measure what real photographs gain, which of their degradations are seen, and what good ones lose.

    The first table has a row per kind of pairs: PSNR and SSIM of the automatic restoration, and PSNR after the order to
    remove that kind alone. The second has the share of photographs of each label in which it is called present; what
    else they suffer from is not known. The third and fourth are about good photographs: the share that is called
    degraded by anything but JPEG; the shares that come back below 38 dB and below 28 dB, the worst and the mean PSNR to
    the photograph itself; and the share of false alarms of each degradation.

    Args:
        restore: What to evaluate; its output is rounded to 8 bits before it is measured.
        describe: Makes the guidance, once for each image.
        restore_ordered: Restores with the order to remove one degradation; gets the tensor that `describe` got last.
        pairs_folder: Holds `<kind>/<split>/input/` and `<kind>/<split>/target/`; a kind is a degradation.
        weak_folder: Holds `<label>/<split>/`; a label is one of `LABELS`.
        split: Which photographs.
        limit: Use only the first so many photographs of each folder.
        on_progress: Called after each pair and each photograph.

    Raises:
        ImageFileError: A folder is missing or holds no photos, or one cannot be read.
        EvaluationError: A folder is no kind or label; an image without its target, or of another size; a bad output.
    """
    pairs_folder, weak_folder = Path(pairs_folder), Path(weak_folder)
    kinds = _folders(pairs_folder, DEGRADATIONS)
    labels = _folders(weak_folder, LABELS)
    pairs = [
        (kind, *files)
        for kind, folder in kinds.items()
        for files in list(match_files(folder / split / "input", folder / split / "target"))[:limit]
    ]
    photos = [(label, path) for label, folder in labels.items() for path in list_photos(folder / split)[:limit]]
    total = len(pairs) + len(photos)

    scores: dict[str, list[Row]] = {kind: [] for kind in kinds}
    for kind, degraded, clean in tracked(pairs, total, on_progress):
        image, truth = read_pair(degraded, clean)
        scores[kind].append(_pair_scores(restore, describe, restore_ordered, kind, image, truth, str(degraded)))
    seen: dict[str, list[Tensor]] = {label: [] for label in labels}
    kept: list[float] = []
    for label, path in tracked(photos, total, on_progress, done=len(pairs)):
        image = to_tensor(read_photo(path))
        with torch.no_grad():
            guidance = describe(image)
        seen[label].append(guidance.scores[0].cpu() >= PRESENT)
        if label == GOOD:
            kept.append(psnr(restored_with(restore, guidance, image, str(path)), image))

    good = seen.pop(GOOD, [])
    tables = (
        Table("pairs", PAIR_COLUMNS, _with_mean({kind: quality_row(each) for kind, each in scores.items()})),
        Table("label", RECALL_COLUMNS, _recall_rows(seen)),
        Table("photographs", GOOD_COLUMNS, {GOOD: _good_row(good, kept)} if good else {}),
        Table("degradation", FALSE_ALARM_COLUMNS, _false_alarm_rows(good) if good else {}),
    )
    title = f"Real photographs: {split} of the pairs in {pairs_folder.name} and of the labels in {weak_folder.name}"
    return Evaluation(title, tables)


def _folders(parent: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """Return the folders in `parent` by name, in the order of `names`.

    Raises:
        EvaluationError: There is no folder, or one has another name.
    """
    found = {path.name for path in parent.iterdir() if path.is_dir()} if parent.is_dir() else set()
    found = {name for name in found if not name.startswith(".")}
    if not found or found - set(names):
        other = ", ".join(sorted(found - set(names))) or "no folder"
        raise EvaluationError(f"{parent} holds {other}: its folders must be named {', '.join(names)}.")
    return {name: parent / name for name in names if name in found}


def _pair_scores(
    restore: GuidedRestore,
    describe: Describe,
    restore_ordered: RestoreOrdered,
    kind: str,
    image: Tensor,
    truth: Tensor,
    what: str,
) -> Row:
    """Return the qualities of one pair, of the automatic restoration and of the ordered one."""
    with torch.no_grad():
        guidance = describe(image)
    row = quality(lambda each: restore(each, guidance), image, truth, what)
    ordered = restored(lambda each: restore_ordered(each, kind), image, f"{what}, ordered")
    return row | {"PSNR ordered": psnr(ordered, truth)}


def _with_mean(rows: dict[str, Row]) -> dict[str, Row]:
    return {**rows, MEAN: mean_of(rows)} if len(rows) > 1 else rows


def _share(flags: list[bool]) -> float:
    return mean([float(flag) for flag in flags])


def _recall_rows(seen: dict[str, list[Tensor]]) -> dict[str, Row]:
    """Return a row per label, from the [7] that are called present in each of its photographs, and the mean."""
    rows: dict[str, Row] = {}
    for label, each in seen.items():
        index = DEGRADATIONS.index(label)
        rows[label] = {COUNT: len(each), "recall": _share([bool(present[index]) for present in each])}
    counted = {label: row for label, row in rows.items() if label in RECALLED}
    if counted:
        rows[MEAN_RECALL] = mean_of(counted)
    return rows


def _good_row(seen: list[Tensor], kept: list[float]) -> Row:
    """Return the row of the good photographs, from what is called present in each and its PSNR to itself."""
    judged = [index for index, name in enumerate(DEGRADATIONS) if name not in UNKNOWN]
    return {
        COUNT: len(seen),
        "called degraded": _share([bool(present[judged].any()) for present in seen]),
        **{column: _share([value < limit for value in kept]) for column, limit in CHANGED.items()},
        WORST: min(kept),
        "PSNR out": mean(kept),
    }


def _false_alarm_rows(seen: list[Tensor]) -> dict[str, Row]:
    return {
        name: {COUNT: len(seen), "false alarms": _share([bool(present[index]) for present in seen])}
        for index, name in enumerate(DEGRADATIONS)
    }
