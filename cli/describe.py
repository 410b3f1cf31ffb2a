"""`mofe describe`: what is wrong with images, in words and scores."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .common import (
    add_command,
    expand_globs,
    for_each_file,
    mllm_arguments,
    open_pipeline,
    prepare_output_file,
    write_json,
)


def add_parser(commands: Any) -> None:
    """Add the command to those of `mofe`."""
    parser = add_command(commands, "describe", run, "Describe what is wrong with images.", mllm_arguments())
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write descriptions and scores (0.5 = present)")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    paths = expand_globs(args.images)
    prepare_output_file(args.json, used=paths)
    from ..model.image_files import read_image
    from ..model.mllm.wording import scores_by_name

    pipe = open_pipeline(args)
    results: list[dict[str, Any]] = []

    def describe(path: Path) -> None:
        guidance = pipe.describe(read_image(path))
        print(f"{path}: {guidance.descriptions[0]}", flush=True)
        results.append(
            {"file": str(path), "description": guidance.descriptions[0], "scores": scores_by_name(guidance)},
        )

    try:
        return for_each_file(paths, describe)
    finally:  # also what there is before a Ctrl-C, and an empty list where every image failed
        write_json(args.json, results)
