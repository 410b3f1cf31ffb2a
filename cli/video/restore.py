"""Restore a video: scene by scene for the guidance, segment by segment on the disk, frame by frame in memory."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ...model.atomic import write_text
from ...model.guidance import Guidance
from ...model.weights import write_tensors
from .clips import Clip, Frame, join_segments, new_segment, open_clip, read_frames, timing
from .flicker import Flicker, FlickerMeter
from .scenes import Scene, find_scenes
from .steady import Steadier

SEGMENT_FRAMES = 120
"""Frames of a segment: what a kill costs at most."""

Restore = Callable[[Tensor, Guidance | None], Tensor]
"""Restores a frame [1, 3, H, W] in 0..1 with the guidance of its scene."""


@dataclass(frozen=True)
class RestoredClip:
    """What was done.

    Attributes:
        clip: The video.
        frames: How many there are.
        resumed: How many of them an earlier run had restored.
        scenes: Its scenes.
        flicker: Of static areas.
        example: A frame before and after, from the middle of those restored now; None if there were none.
    """

    clip: Clip
    frames: int
    resumed: int
    scenes: Sequence[Scene]
    flicker: Flicker
    example: tuple[Tensor, Tensor, Guidance | None] | None


def restore_clip(
    path: Path,
    output: Path,
    restore: Restore,
    describe: Callable[[Tensor], Guidance] | None,
    options: str,
    on_frame: Callable[[int, int], None] | None = None,
) -> RestoredClip:
    """Restore a video, and go on where an earlier run with the same options was stopped.

    Frames of scenes that show nothing, such as a black screen, stay as they are.

    Args:
        path: The video.
        output: The file to write; its folder must exist.
        restore: Restores a frame.
        describe: Makes the guidance of a frame; None for none.
        options: What the result depends on beside the video.
        on_frame: Called after every frame with the number of frames done and in total.

    Raises:
        ImageFileError: The video cannot be read.
        OSError: A file cannot be written.
    """
    clip = open_clip(path)
    scenes = find_scenes((frame.pixels for frame in read_frames(path)), describe)
    total = scenes[-1].stop
    parts = _Parts(output, _key(path, options))
    done = parts.finished(total)
    if on_frame is not None and done:
        on_frame(done, total)
    state = _State(scenes, restore, done)
    state.steadier.resume(parts.state(done))
    frames = read_frames(path, done)
    rate, time_base = timing(path)
    for start in range(done, total, SEGMENT_FRAMES):
        segment = itertools.islice(frames, SEGMENT_FRAMES)
        first = next(segment, None)
        if first is None:
            break
        meter = FlickerMeter()
        with new_segment(parts.path(start), first.source, rate, time_base) as writer:
            for frame in itertools.chain([first], segment):
                writer.write(state.next(frame, meter), frame.source)
                if on_frame is not None:
                    on_frame(state.number, total)
            # before the segment itself, which makes it count
            parts.note(start, state.number, meter.total, state.steadier.state())
    join_segments(parts.segments(total), path, output)
    flicker = parts.flicker(total)
    parts.remove()
    return RestoredClip(clip, total, done, scenes, flicker, state.example)


class _State:
    """Where the restoration is in the video."""

    def __init__(self, scenes: Sequence[Scene], restore: Restore, start: int) -> None:
        self.number = start
        self.steadier = Steadier()
        self.example: tuple[Tensor, Tensor, Guidance | None] | None = None
        self._scenes, self._restore = scenes, restore
        self._middle = (start + scenes[-1].stop) // 2

    def next(self, frame: Frame, meter: FlickerMeter) -> Tensor:
        """Restore a frame."""
        scene = next(each for each in self._scenes if each.stop > self.number)
        if self.number == scene.start:
            meter.cut()
            self.steadier.cut()
        restored = self._restore(frame.pixels, scene.guidance) if scene.shows_something else frame.pixels
        restored = self.steadier.next(frame.pixels, restored)
        meter.add(frame.pixels, restored)
        if self.number == self._middle:
            self.example = (frame.pixels, restored, scene.guidance)
        self.number += 1
        return restored


class _Parts:
    """The finished segments of a video in a hidden folder beside its result, each with a note of what was measured.

    What the next segment needs to know of the last one is there, too.

    Args:
        output: The result.
        key: Of the video and the options: segments of another one are deleted.
    """

    def __init__(self, output: Path, key: str) -> None:
        self._folder = output.with_name(f".{output.name}.parts")
        mark = self._folder / "key"
        if not mark.is_file() or mark.read_text(encoding="utf-8") != key:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir()
            write_text(mark, key)

    def path(self, start: int) -> Path:
        """Return the segment that begins with frame `start`."""
        return self._folder / f"{start:08d}.nut"

    def note(self, start: int, stop: int, flicker: Flicker, state: dict[str, Tensor]) -> None:
        """Note what was measured in a segment, and keep the steadier's state at its end."""
        earlier = list(self._folder.glob("*.state"))
        write_tensors(self._state(stop), state)
        write_text(self._folder / f"{start:08d}.json", json.dumps({"stop": stop, "flicker": asdict(flicker)}))
        for path in earlier:
            if path not in (self._state(start), self._state(stop)):
                path.unlink()

    def state(self, stop: int) -> dict[str, Tensor]:
        """Return the steadier's state after frame `stop`, where a segment ends; empty where there is none."""
        try:
            return load_file(self._state(stop)) if stop else {}
        except (OSError, SafetensorError):
            return {}

    def _state(self, stop: int) -> Path:
        return self._folder / f"{stop:08d}.state"

    def finished(self, total: int) -> int:
        """Return how many frames from the beginning are finished."""
        return max((stop for _, stop, _ in self._notes(total)), default=0)

    def segments(self, total: int) -> list[Path]:
        """Return the finished segments in order."""
        return [self.path(start) for start, _, _ in self._notes(total)]

    def flicker(self, total: int) -> Flicker:
        """Return what was measured in all of them."""
        flicker = Flicker()
        for _, _, each in self._notes(total):
            flicker.add(each)
        return flicker

    def remove(self) -> None:
        """Delete them."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _notes(self, total: int) -> list[tuple[int, int, Flicker]]:
        notes: list[tuple[int, int, Flicker]] = []
        start = 0
        while start < total and self.path(start).is_file():
            try:
                note = json.loads((self._folder / f"{start:08d}.json").read_text(encoding="utf-8"))
                stop, flicker = int(note["stop"]), Flicker(**note["flicker"])
            except (OSError, ValueError, KeyError, TypeError):
                break  # it is made again
            if not start < stop <= total:
                break
            notes.append((start, stop, flicker))
            start = stop
        return notes


def _key(path: Path, options: str) -> str:
    """Return what the segments of a video belong to."""
    import av

    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return json.dumps([digest.hexdigest(), options, av.__version__, SEGMENT_FRAMES])
