"""The scenes of a video, and the guidance of each: from several frames, and never from one that shows nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ...model.guidance import Guidance
from ...model.mllm.frames import LOOKS, THUMBNAIL, is_empty, typical

CUT = 0.12
"""Mean difference in 0..1 between thumbnails of frames from which on a new scene may begin, and"""
CUT_RATIO = 4.0
"""how many times that must be the usual difference of the scene, which a fast movement raises."""

SHORTEST = 8
"""A scene has at least so many frames: a flash is no cut."""


@dataclass(frozen=True)
class Scene:
    """Frames between two cuts.

    Attributes:
        start: Number of its first frame.
        stop: Number of the first frame after it.
        guidance: Of the most typical of its frames; None where none shows anything, or none was asked for.
        shows_something: Whether any frame does.
    """

    start: int
    stop: int
    guidance: Guidance | None
    shows_something: bool


def find_scenes(frames: Iterable[Tensor], describe: Callable[[Tensor], Guidance] | None) -> list[Scene]:
    """Return the scenes of a video.

    At most `LOOKS` frames, and the one at hand, are held at a time.

    Args:
        frames: [1, 3, H, W] in 0..1 each.
        describe: Makes the guidance of a frame; None makes none.
    """
    scenes: list[Scene] = []
    looks, usual, last, number, start = _Looks(), 0.0, None, 0, 0

    def finish(stop: int) -> None:
        guidance = typical(list(map(describe, looks.frames))) if describe is not None and looks.frames else None
        scenes.append(Scene(start, stop, guidance, bool(looks.frames)))

    for number, frame in enumerate(frames):
        small = F.interpolate(frame, THUMBNAIL, mode="area")
        change = 0.0 if last is None else float((small - last).abs().mean())
        if change > max(CUT, CUT_RATIO * usual) and number - start >= SHORTEST:
            finish(number)
            looks, usual, start = _Looks(), 0.0, number
        else:
            usual += 0.2 * (change - usual)
        last = small
        if not is_empty(small):
            looks.offer(frame)
    if last is not None:
        finish(number + 1)
    return scenes


class _Looks:
    """Frames at even distances of a scene whose length is not known yet."""

    def __init__(self) -> None:
        self.frames: list[Tensor] = []
        self._step, self._offered = 1, 0

    def offer(self, frame: Tensor) -> None:
        """Keep the frame if it is its turn; when there are too many, drop every other one."""
        if self._offered % self._step == 0:
            self.frames.append(frame)
            if len(self.frames) > LOOKS:
                self.frames = self.frames[::2]
                self._step *= 2
        self._offered += 1
