"""Evaluation of denoising: noise of the stated level goes in, and a row says what came out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mofe_restore.model.images import PSNR_CAP
from mofe_restore.tests.factories import write_photo
from mofe_restore.training.data.photos import read_photo
from mofe_restore.training.evaluation.denoising import evaluate_denoising
from mofe_restore.training.evaluation.inputs import to_tensor


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photo(tmp_path / "clean" / "photo.png", 1)
    return tmp_path / "clean"


def test_the_input_has_noise_of_the_stated_level(photos: Path) -> None:
    rows = evaluate_denoising(torch.clone, photos).tables[0].rows
    for sigma, expected in ((15, 24.6), (25, 20.2), (50, 14.2)):  # 20 log10(255 / sigma)
        assert rows[f"sigma {sigma}"]["PSNR in"] == pytest.approx(expected, abs=0.7)  # clipping takes some of it
        assert rows[f"sigma {sigma}"]["gain"] == 0 and rows[f"sigma {sigma}"]["n"] == 1


def test_a_perfect_denoiser_gets_the_cap_and_the_noise_is_the_same_every_time(photos: Path) -> None:
    seen: list[Tensor] = []

    def perfect(image: Tensor) -> Tensor:
        seen.append(image)
        return to_tensor(read_photo(photos / "photo.png"))

    first, second = (evaluate_denoising(perfect, photos) for _ in range(2))
    assert first.value("sigma 50", "PSNR out") == PSNR_CAP
    assert all(a.equal(b) for a, b in zip(seen[:3], seen[3:], strict=True))
    assert first.to_json() == second.to_json()
