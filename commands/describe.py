"""`mofe describe`: what is wrong with pictures, in words and scores."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .shared import each, expand, make_folder_of, open_session, scores_of, write_json


def run_describe(args: argparse.Namespace) -> int:
    pictures = expand(args.pictures)
    make_folder_of(args.json, used=pictures)
    from ..pictures import read_picture

    session = open_session(args)
    results: list[dict[str, Any]] = []

    def describe(path: Path) -> None:
        guidance = session.describe(read_picture(path).rgb)
        print(f"{path}: {guidance.descriptions[0]}", flush=True)
        results.append(
            {"file": str(path), "description": guidance.descriptions[0], "scores": scores_of(guidance)},
        )

    try:
        return each(pictures, describe)
    finally:  # also what there is before a Ctrl-C, and an empty list where every picture failed
        write_json(args.json, results)
