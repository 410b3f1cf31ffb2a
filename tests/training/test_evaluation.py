"""Evaluation: the numbers are right, and a bad output is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from mofe_restore.model.guidance import DEGRADATIONS, PARAMETERS, Guidance
from mofe_restore.model.imaging.degradations import COMBINATIONS
from mofe_restore.tests.training.stand_ins import guidance, save, unchanged
from mofe_restore.training.composites import composite, mixtures, to_tensor
from mofe_restore.training.evaluation import (
    EvaluationError,
    evaluate_composites,
    evaluate_descriptions,
    evaluate_guidance,
)
from mofe_restore.training.metrics import PSNR_CAP, psnr, quantise
from mofe_restore.training.photos import list_photos, read_photo


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(3):
        save(tmp_path / "clean" / f"photo{number}.png", number)
    return tmp_path / "clean"


def test_composites_report_all_eleven_their_mean_and_clean_with_input_beside_output(photos: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = evaluate_composites(unchanged, photos, on_progress=lambda *step: seen.append(step))
    rows = result.tables[0].rows
    assert tuple(rows) == (*COMBINATIONS, "mean", "low, no noise", "clean")
    assert all(row["PSNR in"] == row["PSNR out"] and row["gain"] == 0 for row in rows.values())
    assert rows["clean"]["PSNR out"] == PSNR_CAP and rows["clean"]["SSIM out"] == pytest.approx(1.0, abs=1e-5)
    assert all(rows[name]["PSNR in"] < 35 for name in COMBINATIONS)
    assert result.value("mean", "PSNR out") == pytest.approx(np.mean([rows[n]["PSNR out"] for n in COMBINATIONS]))
    assert seen == [(n, 39) for n in range(1, 40)]


def test_low_light_without_noise_is_the_same_darkness_without_the_noise(photos: Path) -> None:
    seen: list[Tensor] = []
    evaluate_composites(lambda picture: seen.append(picture) or picture, photos, limit=1)
    noisy, quiet, clean = seen[0], seen[-2], seen[-1]
    assert noisy.mean().item() == pytest.approx(quiet.mean().item(), abs=0.02)
    assert quiet.mean() < 0.8 * clean.mean()
    assert (noisy - quiet).std() > 0.015


def test_a_row_is_the_mean_over_photos_of_the_rounded_output(photos: Path) -> None:
    def brighten(picture: Tensor) -> Tensor:
        return picture + 0.37 / 255 + 0.1

    result = evaluate_composites(brighten, photos, limit=2)
    expected = []
    for path in sorted(photos.iterdir())[:2]:
        clean = read_photo(path)
        output = quantise(brighten(to_tensor(composite(clean, "haze_snow", path.name, 0).picture)))
        expected.append(psnr(output, to_tensor(clean)))
    assert result.value("haze_snow", "PSNR out") == pytest.approx(np.mean(expected), abs=1e-6)
    assert result.value("haze_snow", "pictures") == 2


def test_an_output_of_another_size_or_with_nan_is_refused_by_name(photos: Path) -> None:
    with pytest.raises(EvaluationError, match=r"low photo0.png has shape \[1, 3, 47, 56\]"):
        evaluate_composites(lambda picture: picture[:, :, 1:], photos)
    with pytest.raises(EvaluationError, match="low photo0.png has values that are not finite"):
        evaluate_composites(lambda picture: picture * math.nan, photos)


def true_answers(photos: Path, seed: int, repeats: int) -> dict[bytes, Guidance]:
    """The perfect guidance of each picture that the evaluation will show."""
    answers = {}
    for _, degraded in mixtures(list_photos(photos), seed, repeats):
        truth = degraded.truth
        # Half of the scale above PRESENT is left for the strength, so present is never below it.
        scores = [0.5 + s / 2 if there else 0.0 for s, there in zip(truth.strength, truth.presence, strict=True)]
        answer = guidance([float(score) for score in scores], [float(value) for value in truth.parameters])
        answers[to_tensor(degraded.picture).numpy().tobytes()] = answer
    return answers


def test_a_perfect_describer_gets_perfect_marks_and_a_silent_one_none(photos: Path) -> None:
    answers = true_answers(photos, seed=2, repeats=12)
    perfect = evaluate_descriptions(lambda picture: answers[picture.numpy().tobytes()], photos, seed=2, repeats=12)
    rows = perfect.tables[0].rows
    assert tuple(rows) == (*DEGRADATIONS, "mean")
    for name in ("low_light", "haze", "rain", "snow"):
        assert rows[name]["present"] > 1 and rows[name]["F1"] == 1.0 and rows[name]["rank"] == pytest.approx(1.0)
    assert perfect.value("mean", "F1") == 1.0 and perfect.value("mean", "strength error") < 1e-6
    assert set(perfect.tables[1].rows) == set(PARAMETERS)
    assert all(row["error"] == 0.0 for row in perfect.tables[1].rows.values() if not math.isnan(row["error"]))
    silent = evaluate_descriptions(lambda picture: guidance([0.0] * 7), photos, seed=2, repeats=12)
    assert silent.value("rain", "recall") == 0.0 and silent.value("rain", "F1") == 0.0
    assert math.isnan(silent.value("rain", "precision"))


def test_parameter_errors_count_only_pictures_that_have_the_degradation(photos: Path) -> None:
    answers = true_answers(photos, seed=0, repeats=8)
    off = PARAMETERS.index("haze_beta")

    def describe(picture: Tensor) -> Guidance:
        answer = answers[picture.numpy().tobytes()]
        hazy = answer.scores[0, DEGRADATIONS.index("haze")] >= 0.5
        answer.parameters[0, off] += 0.25 if hazy else 100.0
        return answer

    result = evaluate_descriptions(describe, photos, repeats=8)
    assert result.value("haze_beta", "error") == pytest.approx(0.25, abs=1e-5)
    assert result.value("haze_beta", "spread") > 0


def test_own_guidance_is_told_from_that_of_another_picture_and_from_none(photos: Path) -> None:
    used: list[tuple[float, float]] = []

    def describe(picture: Tensor) -> Guidance:
        return guidance([0.0] * 7, mark=float(picture.mean()))

    def restore(picture: Tensor, hint: Guidance | None) -> Tensor:
        if hint is None:
            return picture * 0 + 0.45
        used.append((float(picture.mean()), float(hint.pooled[0, 0])))
        own = used[-1][0] == used[-1][1]
        return picture if own else picture * 0

    result = evaluate_guidance(restore, describe, photos, limit=2)
    rows = result.tables[0].rows
    assert tuple(rows) == (*COMBINATIONS, "mean")
    assert all(row["own"] == row["input"] and row["other"] < row["own"] for row in rows.values())
    assert rows["low"]["other"] < rows["low"]["none"]
    own, other = used[0::2], used[1::2]
    assert len(own) == 22 and all(a == b for a, b in own) and all(a != b for a, b in other)
    assert sorted(b for _, b in other) == sorted(b for _, b in own)
    again = evaluate_guidance(restore, describe, photos, limit=2)
    assert again.to_json() == result.to_json()
    composites = evaluate_composites(unchanged, photos, limit=2)
    assert rows["snow"]["input"] == pytest.approx(composites.value("snow", "PSNR in"))
