"""Evaluation of descriptions: scores and estimates are compared with the truth, where there is one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from torch import Tensor

from mofe_restore.model.guidance import Guidance
from mofe_restore.model.vocabulary import DEGRADATIONS, PARAMETERS
from mofe_restore.tests.factories import scored_guidance
from mofe_restore.training.data.photos import list_photos
from mofe_restore.training.evaluation.descriptions import evaluate_descriptions
from mofe_restore.training.evaluation.inputs import mixtures, to_tensor


def true_answers(photos: Path, seed: int, repeats: int) -> dict[bytes, Guidance]:
    """The perfect guidance of each image that the evaluation will show."""
    answers = {}
    for _, degraded in mixtures(list_photos(photos), seed, repeats):
        truth = degraded.truth
        # Half of the scale above PRESENT is left for the strength, so present is never below it.
        scores = [0.5 + s / 2 if there else 0.0 for s, there in zip(truth.strength, truth.presence, strict=True)]
        answer = scored_guidance([float(score) for score in scores], [float(value) for value in truth.parameters])
        answers[to_tensor(degraded.image).numpy().tobytes()] = answer
    return answers


def test_a_perfect_describer_gets_perfect_marks_and_a_silent_one_none(photos: Path) -> None:
    answers = true_answers(photos, seed=2, repeats=12)
    perfect = evaluate_descriptions(lambda image: answers[image.numpy().tobytes()], photos, seed=2, repeats=12)
    rows = perfect.tables[0].rows
    assert tuple(rows) == (*DEGRADATIONS, "mean")
    for name in ("low_light", "haze", "rain", "snow"):
        assert rows[name]["present"] > 1 and rows[name]["F1"] == 1.0 and rows[name]["rank"] == pytest.approx(1.0)
    assert perfect.value("mean", "F1") == 1.0 and perfect.value("mean", "strength error") < 1e-6
    assert set(perfect.tables[1].rows) == set(PARAMETERS)
    assert all(row["error"] == 0.0 for row in perfect.tables[1].rows.values() if not math.isnan(row["error"]))
    quiet = evaluate_descriptions(lambda image: scored_guidance([0.0] * 7), photos, seed=2, repeats=12)
    assert quiet.value("rain", "recall") == 0.0 and quiet.value("rain", "F1") == 0.0
    assert math.isnan(quiet.value("rain", "precision"))


def test_parameter_errors_count_only_images_that_have_the_degradation(photos: Path) -> None:
    answers = true_answers(photos, seed=0, repeats=8)
    off = PARAMETERS.index("haze_beta")

    def describe(image: Tensor) -> Guidance:
        answer = answers[image.numpy().tobytes()]
        hazy = answer.scores[0, DEGRADATIONS.index("haze")] >= 0.5
        answer.parameters[0, off] += 0.25 if hazy else 100.0
        return answer

    result = evaluate_descriptions(describe, photos, repeats=8)
    assert result.value("haze_beta", "error") == pytest.approx(0.25, abs=1e-5)
    assert result.value("haze_beta", "spread") > 0


@pytest.mark.parametrize("silence", ["missed", "not estimated"])
def test_errors_are_those_of_the_estimates_that_exist(silence: str, photos: Path) -> None:
    """Where a degradation is missed its value is that of none, and of a drawing nothing is estimated at all."""
    answers = true_answers(photos, seed=0, repeats=8)
    beta, haze, silent = PARAMETERS.index("haze_beta"), DEGRADATIONS.index("haze"), []

    def describe(image: Tensor) -> Guidance:
        answer = answers[image.numpy().tobytes()]
        if answer.scores[0, haze] >= 0.5:
            if not silent:
                silent.append(image)
                if silence == "missed":
                    answer.scores[0, haze] = 0.4
                    answer.parameters[0, beta] = 0.0
                else:
                    answer.parameters[0, :] = math.nan
            answer.parameters[0, beta] += 0.25
        return answer

    result = evaluate_descriptions(describe, photos, repeats=8)
    assert result.value("haze_beta", "estimated") == result.value("haze_beta", "present") - 1 > 0
    assert result.value("haze_beta", "error") == pytest.approx(0.25, abs=1e-5)
    mute = evaluate_descriptions(lambda image: scored_guidance([0.0] * 7), photos, repeats=8)
    assert mute.value("haze_beta", "estimated") == 0 and math.isnan(mute.value("haze_beta", "error"))


def test_every_row_names_all_images_and_those_that_have_the_degradation(photos: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = evaluate_descriptions(
        lambda image: scored_guidance([0.0] * 7),
        photos,
        repeats=2,
        limit=2,
        on_progress=lambda *step: seen.append(step),
    )
    scores, parameters = result.tables
    assert {row["n"] for table in result.tables for row in table.rows.values()} == {4}
    assert scores.rows["mean"]["present"] == sum(scores.rows[name]["present"] for name in DEGRADATIONS)
    for name, owner in (("haze_beta", "haze"), ("noise_sigma", "noise"), ("jpeg_quality", "jpeg")):
        assert parameters.rows[name]["present"] == scores.rows[owner]["present"]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
