"""Evaluation on published sets exactly as the field measures them, beside the field's numbers.

Who prescribes what:

- CDD-11: OneRestore, `img_file/cal_psnr_ssim.py`: 8-bit files of the whole image, RGB, PSNR, SSIM of scikit-image with
  a uniform window of 7 px, means over the images of a combination, then over the eleven.
- Three and five tasks: PromptIR and AdaIR, `utils/dataset_utils.py` and `utils/val_utils.py`: the middle of the image
  whose sides are multiples of 16 px, RGB, the output clamped but not rounded, the same SSIM. Noise is NumPy's with seed
  0, cut off to bytes; the order of the files, which theirs leaves to the file system, is that of MoCE-IR's
  `src/test.py`, by name. MoCE-IR itself takes an SSIM with a Gaussian window; its PSNR is the same.
- LIVE1: FBCNN, `main_test_fbcnn_color.py`, `main_test_fbcnn_gray.py` and `utils/utils_image.py`: 8 bits, in RGB and in
  grey (Y) with JPEG of the grey image; PSNR, SSIM with a Gaussian window of 11 px, PSNR-B.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...model.errors import EvaluationError
from ...model.images import psnr
from ...model.synthesis.severities import COMBINATIONS
from ..data.pairs import match_files
from ..data.photos import list_photos, read_photo
from ..data.published import CLEAR, cdd11_folder, images_of_test_set, pairs_of_test_set
from ..metrics import luma, psnr_b, quantise, ssim, uniform_ssim
from .denoising import SIGMAS
from .field import beside_field
from .inputs import to_tensor
from .jpeg import QUALITIES, compressed
from .pairs import read_pair
from .results import Evaluation, Row, Table
from .runner import MEAN, QUALITY_COLUMNS, Progress, Restore, checked, mean_of, quality_row, tracked

MULTIPLE = 16
"""Of which the sides of the images of three and five tasks are made multiples, in px."""

NOISE_SEED = 0

FULL = {"CDD-11": 2200, "SOTS": 500, "Rain100L": 100, "BSD68": 68, "GoPro": 1111, "LOL": 15, "LIVE1": 29}
"""Images of each whole test set."""

BLOCK_COLUMNS = {**QUALITY_COLUMNS, "PSNR-B in": 2, "PSNR-B out": 2}

Measure = Callable[[Tensor, Tensor], Row]
"""Takes an image and its truth [1, C, H, W] to its numbers."""


@dataclass(frozen=True)
class _Case:
    """One image of a protocol: its row, its name in messages, and how to read it, degraded and clean."""

    row: str
    name: str
    read: Callable[[], tuple[Tensor, Tensor]]


def evaluate_cdd11(
    restore: Restore,
    folder: str | Path,
    *,
    limit: int | None = None,
    on_progress: Progress | None = None,
    parameters: float = float("nan"),
) -> Evaluation:
    """Measure CDD-11 as OneRestore's authors do: a row per combination and their mean, then the field's numbers.

    Args:
        restore: What to evaluate.
        folder: Holds `clear/` and the eleven combinations, or `CDD-11_test/` or `test/` with these.
        limit: Use only the first so many images of each combination.
        on_progress: Called after each image.
        parameters: Millions of parameters of what is evaluated, for the comparison.

    Raises:
        ImageFileError: A folder holds no photos, or one cannot be read.
        EvaluationError: A combination is missing, an image has no clean one or one of another size, or a bad output.
    """
    base = cdd11_folder(Path(folder), "test")
    missing = [name for name in COMBINATIONS if base is None or not (base / name).is_dir()]
    if base is None or missing:
        raise EvaluationError(
            f"{folder} is not the test set of CDD-11: it needs {CLEAR}/ and beside it {', '.join(missing)}."
        )
    cases = [
        _Case(name, str(degraded), functools.partial(read_pair, degraded, clean))
        for name in COMBINATIONS
        for degraded, clean in list(match_files(base / name, base / CLEAR))[:limit]
    ]
    return _evaluation("cdd11", restore, cases, _of_files(uniform_ssim), FULL["CDD-11"], on_progress, parameters)


def evaluate_three_tasks(
    restore: Restore,
    folder: str | Path,
    *,
    limit: int | None = None,
    on_progress: Progress | None = None,
    parameters: float = float("nan"),
) -> Evaluation:
    """Measure haze (SOTS outdoor), rain (Rain100L) and noise (BSD68, sigma 15, 25, 50), then the field's numbers.

    Args:
        restore: What to evaluate.
        folder: The data folder of AirNet's, PromptIR's, AdaIR's or MoCE-IR's code, see `data.published`.
        limit: Use only the first so many images of each set.
        on_progress: Called after each image.
        parameters: Millions of parameters of what is evaluated, for the comparison.

    Raises:
        ImageFileError: A folder holds no photos, or one cannot be read.
        EvaluationError: A set is missing, an image has no clean one or one of another size, or a bad output.
    """
    cases, full = _tasks(Path(folder), SIGMAS, (), limit)
    return _evaluation("three_tasks", restore, cases, _clamped(uniform_ssim), full, on_progress, parameters)


def evaluate_five_tasks(
    restore: Restore,
    folder: str | Path,
    *,
    limit: int | None = None,
    on_progress: Progress | None = None,
    parameters: float = float("nan"),
) -> Evaluation:
    """Measure the same haze and rain, noise of sigma 25, motion blur (GoPro) and low light (LOL).

    Args, result and errors are those of `evaluate_three_tasks`.
    """
    cases, full = _tasks(Path(folder), (25,), ("GoPro", "LOL"), limit)
    return _evaluation("five_tasks", restore, cases, _clamped(uniform_ssim), full, on_progress, parameters)


def evaluate_live1(
    restore: Restore, folder: str | Path, *, limit: int | None = None, on_progress: Progress | None = None
) -> Evaluation:
    """Measure JPEG of quality 10 to 40 in RGB and in grey (Y), with PSNR-B.

    Args:
        restore: What to evaluate; grey images are given to it as three equal channels, and its output is made grey.
        folder: The 29 color images of LIVE1.
        limit: Use only the first so many.
        on_progress: Called after each image.

    Raises:
        ImageFileError: The folder holds no photos, or one cannot be read.
        EvaluationError: A bad output.
    """
    photos = list_photos(folder)[:limit]
    total = 2 * len(photos) * len(QUALITIES)
    tables = []
    for number, (name, is_grey) in enumerate((("JPEG in RGB", False), ("JPEG in Y", True))):
        scores: dict[str, list[Row]] = {f"quality {quality}": [] for quality in QUALITIES}
        inputs = _compressed(photos, is_grey)
        for photo, row, image, truth in tracked(inputs, total, on_progress, done=number * total // 2):
            output = checked(restore, image.expand(-1, 3, -1, -1), f"{photo} at {row}")
            scores[row].append(_score(_of_blocks, image, luma(output) if is_grey else output, truth))
        tables.append(Table(name, BLOCK_COLUMNS, {row: quality_row(each) for row, each in scores.items()}))
    title = f"JPEG of {_of_all(len(photos), FULL['LIVE1'])} images of LIVE1"
    return Evaluation(title, tuple(tables))


def _evaluation(
    board: str,
    restore: Restore,
    cases: list[_Case],
    measure: Measure,
    full: int,
    on_progress: Progress | None,
    parameters: float,
) -> Evaluation:
    """Measure all cases; return the table of the rows, and that of the field."""
    scores: dict[str, list[Row]] = {case.row: [] for case in cases}
    for case in tracked(cases, len(cases), on_progress):
        image, truth = case.read()
        output = checked(restore, image, case.name)
        scores[case.row].append(_score(measure, image, output, truth))
    rows = {name: quality_row(each) for name, each in scores.items()}
    rows[MEAN] = mean_of(rows)
    field = beside_field(board, rows, parameters)
    title = f"{field.title}: {_of_all(len(cases), full)} images, measured as {field.measured_as}"
    return Evaluation(title, (Table("set", QUALITY_COLUMNS, rows), field.table))


def _of_all(count: int, full: int) -> str:
    return str(count) if count == full else f"{count} of {full}"


def _score(measure: Measure, image: Tensor, output: Tensor, truth: Tensor) -> Row:
    before, after = measure(image, truth), measure(output, truth)
    return {f"{name} {when}": row[name] for name in before for when, row in (("in", before), ("out", after))}


def _of_files(similarity: Callable[[Tensor, Tensor], float]) -> Measure:
    """Return the measure of 8-bit files."""
    return lambda image, truth: _clamped(similarity)(quantise(image), truth)


def _of_blocks(image: Tensor, truth: Tensor) -> Row:
    """Measure 8-bit files that JPEG has cut into blocks."""
    return _of_files(ssim)(image, truth) | {"PSNR-B": psnr_b(quantise(image), truth)}


def _clamped(similarity: Callable[[Tensor, Tensor], float]) -> Measure:
    """Return the measure of outputs that are not rounded."""
    return lambda image, truth: {"PSNR": psnr(image, truth), "SSIM": similarity(image, truth)}


def _tasks(folder: Path, sigmas: tuple[int, ...], more: tuple[str, ...], limit: int | None) -> tuple[list[_Case], int]:
    """Return the images of haze, rain, noise of these levels and more sets of pairs, and how many whole sets have."""
    first = ("SOTS", "Rain100L")
    cases = [case for name in first for case in _pairs(folder, name, limit)]
    cases += _noisy(folder, sigmas, limit)
    cases += [case for name in more for case in _pairs(folder, name, limit)]
    return cases, sum(FULL[name] for name in (*first, *more)) + len(sigmas) * FULL["BSD68"]


def _pairs(folder: Path, name: str, limit: int | None) -> Iterator[_Case]:
    def read(degraded: Path, clean: Path) -> tuple[Tensor, Tensor]:
        image, truth = read_pair(degraded, clean)
        return _middle(image), _middle(truth)

    for degraded, clean in pairs_of_test_set(folder, name)[:limit]:
        yield _Case(name, str(degraded), functools.partial(read, degraded, clean))


def _noisy(folder: Path, sigmas: tuple[int, ...], limit: int | None) -> Iterator[_Case]:
    """Yield the images of BSD68 with noise, which is drawn in the order in which they are read."""
    photos = list_photos(images_of_test_set(folder, "BSD68"))[:limit]
    noise = np.random.RandomState(NOISE_SEED)

    def read(photo: Path, sigma: int) -> tuple[Tensor, Tensor]:
        truth = _middle(to_tensor(read_photo(photo)))
        clean = (truth[0].permute(1, 2, 0).numpy() * 255).round()
        noisy = np.clip(clean + noise.randn(*clean.shape) * sigma, 0, 255).astype(np.uint8)
        return torch.from_numpy(noisy).permute(2, 0, 1)[None].float() / 255, truth

    for sigma in sigmas:
        for photo in photos:
            name = f"{photo} with noise of {sigma}"
            yield _Case(f"BSD68, sigma {sigma}", name, functools.partial(read, photo, sigma))


def _middle(image: Tensor) -> Tensor:
    """Return the middle of an image [1, 3, H, W] whose sides are multiples of `MULTIPLE`."""
    top, left = (length % MULTIPLE // 2 for length in image.shape[2:])
    height, width = (length // MULTIPLE * MULTIPLE for length in image.shape[2:])
    return image[..., top : top + height, left : left + width]


def _compressed(photos: list[Path], is_grey: bool) -> Iterator[tuple[str, str, Tensor, Tensor]]:
    """Yield the photo's name, the row, and the compressed and the clean image, [1, 3, H, W] or in grey [1, 1, H, W]."""
    for photo in photos:
        clean = read_photo(photo)
        truth = luma(to_tensor(clean)) if is_grey else to_tensor(clean)
        for quality in QUALITIES:
            image = _grey_jpeg(truth, quality) if is_grey else to_tensor(compressed(clean, quality))
            yield photo.name, f"quality {quality}", image, truth


def _grey_jpeg(image: Tensor, quality: int) -> Tensor:
    """Return a grey image [1, 1, H, W] as it comes back from a grey JPEG file."""
    file = io.BytesIO()
    Image.fromarray((image[0, 0] * 255).round().to(torch.uint8).numpy()).save(file, "JPEG", quality=quality)
    with Image.open(file) as coded:
        return torch.from_numpy(np.array(coded))[None, None].float() / 255
