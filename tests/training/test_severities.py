"""Severities are drawn as the names of the combinations say, and in the shares of the training mix."""

from __future__ import annotations

import numpy as np
import pytest

from mofe_restore.training.severities import COMBINATIONS, Severities, sample_combination, sample_severities


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
            assert "low" not in parts or (2 <= drawn.light_exponent <= 3 and 0.03 <= drawn.low_light_noise <= 0.08)
            assert "haze" not in parts or (1 <= drawn.haze_beta <= 2 and 0.6 <= drawn.airlight <= 0.9)


def test_the_training_mix_has_its_shares() -> None:
    rng = np.random.default_rng(0)
    drawn = [sample_severities(rng) for _ in range(3000)]
    clean_share = sum(one == Severities() for one in drawn) / 3000
    weather = sum(one.light_exponent > 1 or one.rain + one.snow + one.haze_beta > 0 for one in drawn) / 3000
    assert clean_share == pytest.approx(0.08, abs=0.02)
    assert weather == pytest.approx(0.68, abs=0.04)


def test_an_unknown_combination_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="fog"):
        sample_combination("fog", np.random.default_rng(0))
