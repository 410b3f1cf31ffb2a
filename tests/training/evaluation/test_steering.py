"""Evaluation of steering: an obedient restorer and a deaf one are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mofe_restore.model.guidance import Guidance
from mofe_restore.model.synthesis.degrade import RandomLayers, synthesize
from mofe_restore.model.synthesis.severities import sample_combination
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.tests.factories import scored_guidance, write_photo
from mofe_restore.training.data.photos import read_photo
from mofe_restore.training.evaluation.inputs import stable_generator, to_tensor
from mofe_restore.training.evaluation.runner import GuidedRestore
from mofe_restore.training.evaluation.steering import ALONE, PAIRS, evaluate_steering


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photo(tmp_path / "clean" / "photo.png", 1)
    return tmp_path / "clean"


def obedient(photos: Path) -> GuidedRestore:
    """A restoration that does perfectly what it is told: gives the clean photo, or the partial target."""
    clean = read_photo(photos / "photo.png")

    def restore(image: Tensor, given: Guidance | None) -> Tensor:
        assert given is not None
        if given.removal is None:
            return to_tensor(clean)
        kept = [name for name, amount in zip(DEGRADATIONS, given.removal[0], strict=True) if amount == 0]
        for kind in PAIRS:
            rng, layers = stable_generator(0, kind, "photo.png"), RandomLayers()
            severities = sample_combination(kind, rng)
            if torch.equal(to_tensor(synthesize(clean, severities, rng, layers=layers).image), image):
                return to_tensor(synthesize(clean, severities.keeping(kept), rng, layers=layers).image)
        raise AssertionError("an image that is no composite")

    return restore


def describe(_: Tensor) -> Guidance:
    return scored_guidance([0.0] * 7)


def test_what_an_order_on_what_is_seen_costs_is_told(photos: Path) -> None:
    """Of noise alone, which is seen; a restorer that returns the input after an order loses what it had gained."""
    clean = to_tensor(read_photo(photos / "photo.png"))

    def restore(image: Tensor, given: Guidance | None) -> Tensor:
        assert given is not None
        return clean if given.removal is None else image

    def sees_noise(image: Tensor) -> Guidance:
        return scored_guidance([0.0, 0.0, 0.0, 0.0, 0.6, 0.0, 0.0])

    table = evaluate_steering(restore, sees_noise, photos).tables[1]
    assert list(table.rows) == ["noise"], "only what is seen can be told so"
    row = table.rows["noise"]
    assert row["n"] == row["images"] == 1
    assert row["told"] == row["input"] < row["no order"]
    assert row["difference"] == row["told"] - row["no order"]
    obeys = evaluate_steering(lambda *_: clean, sees_noise, photos).tables[1].rows["noise"]
    assert obeys["difference"] == 0


def test_an_obedient_restorer_gains_everywhere_and_a_deaf_one_nothing(photos: Path) -> None:
    rows = evaluate_steering(obedient(photos), describe, photos).tables[0].rows
    assert len(rows) == 2 * len(PAIRS) + 1
    assert all(row["steered"] > row["full"] for row in rows.values())
    deaf = evaluate_steering(lambda image, _: image, describe, photos).tables[0].rows
    assert all(row["gain"] == 0 and row["input"] == row["full"] for row in deaf.values())


def test_every_row_names_its_number_of_images(photos: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = evaluate_steering(lambda image, _: image, describe, photos, on_progress=lambda *step: seen.append(step))
    table = result.tables[0]
    assert list(table.columns) == ["n", "input", "full", "steered", "gain"]
    assert {row["n"] for name, row in table.rows.items() if name != "mean"} == {1}
    assert table.rows["mean"]["n"] == 2 * len(PAIRS)
    total = len(PAIRS) + len(ALONE)
    assert seen == [(n, total) for n in range(1, total + 1)]
