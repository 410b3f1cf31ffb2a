"""Scenes that were saved as JPEG after everything else."""

from __future__ import annotations

import numpy as np
import pytest

from mofe_restore.model.synthesis.degrade import Degraded, synthesize
from mofe_restore.model.synthesis.severities import Severities
from mofe_restore.model.vocabulary import DEGRADATIONS, PARAMETERS
from mofe_restore.training.data.saved import JPEG, save

QUALITY = PARAMETERS.index("jpeg_quality")


@pytest.fixture
def scene() -> Degraded:
    rng = np.random.default_rng(0)
    clean = np.clip(0.5 + 0.2 * rng.standard_normal((64, 72, 3)), 0, 1).astype(np.float32)
    return synthesize(clean, Severities(haze_beta=1.0, airlight=0.8), rng)


def test_all_but_jpeg_stays_true(scene: Degraded) -> None:
    qualities = []
    for number in range(60):
        saved = save(scene, np.random.default_rng(number))
        assert saved.image.shape == scene.image.shape and not np.array_equal(saved.image, scene.image)
        for name in ("presence", "strength"):
            now, before = getattr(saved.truth, name), getattr(scene.truth, name)
            assert np.array_equal(np.delete(now, JPEG), np.delete(before, JPEG)), name
        assert np.array_equal(np.delete(saved.truth.parameters, QUALITY), np.delete(scene.truth.parameters, QUALITY))
        quality = saved.truth.parameters[QUALITY]
        assert bool(saved.truth.presence[JPEG]) == (quality <= 85) == bool(saved.truth.strength[JPEG])
        qualities.append(quality)
    assert min(qualities) < 60 and max(qualities) > 90, "both kinds are drawn"
    assert not scene.truth.presence[JPEG], "the scene is left as it was"


def test_the_blocks_of_some_do_not_start_at_multiples_of_eight(scene: Degraded) -> None:
    def grid_of(image: np.ndarray) -> int:
        steps = np.abs(np.diff(image.mean(2), axis=1)).mean(0)
        return int(np.argmax([steps[start::8].mean() for start in range(8)]))

    flat = Degraded(
        np.round(255 * np.full((64, 72, 3), np.linspace(0.2, 0.8, 72)[:, None], np.float32)) / 255, scene.truth
    )
    flat.image[::3] *= np.float32(0.9)
    poor = [save(flat, np.random.default_rng(number)) for number in range(80)]
    starts = {grid_of(each.image) for each in poor if each.truth.parameters[QUALITY] < 45}
    assert 7 in starts and len(starts) > 1, "differences across a border on the grid are at index 7"


def test_what_has_been_a_jpeg_is_left_as_it_is(scene: Degraded) -> None:
    once = synthesize(scene.image, Severities(jpeg_quality=95), np.random.default_rng(0))
    assert save(once, np.random.default_rng(1)) is once
    assert DEGRADATIONS[JPEG] == "jpeg"
