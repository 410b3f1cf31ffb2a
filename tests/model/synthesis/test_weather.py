"""Layers of rain and snow are as visible as their severity asks for."""

from __future__ import annotations

import numpy as np
import pytest

from mofe_restore.model.synthesis.weather import RAIN_RMS, SNOW_RMS, rain_layer, rms, snow_layer


@pytest.mark.parametrize(("draw", "scale"), [(rain_layer, RAIN_RMS), (snow_layer, SNOW_RMS)])
@pytest.mark.parametrize("severity", [0.2, 0.5, 0.8])
def test_severity_sets_the_root_mean_square(draw, scale: float, severity: float) -> None:
    for seed in range(6):
        layer = draw(200, 280, severity, np.random.default_rng(seed))
        assert layer.shape == (200, 280) and layer.dtype == np.float32
        assert layer.min() >= 0.0 and layer.max() <= 1.0
        assert rms(layer) == pytest.approx(severity * scale, rel=0.25)


def test_rain_falls_in_streaks_along_its_slope() -> None:
    """Along the columns neighbors resemble each other more than along the rows."""
    longer = 0
    for seed in range(8):
        layer = rain_layer(160, 160, 0.5, np.random.default_rng(seed))
        centered = layer - layer.mean()
        longer += (centered[2:] * centered[:-2]).mean() > (centered[:, 2:] * centered[:, :-2]).mean()
    assert longer >= 7


def test_snow_stays_opaque_and_grows_in_number() -> None:
    light, heavy = (snow_layer(200, 280, severity, np.random.default_rng(1)) for severity in (0.2, 0.7))
    assert light.max() > 0.8 and heavy.max() > 0.8
    assert (heavy > 0.1).mean() > 3 * (light > 0.1).mean()


@pytest.mark.parametrize("shape", [(30, 30), (400, 90), (90, 400)])
def test_given_rain_is_cut_and_scaled_to_the_image(shape: tuple[int, int]) -> None:
    given = [np.random.default_rng(0).random(shape, dtype=np.float32)]
    for seed in range(4):
        rain = rain_layer(50, 70, 0.5, np.random.default_rng(seed), given)
        assert rain.shape == (50, 70)
        assert rms(rain) == pytest.approx(0.5 * RAIN_RMS, rel=0.2)
    assert given[0].max() > 0.99  # a given layer is not written to


def test_soft_rain_goes_from_single_streaks_to_a_veil() -> None:
    drawn = [rain_layer(96, 128, 0.4, np.random.default_rng(seed), soft=True) for seed in range(40)]
    evenness = [float(layer.mean()) / rms(layer) for layer in drawn]
    assert min(evenness) < 0.55 and max(evenness) > 0.8
    assert all(rms(layer) == pytest.approx(0.4 * RAIN_RMS, rel=0.25) for layer in drawn)


def test_soft_rain_may_thicken_steadily_from_one_side_to_the_other() -> None:
    def sides(seed: int) -> float:
        layer = rain_layer(96, 128, 0.8, np.random.default_rng(seed), soft=True)
        thirds = [part.mean() for part in np.array_split(layer, 3, axis=1)]
        return thirds[2] / thirds[0] if thirds[0] < thirds[1] < thirds[2] else 1.0

    assert sum(sides(seed) > 3.0 for seed in range(60)) >= 4


def test_wind_drives_snow_sideways_too() -> None:
    def is_sideways(seed: int, blown: bool) -> bool:
        flakes = snow_layer(96, 96, 0.5, np.random.default_rng(seed), blown=blown)
        down, across = (np.abs(np.diff(flakes, axis=axis)).mean() for axis in (0, 1))
        return bool(across < 0.8 * down)  # flakes drawn out across change less on their way

    count = {blown: sum(is_sideways(seed, blown) for seed in range(24)) for blown in (False, True)}
    assert count[True] >= count[False] + 5
