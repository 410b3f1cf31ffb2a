"""The mix of degradations in training scenes."""

from __future__ import annotations

import itertools
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from mofe_restore.model.errors import TrainingError
from mofe_restore.model.synthesis.severities import Severities
from mofe_restore.model.vocabulary import CAMERA_FAULTS
from mofe_restore.training.data.mix import Mix
from mofe_restore.training.data.scenes import sample_generator


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"wide_share": 1.5}, "wide_share"),
        ({"composite_share": 1.5}, "composite_share"),
        ({"noise_share": 0.7, "rain_share": 0.4}, "rain_share"),
        ({"noise_share": 0.7, "clean_share": 0.4}, "clean_share"),
        ({"tone_outlier_of": 0}, "tone_outlier_of"),
    ],
)
def test_a_mix_that_makes_no_sense_is_refused_by_name(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(TrainingError, match=name):
        Mix(**settings)


def test_every_key_of_the_mix_is_explained(root: Path) -> None:
    text = (root / "docs" / "training.md").read_text(encoding="utf-8").partition("`[mix]` of both networks")[2]
    table = "\n".join(itertools.takewhile(str.strip, text.partition("\n\n")[2].splitlines()))
    assert {name for name in (field.name for field in fields(Mix)) if f"`{name}`" not in table} == set()


def test_the_share_of_wider_ranges_is_asked_for() -> None:
    for share, wide in ((0.0, False), (1.0, True)):
        mix = Mix(wide_share=share)
        drawn = [mix.draw(sample_generator(2, index)) for index in range(200)]
        weather = [each for each in drawn if each.noise_sigma == 0 and each.jpeg_quality == 100]
        assert any(each.soft_rain for each in weather) == wide


def test_shares_of_scenes_have_noise_or_soft_rain_or_snow_and_nothing_else() -> None:
    mix = Mix(noise_share=0.4, rain_share=0.3, snow_share=0.3)
    drawn = [mix.draw(sample_generator(1, index)) for index in range(90)]
    noisy, snowy = [each for each in drawn if each.noise_sigma], [each for each in drawn if each.snow]
    assert 20 < len(noisy) < 55 and 13 < len(snowy) < 45
    assert all(each.rain == 0 and each.light_exponent == 1 and each.haze_beta == 0 for each in noisy)
    assert all(each == Severities(snow=each.snow, blown_snow=each.blown_snow) for each in snowy)
    assert len({each.blown_snow for each in snowy}) == 2
    rest = [each for each in drawn if each not in noisy and each not in snowy]
    assert rest and all(each == Severities(rain=each.rain, soft_rain=True) for each in rest)


def test_a_share_of_scenes_has_two_or_three_faults_of_a_camera() -> None:
    mix = Mix(faults_share=1.0)
    drawn = [mix.draw(sample_generator(9, index)) for index in range(40)]
    assert all(each.keeping(CAMERA_FAULTS) == each for each in drawn)
    assert {sum(each.keeping([name]) != Severities() for name in CAMERA_FAULTS) for each in drawn} == {2, 3}


def test_a_share_of_scenes_is_blurred_and_nothing_else() -> None:
    mix = Mix(blur_share=1.0)
    drawn = [mix.draw(sample_generator(5, index)) for index in range(40)]
    fields = ("defocus_radius", "gaussian_sigma", "motion_length")
    assert {name for each in drawn for name in fields if getattr(each, name)} == set(fields)
    assert all(each.keeping(["blur"]) == each for each in drawn)


def test_noise_alone_is_mostly_as_faint_as_that_of_dark_images() -> None:
    mix = Mix(noise_share=1.0)
    drawn = [mix.draw(sample_generator(6, index)) for index in range(200)]
    faint = [each for each in drawn if (each.noise_sigma**2 + each.sensor_gain / 2) ** 0.5 < 25 / 255]
    assert 120 < len(faint) < 170  # all of the faint half, and two fifths of the other


def test_a_share_of_the_grain_is_what_a_camera_leaves() -> None:
    mix = Mix(noise_share=1.0, grain_share=0.5, camera_share=0.5)
    drawn = [mix.draw(sample_generator(7, index)) for index in range(200)]
    smoothed = [each for each in drawn if each.jpeg_quality < 100]
    assert 30 < len(smoothed) < 70
    for each in smoothed:
        assert each.noise_grain >= 0.3 and each.jpeg_quality > 85, "the JPEG itself does not count as a degradation"
        sigma = 255 * (each.noise_sigma**2 + each.sensor_gain / 2) ** 0.5
        assert 3 <= sigma <= 9


def test_scenes_may_be_composites_and_nothing_else() -> None:
    mix = Mix(wide_share=0.0, composite_share=1.0)
    drawn = [mix.draw(sample_generator(4, index)) for index in range(60)]
    assert all(each.light_exponent > 1 or each.haze_beta or each.rain or each.snow for each in drawn)
    assert all(each.noise_sigma == 0 and each.jpeg_quality == 100 for each in drawn)


def test_a_share_of_the_dark_scenes_is_low_noise() -> None:
    mix = Mix(wide_share=0.0, composite_share=1.0)
    for share, low_noise in ((0.0, 0), (1.0, 40)):
        drawn = [replace(mix, low_noise_share=share).draw(sample_generator(9, index)) for index in range(80)]
        dark = [each for each in drawn if each.light_exponent > 1][:40]
        assert sum(each.low_light_noise <= 0.02 for each in dark) == low_noise


def test_a_share_of_the_degraded_scenes_is_saved_as_a_photograph_is() -> None:
    mix = Mix(composite_share=0.5, noise_share=0.5, clean_share=0.5, saved_share=0.5)
    drawn = [mix.draw(sample_generator(12, number)) for number in range(400)]
    saved = [severities for severities in drawn if severities.jpeg_quality < 100]
    assert len(saved) == pytest.approx(0.5 * 0.75 * 400, abs=35)
    assert all(60 <= severities.jpeg_quality <= 97 for severities in saved)
    assert all(replace(severities, jpeg_quality=100) != Severities() for severities in saved), "clean scenes stay clean"


def test_shares_of_nothing_leave_the_random_numbers_as_they_were() -> None:
    mix = Mix(wide_share=0.0, composite_share=1.0)
    one, other = sample_generator(11, 0), sample_generator(11, 0)
    assert [mix.draw(one) for _ in range(20)] == [mix._draw_kind(other) for _ in range(20)]
    assert one.random() == other.random()


def test_a_share_of_the_haze_is_tinted_and_may_be_white() -> None:
    mix = Mix(wide_share=0.0, composite_share=1.0, tinted_share=1.0)
    hazy = [each for index in range(200) if (each := mix.draw(sample_generator(10, index))).haze_beta]
    assert all(each.haze_tint for each in hazy)
    assert max(each.airlight for each in hazy) > 0.95 and min(each.haze_tint for each in hazy) < -0.05
