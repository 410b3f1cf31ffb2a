"""`mofe demo`: the bundled photographs, degraded and restored."""

from __future__ import annotations

import argparse
from pathlib import Path

from .shared import make_folder, open_session


def run_demo(args: argparse.Namespace) -> int:
    from ..demo import contact_sheets, demo

    run, output = contact_sheets if args.sheets else demo, args.output or Path("demo_output")
    session = open_session(args)
    make_folder(output)
    return run(session, output)
