"""`mofe describe`: what is wrong with images, in words and scores."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .common import (
    STANDARD,
    add_command,
    for_each_file,
    mllm_arguments,
    open_pipeline,
    prepare_output_file,
    write_json,
)
from .inputs import check_standard_input, find_sources, opened


def add_parser(commands: Any) -> None:
    """Add the command to those of `mofe`."""
    parser = add_command(commands, "describe", run, "Describe what is wrong with images.", mllm_arguments())
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="file, folder, pattern or - (stdin)")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write descriptions and scores (0.5 = present); - for stdout"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    check_standard_input(args.images)
    found = find_sources(args.images)
    sources = {source.path: source for source in found.sources}
    prepare_output_file(args.json, used=list(sources))
    from ..model.image_files import read_image
    from ..model.mllm.wording import scores_by_name

    pipe = open_pipeline(args)
    results: list[dict[str, Any]] = []

    def describe(path: Path) -> None:
        name = sources[path].name
        with opened(sources[path]) as file:
            guidance = pipe.describe(read_image(file, name=name))
        if args.json != STANDARD:
            print(f"{name}: {guidance.descriptions[0]}", flush=True)
        results.append({"file": name, "description": guidance.descriptions[0], "scores": scores_by_name(guidance)})

    try:
        return for_each_file(list(sources), describe) or min(found.failed, 1)
    finally:  # also what there is before a Ctrl-C, and an empty list where every image failed
        write_json(args.json, results)
