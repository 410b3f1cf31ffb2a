"""Which frames speak for all."""

from __future__ import annotations

import torch

from mofe_restore.model.mllm.frames import LOOKS, frames_to_describe


def test_few_frames_at_even_distances_are_described_and_none_that_shows_nothing() -> None:
    frames = torch.rand(40, 3, 72, 128)
    frames[:20] = 0.0  # a long fade from black
    frames[-1] = 1.0
    numbers = frames_to_describe(frames)
    assert len(numbers) == LOOKS
    assert min(numbers) >= 20 and max(numbers) <= 38
    steps = [later - earlier for earlier, later in zip(numbers, numbers[1:], strict=False)]
    assert max(steps) - min(steps) <= 1
    assert frames_to_describe(frames[18:22]) == [2, 3]


def test_where_no_frame_shows_anything_the_first_one_is_described() -> None:
    assert frames_to_describe(torch.zeros(3, 3, 64, 64)) == [0]
