"""Scenes, the guidance of each, and how flicker is measured."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mofe_restore.cli.video.flicker import FlickerMeter
from mofe_restore.cli.video.scenes import find_scenes
from mofe_restore.model.guidance import Guidance
from mofe_restore.model.mllm.frames import LOOKS, is_empty, typical
from mofe_restore.tests.factories import scored_guidance


def scene_image(seed: int, brightness: float = 1.0) -> Tensor:
    small = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, (48, 64), mode="bilinear") * brightness


def marked(frame: Tensor) -> Guidance:
    """Guidance whose first score is the brightness of the frame."""
    return scored_guidance([float(frame.mean()), *[0.0] * 6])


def test_a_cut_begins_a_scene_and_a_flash_does_not() -> None:
    frames = [scene_image(1)] * 10 + [scene_image(2)] * 20
    frames[25] = torch.ones(1, 3, 48, 64)
    scenes = find_scenes(frames, marked)
    assert [(scene.start, scene.stop) for scene in scenes][:2] == [(0, 10), (10, 25)] or [
        (scene.start, scene.stop) for scene in scenes
    ] == [(0, 10), (10, 30)]


def test_a_slow_change_is_no_cut() -> None:
    frames = [scene_image(1) * (1 - index / 60) + scene_image(2) * index / 60 for index in range(60)]
    assert len(find_scenes(frames, marked)) == 1


def test_field23_row2_guidance_never_comes_from_a_frame_that_shows_nothing() -> None:
    dark = torch.zeros(1, 3, 48, 64)
    frames = [dark] * 6 + [scene_image(1)] * 2 + [dark + 0.01] * 3
    described: list[Tensor] = []

    def describe(frame: Tensor) -> Guidance:
        described.append(frame)
        return marked(frame)

    scenes = find_scenes(frames, describe)
    assert described and not any(map(is_empty, described))
    assert any(scene.guidance is not None for scene in scenes)
    (nothing,) = find_scenes([dark] * 5, describe)
    assert nothing.guidance is None and not nothing.shows_something


@pytest.mark.parametrize("frames", [1, 4, 37, 400])
def test_several_frames_over_the_whole_scene_are_described(frames: int) -> None:
    numbers: list[int] = []

    def describe(frame: Tensor) -> Guidance:
        numbers.append(round(float(frame.mean()) * 1e5))
        return marked(frame)

    base = scene_image(3)
    (scene,) = find_scenes((base + index * 1e-4 for index in range(frames)), describe)
    assert min(frames, LOOKS // 2 + 1) <= len(numbers) <= LOOKS
    assert scene.stop == frames
    assert max(numbers) - min(numbers) >= (frames - 1) * 10 // 2


def test_field23_row2_an_odd_frame_is_outvoted() -> None:
    ordinary = [scored_guidance([0.8 + 0.01 * index, *[0.1] * 6], mark=index) for index in range(4)]
    odd = scored_guidance([0.0, *[0.9] * 6], mark=9)
    assert float(typical([odd, *ordinary]).pooled[0, 0]) in (1.0, 2.0)


def test_flicker_counts_only_where_nothing_moves() -> None:
    meter = FlickerMeter()
    before = scene_image(1)
    meter.add(before, before)
    moved = before.clone()
    moved[:, :, :, 32:] = scene_image(5)[:, :, :, 32:]
    after = moved.clone()
    after[:, :, :, :32] += 3 / 255
    meter.add(moved, after)
    levels = meter.total.levels()
    assert levels is not None
    assert levels[0] == pytest.approx(0, abs=0.3) and levels[1] == pytest.approx(3, abs=0.3)
    meter.cut()
    pixels = meter.total.pixels
    meter.add(scene_image(8), scene_image(8))
    assert meter.total.pixels == pixels


def test_nothing_static_has_no_flicker() -> None:
    assert FlickerMeter().total.levels() is None
