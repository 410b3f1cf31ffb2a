"""Evaluation of blur: kernels have the stated widths, a photo's motion one direction, and the weak noise is weak."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mofe_restore.model.images import PSNR_CAP
from mofe_restore.training.data.photos import read_photo
from mofe_restore.training.evaluation.blur import evaluate_blur
from mofe_restore.training.evaluation.inputs import to_tensor

KERNELS = (
    *(f"Gaussian {sigma}" for sigma in ("0.8", "1.6", "2.4", "3.0")),
    *(f"motion {length}" for length in ("5", "9", "15", "21")),
    *(f"defocus {radius}" for radius in ("1.5", "3", "5")),
)
ROWS = [f"{kernel}, {noise}" for kernel in KERNELS for noise in ("no noise", "weak noise")]


def edges(path: Path) -> Path:
    """A folder with an image whose red has a vertical edge in the middle, and whose green a horizontal one."""
    pixels = np.zeros((80, 80, 3), dtype=np.uint8)
    pixels[:, 40:, 0] = pixels[40:, :, 1] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path.parent


def inputs(folder: Path, seed: int = 0) -> dict[str, Tensor]:
    """The images of a folder with one photo, by row."""
    seen: list[Tensor] = []
    evaluate_blur(lambda image: seen.append(image) or image, folder, seed=seed)  # type: ignore[func-returns-value]
    return dict(zip(ROWS, seen, strict=True))


def variances(image: Tensor) -> tuple[float, float]:
    """The variances in px² of the kernel along x and y, from how the edges of `edges` were smeared."""

    def variance(profile: Tensor) -> float:
        slope, place = profile.diff().double(), torch.arange(79.0, dtype=torch.float64) - 39
        return float((slope * place**2).sum() - (slope * place).sum() ** 2)

    return variance(image[0, 0, 40]), variance(image[0, 1, :, 40])


def direction(image: Tensor) -> float:
    along_x, along_y = variances(image)
    return math.degrees(math.atan2(max(along_y, 0) ** 0.5, max(along_x, 0) ** 0.5))


def test_kernels_have_the_widths_that_the_rows_state(tmp_path: Path) -> None:
    seen = inputs(edges(tmp_path / "a.png"))
    for kernel in KERNELS:
        name, size = kernel.split()
        expected = {"Gaussian": 2 * float(size) ** 2, "motion": float(size) ** 2 / 12, "defocus": float(size) ** 2 / 2}
        found = sum(variances(seen[f"{kernel}, no noise"]))
        if name == "motion":
            found -= 2 / 6  # of the path, which is drawn antialiased
        assert found == pytest.approx(expected[name], rel=0.08, abs=0.17), kernel


def test_the_motion_of_a_photo_has_one_direction_which_its_name_and_the_seed_fix(tmp_path: Path) -> None:
    first = inputs(edges(tmp_path / "first" / "a.png"))
    lengths = [direction(first[f"motion {length}, no noise"]) for length in (9, 15, 21)]
    assert max(lengths) - min(lengths) < 6
    again = inputs(edges(tmp_path / "again" / "a.png"))
    assert all(first[row].equal(again[row]) for row in ROWS)
    other_name = inputs(edges(tmp_path / "other" / "b.png"))
    other_seed = inputs(tmp_path / "first", seed=1)
    for other in (other_name, other_seed):
        assert not first["motion 21, no noise"].equal(other["motion 21, no noise"])
        assert not first["defocus 3, weak noise"].equal(other["defocus 3, weak noise"])
        assert first["defocus 3, no noise"].equal(other["defocus 3, no noise"])


def test_only_the_weak_noise_adds_noise_of_two_steps_and_both_are_rounded_to_bytes(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (120, 120, 120)).save(tmp_path / "grey.png")
    seen = inputs(tmp_path)
    for row, image in seen.items():
        bytes_ = image * 255
        assert bytes_.allclose(bytes_.round(), atol=1e-3)
        expected = (4 + 1 / 12) ** 0.5 if row.endswith("weak noise") else 0.0  # rounding adds a twelfth
        assert float(bytes_.std()) == pytest.approx(expected, rel=0.04), row
        assert float(bytes_.mean()) == pytest.approx(120, abs=0.2)


def test_every_row_names_its_number_of_images_and_each_noise_has_a_mean(photos: Path) -> None:
    seen: list[tuple[int, int]] = []
    table = evaluate_blur(lambda x: x * 0.9, photos, limit=2, on_progress=lambda *step: seen.append(step)).tables[0]
    assert list(table.columns) == ["n", "PSNR in", "PSNR out", "worst out", "gain", "SSIM in", "SSIM out"]
    assert list(table.rows) == [*ROWS, "mean, no noise", "mean, weak noise"]
    assert [row["n"] for row in table.rows.values()] == [2] * 22 + [22, 22]
    for noise in ("no noise", "weak noise"):
        of_kernels = [table.rows[f"{kernel}, {noise}"] for kernel in KERNELS]
        assert table.rows[f"mean, {noise}"]["gain"] == pytest.approx(np.mean([row["gain"] for row in of_kernels]))
        assert table.rows[f"mean, {noise}"]["worst out"] == min(row["worst out"] for row in of_kernels)
    assert table.rows["mean, no noise"]["PSNR in"] > table.rows["mean, weak noise"]["PSNR in"]
    assert seen == [(n, 44) for n in range(1, 45)]


def test_the_target_is_the_sharp_photo(photos: Path) -> None:
    sharp = to_tensor(read_photo(photos / "photo0.png"))
    rows = evaluate_blur(lambda _: sharp, photos, limit=1).tables[0].rows
    assert {row["PSNR out"] for row in rows.values()} == {PSNR_CAP}
