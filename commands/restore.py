"""`mofe restore`: pictures to restored pictures, and a report of what was seen and which experts worked."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from .shared import (
    CommandError,
    each,
    expand,
    make_folder,
    make_folder_of,
    marks_of,
    open_session,
    say,
    scores_of,
    write_json,
)


def _plan_outputs(pictures: Sequence[Path], folder: Path, kept: Collection[Path]) -> dict[Path, Path]:
    """Input -> output, refusing before any work what would write a file twice or over one that is to be kept.

    What is no picture has no output: its turn comes, and then its sentence.
    """
    from ..pictures import is_picture

    outputs: dict[Path, Path] = {}
    taken: dict[str, Path] = {}
    marks = set().union(*map(marks_of, kept))
    originals = {path.parent.resolve() for path in pictures}  # what else lies there may be an original, too
    for path in filter(is_picture, pictures):
        output = folder / f"{path.stem}.png"
        earlier = taken.setdefault(path.stem.casefold(), path)
        if earlier is not path:
            raise CommandError(f"{earlier} and {path} would both become {output}: restore them to different folders.")
        if marks & marks_of(output):
            raise CommandError(
                f"{output} is one of the inputs and would be overwritten: choose another folder with -o."
            )
        if output.exists() and folder.resolve() in originals:
            raise CommandError(
                f"{output} is there already, beside the pictures to restore: choose another folder with -o."
            )
        outputs[path] = output
    return outputs


def _removal(args: argparse.Namespace) -> dict[str, float]:
    """The amounts that --remove or --keep ask for; empty without them."""
    if not args.remove and not args.keep:
        return {}
    if args.no_guidance:
        raise CommandError(
            "--remove and --keep steer the guidance, so they cannot go with --no-guidance: leave it out."
        )
    from ..model.guidance import DEGRADATIONS
    from ..model.steering import only

    return only(args.remove or [name for name in DEGRADATIONS if name not in args.keep])


def run_restore(args: argparse.Namespace) -> int:
    pictures = expand(args.pictures)
    removal = _removal(args)
    from ..pictures import PictureError, read_mask, read_picture, write_picture

    inputs = [*pictures, *([args.mask] if args.mask else [])]
    outputs = _plan_outputs(pictures, args.output, inputs)
    mask = read_mask(args.mask) if args.mask else None
    if mask is not None and not mask.any():
        raise CommandError(
            f"{args.mask} is black everywhere, so nothing would be restored: paint white what is to be repaired "
            "(transparency does not count)."
        )
    make_folder_of(args.json, used=[*inputs, *outputs.values()])
    session = open_session(args)
    make_folder(args.output)
    results: list[dict[str, Any]] = []

    def restore(path: Path) -> None:
        picture = read_picture(path)
        height, width = picture.pixels.shape[2:]
        if mask is not None and mask.shape[1:] != (height, width):
            raise PictureError(
                f"{path} is {width} x {height} px but the mask {args.mask} is {mask.shape[2]} x {mask.shape[1]}: "
                "they must have the same size."
            )
        if picture.note:
            say(f"Note on {path}: {picture.note}.")
        guidance = session.guide(picture.rgb, with_text=args.json is not None)
        if guidance is not None and removal:
            guidance = guidance.steered(removal, args.remove or ())
        restoration = session.restore(
            picture.pixels, guidance, strength=args.strength, mask=mask, tile=args.tile, on_tile=_tile_bar(path)
        )
        write_picture(outputs[path], restoration.picture, depth=picture.depth, extras=picture.extras)
        results.append(
            {
                "file": str(path),
                "output": str(outputs[path]),
                "width": width,
                "height": height,
                "description": guidance.descriptions[0] if guidance else None,
                "scores": scores_of(guidance) if guidance else None,
                "removal": removal or None,
                "routing": [
                    {
                        "block": block.name,
                        "weights": [round(float(weight), 4) for weight in block.weights],
                        "edges": [round(float(edge), 4) for edge in block.edges],
                    }
                    for block in restoration.routing.frames[0]
                ],
            }
        )

    try:
        return each(pictures, restore)
    finally:  # also what there is before a Ctrl-C, and an empty list where every picture failed
        write_json(args.json, results)


def _tile_bar(path: Path) -> Callable[[int, int], None] | None:
    """A progress bar over the tiles of one picture, where somebody watches and there is more than one tile."""
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    bar: Any = None

    def on_tile(done: int, total: int) -> None:
        nonlocal bar
        if bar is None and total > 1:
            bar = tqdm(total=total, desc=path.name, unit="tile", leave=False)
        if bar is not None:
            bar.total = total  # smaller tiles after an out-of-memory
            bar.update(done - bar.n)
            if done >= total:
                bar.close()

    return on_tile
