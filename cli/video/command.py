"""What `mofe restore` does with a video: the options, the progress bar, and the entry in its reports."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from ...model.errors import ImageFileError
from ...model.guidance import Guidance
from ...model.mllm.wording import scores_by_name
from ...model.pipeline import RestorationPipeline
from ..common import print_error
from ..report.page import ReportPage
from .clips import open_clip
from .restore import RestoredClip, restore_clip


def restore_video(
    path: Path,
    output: Path,
    pipe: RestorationPipeline,
    args: argparse.Namespace,
    *,
    mask: Tensor | None,
    steer: Callable[[Guidance], Guidance],
    options: str,
    page: ReportPage | None = None,
) -> tuple[dict[str, Any], Guidance | None]:
    """Restore a video as the arguments of `mofe restore` say.

    Args:
        path: The video.
        output: The file to write.
        pipe: The models.
        args: Of the command.
        mask: [1, H, W] in 0..1, of the size of the frames; None for everywhere.
        steer: Applies the orders of the arguments to guidance.
        options: Everything that the result depends on besides the video, as text.
        page: The report that gets a frame of it.

    Returns:
        The entry of the video in the JSON file, and the guidance of its longest scene.

    Raises:
        ImageFileError: The video cannot be read, or the mask has another size.
    """
    start = time.perf_counter()
    clip = open_clip(path)
    if mask is not None and mask.shape[1:] != (clip.height, clip.width):
        raise ImageFileError(
            f"{path} is {clip.width} x {clip.height} px but the mask {args.mask} is {mask.shape[2]} x "
            f"{mask.shape[1]}: they must have the same size."
        )
    if clip.note:
        print_error(f"Note on {path}: {clip.note}.")

    def describe(frame: Tensor) -> Guidance:
        return steer(pipe.describe(frame, with_text=bool(args.json or args.manifest or page)))

    def restore(frame: Tensor, guidance: Guidance | None) -> Tensor:
        restoration = pipe(frame, guidance, strength=args.strength, mask=mask, tile=args.tile, threshold=args.threshold)
        return restoration.image.cpu()

    done = restore_clip(path, output, restore, None if args.no_guidance else describe, options, _frame_bar(path))
    seconds = time.perf_counter() - start
    if page is not None and done.example is not None:
        before, after, guidance = done.example
        facts = [("Frames", str(done.frames)), ("Flicker", _flicker(done)), ("Time", f"{seconds:.1f} s")]
        files = (("Original", path), ("Restored", output))
        page.add(f"{path.name}: a frame", before, after, guidance=guidance, facts=facts, files=files)
    longest = max(done.scenes, key=lambda scene: scene.stop - scene.start)
    return _entry(path, output, done), longest.guidance


def _entry(path: Path, output: Path, done: RestoredClip) -> dict[str, Any]:
    """Return the entry of a video in the JSON file."""
    levels = done.flicker.levels()
    return {
        "file": str(path),
        "output": str(output),
        "width": done.clip.width,
        "height": done.clip.height,
        "frames": done.frames,
        "resumed": done.resumed,
        "flicker": None if levels is None else {"before": round(levels[0], 3), "after": round(levels[1], 3)},
        "scenes": [
            {
                "from": scene.start,
                "to": scene.stop - 1,
                "description": scene.guidance.descriptions[0] if scene.guidance else None,
                "scores": scores_by_name(scene.guidance) if scene.guidance else None,
            }
            for scene in done.scenes
        ],
    }


def _flicker(done: RestoredClip) -> str:
    levels = done.flicker.levels()
    return "nothing was static" if levels is None else f"{levels[0]:.2f} to {levels[1]:.2f} of 255 in static areas"


def _frame_bar(path: Path) -> Callable[[int, int], None] | None:
    """Return a progress bar over the frames, on terminals."""
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    bar: Any = None

    def on_frame(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(total=total, desc=path.name, unit="frame", leave=False, initial=done - 1)
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return on_frame
