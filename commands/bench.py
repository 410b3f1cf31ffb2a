"""`mofe bench`: time and memory on this machine."""

from __future__ import annotations

import argparse


def run_bench(args: argparse.Namespace) -> int:
    from ..bench import bench

    return bench(args.restorer, args.mllm, runs=args.runs, frames=args.frames, large=not args.no_large)
