"""`mofe train`: one of the training programs."""

from __future__ import annotations

import argparse
import importlib

from .shared import CommandError


def run_train(args: argparse.Namespace) -> int:
    if not args.config.is_file():
        raise CommandError(f"There is no file {args.config}: give --config the run's TOML file.")
    program = "ablation" if args.what == "ablation" else f"train_{args.what}"
    importlib.import_module(f"..training.{program}", __package__).run(args.config)
    return 0
