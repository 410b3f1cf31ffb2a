"""Evaluation of steering: an obedient restorer and a deaf one are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mofe_restore.model.guidance import DEGRADATIONS, Guidance
from mofe_restore.model.imaging.degradations import Layers, degrade, sample_combination
from mofe_restore.tests.training.stand_ins import guidance, save
from mofe_restore.training.composites import stable_generator, to_tensor
from mofe_restore.training.photos import read_photo
from mofe_restore.training.steering import PAIRS, evaluate_steering


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    save(tmp_path / "clean" / "photo.png", 1)
    return tmp_path / "clean"


def obedient(photos: Path):  # type: ignore[no-untyped-def]
    """Restores perfectly what it is told: the clean photo, or the partial target."""
    clean = read_photo(photos / "photo.png")

    def restore(picture: Tensor, given: Guidance | None) -> Tensor:
        assert given is not None
        if given.removal is None:
            return to_tensor(clean)
        kept = [name for name, amount in zip(DEGRADATIONS, given.removal[0], strict=True) if amount == 0]
        for kind in PAIRS:
            rng, layers = stable_generator(0, kind, "photo.png"), Layers()
            severities = sample_combination(kind, rng)
            if torch.equal(to_tensor(degrade(clean, severities, rng, layers=layers).picture), picture):
                return to_tensor(degrade(clean, severities.keeping(kept), rng, layers=layers).picture)
        raise AssertionError("a picture that is no composite")

    return restore


def describe(_: Tensor) -> Guidance:
    return guidance([0.0] * 7)


def test_an_obedient_restorer_gains_everywhere_and_a_deaf_one_nothing(photos: Path) -> None:
    rows = evaluate_steering(obedient(photos), describe, photos).tables[0].rows
    assert len(rows) == 2 * len(PAIRS) + 1
    assert all(row["steered"] > row["full"] for row in rows.values())
    deaf = evaluate_steering(lambda picture, _: picture, describe, photos).tables[0].rows
    assert all(row["gain"] == 0 and row["input"] == row["full"] for row in deaf.values())
