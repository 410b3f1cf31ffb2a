"""What a restoration amplifies flickers no more than in the original; everything else stays as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("av")

from mofe_restore.cli.video import restore as video_module
from mofe_restore.cli.video.clips import read_frames
from mofe_restore.cli.video.flicker import FlickerMeter
from mofe_restore.cli.video.restore import restore_clip
from mofe_restore.cli.video.steady import Steadier
from mofe_restore.tests.cli.video.movies import write_movie
from mofe_restore.tests.cli.video.test_scenes import scene_image


def noisy(frames: int, sigma: float = 3.0, brightness: float = 0.2) -> list[Tensor]:
    """Frames of a dark, static scene."""
    clean, generator = scene_image(1) * brightness, torch.Generator().manual_seed(0)
    return [(clean + sigma / 255 * torch.randn(clean.shape, generator=generator)).clamp(0, 1) for _ in range(frames)]


def brighter(frame: Tensor) -> Tensor:
    return (frame * 4).clamp(0, 1)


def steadied(frames: list[Tensor], restored: list[Tensor]) -> list[Tensor]:
    steadier = Steadier()
    return [steadier.next(before, after) for before, after in zip(frames, restored, strict=True)]


def levels(frames: list[Tensor], results: list[Tensor]) -> tuple[float, float]:
    meter = FlickerMeter()
    for before, after in zip(frames, results, strict=True):
        meter.add(before, after)
    found = meter.total.levels()
    assert found is not None
    return found


@pytest.mark.field
def test_field23_row2_a_dark_noisy_static_scene_flickers_at_most_one_level_more_than_its_original() -> None:
    frames = noisy(12)
    restored = list(map(brighter, frames))
    before, raw = levels(frames, restored)
    assert raw > before + 3
    results = steadied(frames, restored)
    assert levels(frames, results)[1] <= before + 1
    clean = brighter(scene_image(1) * 0.2)
    error = (results[-1] - clean).abs().mean()
    assert error < 0.7 * (restored[-1] - clean).abs().mean(), "and is less noisy"


@pytest.mark.field
def test_field23_row2_a_tone_that_wavers_is_steadied() -> None:
    frames = noisy(12, sigma=0.5)
    restored = [brighter(frame) * (1 + 0.02 * (-1) ** index) for index, frame in enumerate(frames)]
    before, raw = levels(frames, restored)
    assert raw > before + 2
    assert levels(frames[4:], steadied(frames, restored)[4:])[1] <= before + 1


@pytest.mark.field
def test_field23_row2_what_moves_leaves_no_trail() -> None:
    frames = noisy(10)
    clean = brighter(scene_image(1) * 0.2)
    squares = []
    for index, frame in enumerate(frames):
        square = torch.zeros(1, 1, 48, 64, dtype=torch.bool)
        square[:, :, 16:28, 4 * index : 4 * index + 12] = True
        squares.append(square)
        frame[:, :, 16:28, 4 * index : 4 * index + 12] += 0.1
    results = steadied(frames, list(map(brighter, frames)))
    trail = squares[-2] & ~squares[-1]
    trail[:, :, :, 4 * 9 :] = False
    left = ((results[-1] - clean) * trail).sum() / (3 * trail.sum())
    assert abs(float(left)) < 0.1 * 0.4, "a tenth of the square's contrast at most"
    front = squares[-1] & ~squares[-2]
    there = ((results[-1] - clean) * front).sum() / (3 * front.sum())
    assert float(there) > 0.9 * 0.4


@pytest.mark.field
def test_field23_row2_what_is_not_amplified_or_not_changed_stays_bit_by_bit() -> None:
    frames = noisy(6)
    for restored in (frames, [frame * 0.8 for frame in frames]):
        assert all(torch.equal(a, b) for a, b in zip(steadied(frames, restored), restored, strict=True))
    masked = [torch.cat([frame[..., :32], brighter(frame[..., 32:])], -1) for frame in frames]
    results = steadied(frames, masked)
    assert all(torch.equal(a[..., :32], b[..., :32]) for a, b in zip(results, frames, strict=True))
    assert not torch.equal(results[-1], masked[-1])


def test_a_new_scene_owes_nothing_to_the_last() -> None:
    frames = noisy(4)
    steadier = Steadier()
    for frame in frames:
        steadier.next(frame, brighter(frame))
    steadier.cut()
    assert torch.equal(steadier.next(frames[0], brighter(frames[0])), brighter(frames[0]))


@pytest.mark.field
def test_field23_row2_a_resumed_video_is_as_steady_as_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_module, "SEGMENT_FRAMES", 4)
    images = [(frame[0].permute(1, 2, 0) * 255).byte().numpy() for frame in noisy(10)]
    movie = write_movie(tmp_path / "clip.mp4", images, audio=False, quality=8)
    calls: list[Tensor] = []

    def stop(frame: Tensor, guidance: object) -> Tensor:
        calls.append(frame)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return brighter(frame)

    output, whole = tmp_path / "out.mp4", tmp_path / "whole.mp4"
    with pytest.raises(KeyboardInterrupt):
        restore_clip(movie, output, stop, None, "")
    assert restore_clip(movie, output, lambda frame, _: brighter(frame), None, "").resumed == 4
    done = restore_clip(movie, whole, lambda frame, _: brighter(frame), None, "")
    assert output.read_bytes() == whole.read_bytes()
    found = done.flicker.levels()
    assert found is not None and found[1] <= found[0] + 1
    plain, steady = (np.stack([frame.pixels for frame in read_frames(path)]) for path in (movie, whole))
    assert steady.mean() > 3 * plain.mean()
