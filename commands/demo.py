"""`mofe demo`: the bundled photographs, degraded and restored."""

from __future__ import annotations

import argparse
from pathlib import Path

from .shared import open_session


def run_demo(args: argparse.Namespace) -> int:
    from ..demo import contact_sheets, demo

    run = contact_sheets if args.sheets else demo
    return run(open_session(args), args.output or Path("demo_output"))
