"""What the evaluations share: rows of numbers, a bad output is refused, and progress is reported."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from mofe_restore.model.errors import EvaluationError
from mofe_restore.model.images import PSNR_CAP
from mofe_restore.tests.factories import scored_guidance
from mofe_restore.training.evaluation.composites import evaluate_composites
from mofe_restore.training.evaluation.runner import (
    mean_of,
    mean_row,
    quality,
    quality_row,
    restored,
    restored_with,
    tracked,
)


def test_an_output_of_another_size_or_with_nan_is_refused_by_name(photos: Path) -> None:
    with pytest.raises(EvaluationError, match=r"low photo0.png has shape \[1, 3, 47, 56\]"):
        evaluate_composites(lambda image: image[:, :, 1:], photos)
    with pytest.raises(EvaluationError, match="low photo0.png has values that are not finite"):
        evaluate_composites(lambda image: image * math.nan, photos)


def test_outputs_are_measured_as_a_file_would_hold_them() -> None:
    image = torch.full((1, 3, 16, 16), 128 / 255)
    assert restored(lambda each: each + 2, image, "one").max() == 1
    assert restored(lambda each: each * 0 + 0.4999 / 255, image, "one").max() == 0
    guidance = scored_guidance([0.0] * 7)
    assert restored_with(lambda each, given: each * float(given is guidance), guidance, image, "one").max() > 0
    same = quality(torch.clone, image, image, "one")
    assert same["PSNR in"] == same["PSNR out"] == PSNR_CAP and same["SSIM out"] == pytest.approx(1.0, abs=1e-5)


def test_a_row_holds_the_number_the_means_the_gain_and_the_worst() -> None:
    scores = [{"PSNR in": 10.0, "PSNR out": out, "SSIM in": 0.5, "SSIM out": 0.75} for out in (20.0, 30.0)]
    expected = {"n": 2, "PSNR in": 10, "PSNR out": 25, "SSIM in": 0.5, "SSIM out": 0.75}
    assert mean_row(scores) == expected
    assert quality_row(scores) == {**expected, "gain": 15, "worst out": 20}


def test_the_mean_counts_every_row_the_same_adds_up_the_images_and_keeps_the_worst() -> None:
    rows = {"few": {"n": 1, "PSNR out": 20.0, "worst out": 20.0}, "many": {"n": 9, "PSNR out": 30.0, "worst out": 5.0}}
    assert mean_of(rows) == {"n": 10, "PSNR out": 25, "worst out": 5}
    assert mean_of({"a": {"n": 4, "asked": 3}, "b": {"n": 4, "asked": 2}}, total="asked") == {"n": 4, "asked": 5}


def test_steps_are_reported_when_they_are_done_and_not_when_they_fail() -> None:
    seen: list[tuple[int, int]] = []
    for item in tracked("abc", 5, lambda *step: seen.append(step), done=2):
        assert len(seen) == "abc".index(item)
    assert seen == [(3, 5), (4, 5), (5, 5)]
    assert list(tracked("ab", 2, None)) == ["a", "b"]
    with pytest.raises(EvaluationError):
        for _ in tracked("ab", 2, lambda *step: seen.append(step)):
            raise EvaluationError("a bad output")
    assert len(seen) == 3
