"""Evaluation of composites: all combinations, low light without noise, and clean images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mofe_restore.model.images import PSNR_CAP, psnr
from mofe_restore.model.synthesis.severities import COMBINATIONS
from mofe_restore.training.data.photos import read_photo
from mofe_restore.training.evaluation.composites import evaluate_composites
from mofe_restore.training.evaluation.inputs import composite, to_tensor
from mofe_restore.training.metrics import quantise


def test_composites_report_all_eleven_their_mean_and_clean_with_input_beside_output(photos: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = evaluate_composites(torch.clone, photos, on_progress=lambda *step: seen.append(step))
    rows = result.tables[0].rows
    assert tuple(rows) == (*COMBINATIONS, "mean", "low, no noise", "clean")
    assert all(row["PSNR in"] == row["PSNR out"] and row["gain"] == 0 for row in rows.values())
    assert rows["clean"]["PSNR out"] == PSNR_CAP and rows["clean"]["SSIM out"] == pytest.approx(1.0, abs=1e-5)
    assert all(rows[name]["PSNR in"] < 35 for name in COMBINATIONS)
    assert result.value("mean", "PSNR out") == pytest.approx(np.mean([rows[n]["PSNR out"] for n in COMBINATIONS]))
    assert seen == [(n, 39) for n in range(1, 40)]


def test_the_images_can_be_saved_as_jpeg_which_their_originals_are_not(photos: Path) -> None:
    images: dict[int | None, list[Tensor]] = {}
    for quality in (None, 90):
        kept = images.setdefault(quality, [])
        result = evaluate_composites(
            lambda image, kept=kept: kept.append(image) or image, photos, limit=1, quality_saved=quality
        )
    assert "saved as JPEG of quality 90" in result.title
    assert 25 < result.value("clean", "PSNR in") < 50
    for before, after in zip(images[None], images[90], strict=True):
        assert not torch.equal(before, after) and psnr(after, before) > 20


def test_every_row_names_its_number_of_images_and_its_worst_one(photos: Path) -> None:
    table = evaluate_composites(lambda image: image * 0.9, photos).tables[0]
    assert list(table.columns) == ["n", "PSNR in", "PSNR out", "worst out", "gain", "SSIM in", "SSIM out"]
    assert {name: row["n"] for name, row in table.rows.items()} == dict.fromkeys(table.rows, 3) | {"mean": 33}
    assert all(row["worst out"] < row["PSNR out"] for row in table.rows.values())
    assert table.rows["mean"]["worst out"] == min(table.rows[name]["worst out"] for name in COMBINATIONS)


def test_low_light_without_noise_is_the_same_darkness_without_the_noise(photos: Path) -> None:
    seen: list[Tensor] = []
    evaluate_composites(lambda image: seen.append(image) or image, photos, limit=1)  # type: ignore[func-returns-value]
    noisy, quiet, clean = seen[0], seen[-2], seen[-1]
    assert noisy.mean().item() == pytest.approx(quiet.mean().item(), abs=0.02)
    assert quiet.mean() < 0.8 * clean.mean()
    assert (noisy - quiet).std() > 0.015


def test_a_row_is_the_mean_over_photos_of_the_rounded_output(photos: Path) -> None:
    def brighten(image: Tensor) -> Tensor:
        return image + 0.37 / 255 + 0.1

    result = evaluate_composites(brighten, photos, limit=2)
    expected = []
    for path in sorted(photos.iterdir())[:2]:
        clean = read_photo(path)
        output = quantise(brighten(to_tensor(composite(clean, "haze_snow", path.name, 0).image)))
        expected.append(psnr(output, to_tensor(clean)))
    assert result.value("haze_snow", "PSNR out") == pytest.approx(np.mean(expected), abs=1e-6)
    assert result.value("haze_snow", "n") == 2
