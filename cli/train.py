"""`mofe train`: train a network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..model.errors import CommandError
from .common import add_command


def add_parser(commands: Any) -> None:
    """Add the command to those of `mofe`."""
    parser = add_command(commands, "train", run, "Train a network, variants of the restorer, or all stages.")
    parser.add_argument(
        "what",
        choices=("all", "mllm", "head", "second-look", "foreign", "restorer", "blur-estimator", "camera", "ablation"),
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the run's TOML file")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    if not args.config.is_file():
        raise CommandError(f"There is no file {args.config}: give --config the run's TOML file.")
    if args.what == "all":
        from ..training.stages import run as train
    elif args.what == "mllm":
        from ..training.mllm.task import run as train
    elif args.what == "head":
        from ..training.head.fit import run as train
    elif args.what == "second-look":
        from ..training.head.second_look import run as train
    elif args.what == "foreign":
        from ..training.mllm.foreign import run as train
    elif args.what == "restorer":
        from ..training.restorer.task import run as train
    elif args.what == "blur-estimator":
        from ..training.camera.estimator import run as train
    elif args.what == "camera":
        from ..training.camera.task import run as train
    else:
        from ..training.ablation import run as train
    train(args.config)
    return 0
