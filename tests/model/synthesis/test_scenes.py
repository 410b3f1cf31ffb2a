"""Light maps and depth maps, and the reading of photographs."""

from __future__ import annotations

import numpy as np
import pytest

from mofe_restore.model.synthesis.scenes import DEPTH_SIDE, LIGHT_FLOOR, box_mean, depth_map, guided_filter, light_map


def test_a_box_mean_leaves_out_what_lies_outside() -> None:
    plane = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert box_mean(plane, 1)[0, 0] == pytest.approx(plane[:2, :2].mean())
    assert box_mean(plane, 1)[1, 2] == pytest.approx(plane[:, 1:4].mean())
    assert np.allclose(box_mean(plane, 9), plane.mean())


def test_the_guided_filter_keeps_an_edge_and_smooths_a_surface() -> None:
    rng = np.random.default_rng(0)
    edge = np.repeat(np.where(np.arange(40) < 20, 0.2, 0.8)[None], 30, axis=0).astype(np.float32)
    noisy = edge + 0.02 * rng.standard_normal(edge.shape).astype(np.float32)
    gain, offset = guided_filter(noisy, noisy, 3, 0.01)
    smooth = gain * noisy + offset
    assert smooth[:, :15].std() < 0.5 * noisy[:, :15].std()
    assert smooth[:, 21].mean() - smooth[:, 18].mean() > 0.45


def test_the_light_map_follows_the_light_and_not_the_texture() -> None:
    rng = np.random.default_rng(1)
    image = np.full((3, 90, 120), 0.3, dtype=np.float32)
    image[:, :, 60:] = 0.8
    image += 0.05 * rng.standard_normal((1, 90, 120)).astype(np.float32)
    light = light_map(image)
    assert light.shape == (90, 120) and light.min() >= LIGHT_FLOOR and light.max() <= 1.0
    assert light[:, :50].mean() == pytest.approx(0.3, abs=0.03)
    assert light[:, 70:].mean() == pytest.approx(0.8, abs=0.03)
    assert light[:, :50].std() < 0.5 * image[0, :, :50].std()


def test_depth_maps_are_varied_small_and_in_range() -> None:
    image = np.random.default_rng(2).random((3, 200, 300), dtype=np.float32)
    maps = [depth_map(image, np.random.default_rng(seed)) for seed in (0, 1, 0)]
    assert np.array_equal(maps[0], maps[2]) and np.abs(maps[0] - maps[1]).mean() > 0.02
    assert max(maps[0].shape) == DEPTH_SIDE
    assert min(one.min() for one in maps) >= 0.0 and max(one.max() for one in maps) <= 1.0
