"""Evaluation of answers: correct ones are counted, about degradations that are there and that are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

from mofe_restore.model.mllm.wording import yes_no_question
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.tests.factories import write_photo
from mofe_restore.training.data.photos import list_photos
from mofe_restore.training.evaluation.answers import evaluate_answers
from mofe_restore.training.evaluation.inputs import mixtures, to_tensor


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number in range(6):
        write_photo(tmp_path / f"photo{number}.png", number)
    return tmp_path


def test_one_who_knows_is_always_right_and_one_who_denies_half_the_time(photos: Path) -> None:
    known = {
        to_tensor(degraded.image).numpy().tobytes(): degraded.truth.presence
        for _, degraded in mixtures(list_photos(photos), 0, 4)
    }
    questions = {yes_no_question(name): index for index, name in enumerate(DEGRADATIONS)}

    def ask(image: Tensor, question: str) -> str:
        return "Yes, strongly." if known[image.numpy().tobytes()][questions[question]] else "no"

    rows = evaluate_answers(ask, photos).tables[0].rows
    assert tuple(rows) == (*DEGRADATIONS, "mean")
    assert rows["mean"]["right"] == 1 and rows["mean"]["neither"] == 0 and rows["mean"]["asked"] > 24
    assert {row["n"] for row in rows.values()} == {24}
    denied = evaluate_answers(lambda image, question: "No.", photos).tables[0].rows["mean"]
    assert (denied["yes where there"], denied["no where not"], denied["right"]) == (0, 1, 0.5)


def test_an_answer_that_is_neither_counts_as_wrong_and_is_told_apart(photos: Path) -> None:
    row = evaluate_answers(lambda image, question: "Nothing is known.", photos, limit=2).tables[0].rows["mean"]
    assert row["neither"] == 1 and row["no where not"] == 0
