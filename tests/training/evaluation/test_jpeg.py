"""Evaluation of JPEG: what goes in is what a JPEG file holds, and the means say which rows they are of."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mofe_restore.model.images import PSNR_CAP, psnr
from mofe_restore.tests.factories import write_photo
from mofe_restore.training.data.photos import read_photo
from mofe_restore.training.evaluation.inputs import to_tensor
from mofe_restore.training.evaluation.jpeg import evaluate_jpeg

ROWS = [f"quality {quality}{kind}" for quality in (10, 20, 30, 40) for kind in ("", ", double", ", off grid")]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return write_photo(tmp_path / "one" / "photo.png", 1)


def saved(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Bytes as Pillow writes and reads them by default."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def inputs(folder: Path) -> list[Tensor]:
    seen: list[Tensor] = []
    evaluate_jpeg(lambda image: seen.append(image) or image, folder)  # type: ignore[func-returns-value]
    return seen


def test_the_input_is_a_file_compressed_once_twice_or_cropped_off_the_grid(photo: Path) -> None:
    clean = np.asarray(Image.open(photo))
    seen = [(image[0] * 255).round().byte().permute(1, 2, 0).numpy() for image in inputs(photo.parent)]
    assert len(seen) == len(ROWS)
    for number, quality in enumerate((10, 20, 30, 40)):
        once, double, off_grid = seen[3 * number : 3 * number + 3]
        assert np.array_equal(once, saved(clean, quality))
        assert np.array_equal(double, saved(saved(clean, 75), quality)) and not np.array_equal(double, once)
        assert np.array_equal(off_grid, once[3:, 5:]) and off_grid.shape == (45, 51, 3)


def test_the_target_is_cropped_like_the_image(photo: Path) -> None:
    clean = to_tensor(read_photo(photo))

    def perfect(image: Tensor) -> Tensor:
        return clean if image.shape == clean.shape else clean[..., 3:, 5:]

    rows = evaluate_jpeg(perfect, photo.parent).tables[0].rows
    assert {row["PSNR out"] for row in rows.values()} == {PSNR_CAP}
    assert all(row["PSNR in"] < 45 for row in rows.values())


def test_every_row_names_its_number_of_images_and_its_worst_one(photos: Path) -> None:
    seen: list[tuple[int, int]] = []
    table = evaluate_jpeg(lambda x: x * 0.9, photos, limit=2, on_progress=lambda *step: seen.append(step)).tables[0]
    assert list(table.columns) == ["n", "PSNR in", "PSNR out", "worst out", "gain", "SSIM in", "SSIM out"]
    assert list(table.rows) == [*ROWS, "mean", "mean, double", "mean, off grid"]
    assert [row["n"] for row in table.rows.values()] == [2] * 12 + [8] * 3
    assert all(row["worst out"] < row["PSNR out"] for row in table.rows.values())
    assert seen == [(n, 24) for n in range(1, 25)]


def test_each_kind_of_files_has_a_mean_of_its_own(photos: Path) -> None:
    def spoil_what_is_cropped(image: Tensor) -> Tensor:
        return image if image.shape[-1] == 56 else torch.zeros_like(image)

    result = evaluate_jpeg(spoil_what_is_cropped, photos, limit=1)
    rows = result.tables[0].rows
    assert result.value("mean", "gain") == 0 and result.value("mean, off grid", "gain") < -3
    assert result.value("mean", "PSNR in") == pytest.approx(np.mean([rows[n]["PSNR in"] for n in ROWS[::3]]))
    assert result.value("mean, double", "PSNR in") == pytest.approx(np.mean([rows[n]["PSNR in"] for n in ROWS[1::3]]))


def test_a_row_is_the_mean_over_photos_and_the_same_every_time(photos: Path) -> None:
    result = evaluate_jpeg(torch.clone, photos)
    expected = []
    for path in sorted(photos.iterdir()):
        clean = np.asarray(Image.open(path))
        expected.append(psnr(to_tensor(saved(clean, 20) / 255), to_tensor(clean / 255)))
    assert result.value("quality 20", "PSNR in") == pytest.approx(np.mean(expected), abs=1e-4)
    assert result.to_json() == evaluate_jpeg(torch.clone, photos).to_json()
