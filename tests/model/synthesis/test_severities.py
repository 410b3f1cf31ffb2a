"""Severities are drawn as the combinations are named, and in the shares of the training mix."""

from __future__ import annotations

import numpy as np
import pytest

from mofe_restore.model.synthesis.degrade import synthesize
from mofe_restore.model.synthesis.severities import COMBINATIONS, Severities, sample_combination, sample_severities
from mofe_restore.model.vocabulary import DEGRADATIONS


@pytest.mark.parametrize("name", COMBINATIONS)
@pytest.mark.parametrize("wide", [False, True])
def test_every_combination_samples_what_its_name_says(name: str, wide: bool) -> None:
    rng = np.random.default_rng(11)
    parts = name.split("_")
    for _ in range(20):
        drawn = sample_combination(name, rng, wide=wide)
        assert (drawn.light_exponent > 1) == ("low" in parts)
        assert (drawn.rain > 0) == ("rain" in parts) and (drawn.snow > 0) == ("snow" in parts)
        assert (drawn.haze_beta > 0) == (drawn.airlight > 0) == ("haze" in parts)
        assert drawn.noise_sigma == drawn.gaussian_sigma == drawn.sensor_gain == 0 and drawn.jpeg_quality == 100
        if not wide:
            assert drawn.exposure == 1 and not drawn.soft_rain and not drawn.blown_snow
            assert "low" not in parts or (2 <= drawn.light_exponent <= 3 and 0.03 <= drawn.low_light_noise <= 0.08)
            assert "haze" not in parts or (1 <= drawn.haze_beta <= 2 and 0.6 <= drawn.airlight <= 0.9)


def test_the_training_mix_has_its_shares() -> None:
    rng = np.random.default_rng(0)
    drawn = [sample_severities(rng) for _ in range(3000)]
    clean_share = sum(one == Severities() for one in drawn) / 3000
    weather = sum(
        one.light_exponent > 1 or one.exposure < 1 or one.rain + one.snow + one.haze_beta > 0 for one in drawn
    )
    weather /= 3000
    assert clean_share == pytest.approx(0.07, abs=0.02)
    assert weather == pytest.approx(0.65, abs=0.04)


def test_an_unknown_combination_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="fog"):
        sample_combination("fog", np.random.default_rng(0))


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("strength", [0.4, 0.7, 1.0])
def test_a_wanted_strength_is_about_the_strength_that_the_truth_tells(name: str, strength: float) -> None:
    index = DEGRADATIONS.index(name)
    clean = np.random.default_rng(0).random((96, 128, 3)).astype(np.float32)
    told = []
    for seed in range(12):  # haze depends on the invented depth
        truth = synthesize(clean, Severities.from_strengths({name: strength}), np.random.default_rng(seed)).truth
        assert truth.presence[index] and truth.presence.sum() == 1
        told.append(truth.strength[index])
    assert np.mean(told) == pytest.approx(strength, abs=0.1)


def test_no_strength_is_no_severity_and_nonsense_is_refused() -> None:
    assert Severities.from_strengths({}) == Severities.from_strengths(dict.fromkeys(DEGRADATIONS, 0.0)) == Severities()
    with pytest.raises(ValueError, match="no degradation 'fog'"):
        Severities.from_strengths({"fog": 0.5})
    with pytest.raises(ValueError, match="strength of rain is 2"):
        Severities.from_strengths({"rain": 2})
