"""How strong a real degradation is, estimated from the clean photograph beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mofe_restore.model.synthesis.degrade import synthesize
from mofe_restore.model.synthesis.severities import Severities
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.training.data.real_pairs import from_real_pair, real_pair_folders


def scene() -> np.ndarray:
    y, x = np.mgrid[:96, :128].astype(np.float32) / 128
    planes = [0.45 + 0.25 * np.sin(9 * x + c) * np.cos(7 * y - c) for c in range(3)]
    return np.stack(planes, 2).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "severities", "tolerance"),
    [
        ("noise", Severities(noise_sigma=0.08), 0.08),
        ("haze", Severities(haze_beta=1.5, airlight=0.8), 0.25),
        ("rain", Severities(rain=0.6), 0.3),
        ("low_light", Severities(light_exponent=2.4), 0.35),
    ],
)
def test_the_strength_is_about_what_the_generator_says(name: str, severities: Severities, tolerance: float) -> None:
    clean = scene()
    made = synthesize(clean, severities, np.random.default_rng(0))
    found = from_real_pair(made.image, clean, name)
    index = DEGRADATIONS.index(name)
    assert np.flatnonzero(found.truth.presence).tolist() == [index]
    assert found.truth.strength[index] == pytest.approx(made.truth.strength[index], abs=tolerance)
    assert found.image is made.image


def test_what_cannot_be_estimated_is_in_the_middle_and_a_change_of_light_is_no_noise() -> None:
    clean = scene()
    assert from_real_pair(clean, clean, "blur").truth.strength[DEGRADATIONS.index("blur")] == 0.5
    brighter = from_real_pair(clean + 0.1, clean, "noise").truth.strength[DEGRADATIONS.index("noise")]
    assert brighter == pytest.approx(0.1), "the least"


def test_only_the_kinds_that_are_there_are_found(tmp_path: Path) -> None:
    for name in ("rain", "noise", "other"):
        (tmp_path / name / "train").mkdir(parents=True)
    assert list(real_pair_folders(tmp_path)) == ["rain", "noise"]
