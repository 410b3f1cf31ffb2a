"""Evaluation of denoising: noise of the stated level goes in, and a row says what came out."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

from mofe_restore.tests.training.stand_ins import save, unchanged
from mofe_restore.training.composites import to_tensor
from mofe_restore.training.denoising import evaluate_denoising
from mofe_restore.training.metrics import PSNR_CAP
from mofe_restore.training.photos import read_photo


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    save(tmp_path / "clean" / "photo.png", 1)
    return tmp_path / "clean"


def test_the_input_has_noise_of_the_stated_level(photos: Path) -> None:
    rows = evaluate_denoising(unchanged, photos).tables[0].rows
    for sigma, expected in ((15, 24.6), (25, 20.2), (50, 14.2)):  # 20 log10(255 / sigma)
        assert rows[f"sigma {sigma}"]["PSNR in"] == pytest.approx(expected, abs=0.7)  # clipping takes some of it
        assert rows[f"sigma {sigma}"]["gain"] == 0


def test_a_perfect_denoiser_gets_the_cap_and_the_noise_is_the_same_every_time(photos: Path) -> None:
    seen: list[Tensor] = []

    def perfect(picture: Tensor) -> Tensor:
        seen.append(picture)
        return to_tensor(read_photo(photos / "photo.png"))

    first, second = (evaluate_denoising(perfect, photos) for _ in range(2))
    assert first.value("sigma 50", "PSNR out") == PSNR_CAP
    assert all(a.equal(b) for a, b in zip(seen[:3], seen[3:], strict=True))
    assert first.to_json() == second.to_json()
