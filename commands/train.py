"""`mofe train`: one of the two training programs."""

from __future__ import annotations

import argparse
import importlib

from .shared import CommandError


def run_train(args: argparse.Namespace) -> int:
    if not args.config.is_file():
        raise CommandError(f"There is no file {args.config}: give --config the run's TOML file.")
    importlib.import_module(f"..training.train_{args.what}", __package__).run(args.config)
    return 0
