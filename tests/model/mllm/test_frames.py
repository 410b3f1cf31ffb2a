"""Which frames speak for all."""

from __future__ import annotations

import pytest
import torch

from mofe_restore.cli.memory_probe import allocated
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


@pytest.mark.parametrize("channels", [1, 4])
def test_frames_may_be_grey_or_have_an_alpha_channel(channels: int) -> None:
    frames = torch.rand(6, channels, 72, 128)
    frames[:2, :3] = 0.0  # what changes in the alpha channel alone shows nothing
    assert min(frames_to_describe(frames)) == 2


def test_a_video_is_not_copied_to_choose_its_frames() -> None:
    def peak(frames: int) -> int:
        video = torch.rand(frames, 72, 128, 3).movedim(-1, 1)  # as ComfyUI has it
        return allocated(lambda: frames_to_describe(video), torch.device("cpu"))

    assert peak(12) == peak(3)
