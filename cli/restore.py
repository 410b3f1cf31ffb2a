"""`mofe restore`: restore images, and report what was seen and which experts worked."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model.errors import CommandError, ImageFileError
from .common import (
    add_command,
    amounts,
    degradation_list,
    expand_globs,
    file_keys,
    for_each_file,
    guided_arguments,
    open_pipeline,
    prepare_output_file,
    prepare_output_folder,
    print_error,
    strength,
    whole_number,
    write_json,
)

if TYPE_CHECKING:
    from ..model.guidance import Guidance
    from ..model.inference.tiled import Restoration


def add_parser(commands: Any) -> None:
    """Add the command to those of `mofe`."""
    text = "Restore images, each to DIR/<name>.png."
    parser = add_command(commands, "restore", run, text, guided_arguments())
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="created if it does not exist")
    parser.add_argument(
        "--tile", type=whole_number(0), default=0, metavar="N", help="tile size in px; 0 (default) = automatic"
    )
    parser.add_argument("--strength", type=strength, default=1.0, metavar="S", help="0 = unchanged, 1 (default) = full")
    wishes = parser.add_mutually_exclusive_group()
    wishes.add_argument(
        "--remove",
        type=amounts(1.0),
        metavar="LIST",
        help="remove only these, seen or not, all or a share: such as rain,noise=0.5",
    )
    wishes.add_argument("--keep", type=degradation_list, metavar="LIST", help="remove all but these, such as haze")
    parser.add_argument(
        "--set",
        type=amounts(None),
        metavar="LIST",
        help="take these severities as seen, 0 to 1: such as noise=0.4,rain=0",
    )
    parser.add_argument("--mask", type=Path, metavar="FILE", help="image of the same size: white = restore")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was seen and which experts worked")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    paths = expand_globs(args.images)
    _check_wishes(args)
    from ..model.image_files import read_image, read_mask

    inputs = [*paths, *([args.mask] if args.mask else [])]
    outputs = _plan_outputs(paths, args.output, inputs)
    mask = read_mask(args.mask) if args.mask else None
    if mask is not None and not mask.any():
        raise CommandError(
            f"{args.mask} is black everywhere, so nothing would be restored: paint white what is to be repaired "
            "(transparency does not count)."
        )
    prepare_output_file(args.json, used=[*inputs, *outputs.values()])
    pipe = open_pipeline(args)
    prepare_output_folder(args.output)
    results: list[dict[str, Any]] = []

    def restore(path: Path) -> None:
        image = read_image(path)
        height, width = image.pixels.shape[2:]
        if mask is not None and mask.shape[1:] != (height, width):
            raise ImageFileError(
                f"{path} is {width} x {height} px but the mask {args.mask} is {mask.shape[2]} x {mask.shape[1]}: "
                "they must have the same size."
            )
        if image.note:
            print_error(f"Note on {path}: {image.note}.")
        guidance = None if args.no_guidance else pipe.describe(image, with_text=args.json is not None)
        if guidance is not None:
            guidance = _steer(guidance, args)
        result = pipe(image, guidance, strength=args.strength, mask=mask, tile=args.tile, on_tile=_tile_bar(path))
        result.save(outputs[path])
        results.append(_report(path, outputs[path], guidance, result))

    try:
        return for_each_file(paths, restore)
    finally:  # also what there is before a Ctrl-C, and an empty list where every image failed
        write_json(args.json, results)


def _plan_outputs(paths: Sequence[Path], folder: Path, kept: Collection[Path]) -> dict[Path, Path]:
    """Return the output of each input.

    Files that are not images get no output; they are reported when they are reached.

    Args:
        paths: The inputs.
        folder: Where the outputs go.
        kept: Files that must not be overwritten.

    Raises:
        CommandError: A file would be written twice, or over one that is to be kept.
    """
    from ..model.image_files import is_image_file

    outputs: dict[Path, Path] = {}
    taken: dict[str, Path] = {}
    kept_keys = set().union(*map(file_keys, kept))
    originals = {path.parent.resolve() for path in paths}  # other files there may be originals, too
    for path in filter(is_image_file, paths):
        output = folder / f"{path.stem}.png"
        earlier = taken.setdefault(path.stem.casefold(), path)
        if earlier is not path:
            raise CommandError(f"{earlier} and {path} would both become {output}: restore them to different folders.")
        if kept_keys & file_keys(output):
            raise CommandError(
                f"{output} is one of the inputs and would be overwritten: choose another folder with -o."
            )
        if output.exists() and folder.resolve() in originals:
            raise CommandError(
                f"{output} is there already, beside the images to restore: choose another folder with -o."
            )
        outputs[path] = output
    return outputs


def _check_wishes(args: argparse.Namespace) -> None:
    """Check that options that steer the guidance go with guidance.

    Raises:
        CommandError: They do not.
    """
    if args.no_guidance and (args.remove or args.keep or args.set):
        raise CommandError(
            "--remove, --keep and --set steer the guidance, so they cannot go with --no-guidance: leave it out."
        )


def _steer(guidance: Guidance, args: argparse.Namespace) -> Guidance:
    """Return guidance that follows --set, --remove and --keep."""
    if args.set:
        guidance = guidance.with_severities(args.set)
    if args.remove:
        return guidance.removing_only(args.remove)
    if args.keep:
        return guidance.with_removal(dict.fromkeys(args.keep, 0.0))
    return guidance


def _report(path: Path, output: Path, guidance: Guidance | None, result: Restoration) -> dict[str, Any]:
    """Return the entry of one image in the JSON file."""
    from ..model.mllm.wording import report, scores_by_name

    height, width = result.image.shape[2:]
    return {
        "file": str(path),
        "output": str(output),
        "width": width,
        "height": height,
        "description": guidance.descriptions[0] if guidance else None,
        "scores": scores_by_name(guidance) if guidance else None,
        "removal": report(guidance)[0]["removal"] if guidance else None,
        "routing": [
            {
                "block": block.info.name,
                "weights": [round(float(weight), 4) for weight in block.weights],
                "edges": [round(float(edge), 4) for edge in block.info.edges],
            }
            for block in result.routing.frames[0]
        ],
    }


def _tile_bar(path: Path) -> Callable[[int, int], None] | None:
    """Return a progress bar over the tiles of one image, on terminals and for more than one tile."""
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    bar: Any = None

    def on_tile(done: int, total: int) -> None:
        nonlocal bar
        if bar is None and total > 1:
            bar = tqdm(total=total, desc=path.name, unit="tile", leave=False)
        if bar is not None:
            bar.total = total  # smaller tiles after an out-of-memory error
            bar.update(done - bar.n)
            if done >= total:
                bar.close()

    return on_tile
