"""The `mofe` command: its parser, and how errors end it.

Bad input ends with one sentence on stderr and a status other than 0; a traceback means a defect of ours.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..model.errors import MofeError
from . import align, bench, demo, describe, evaluate, mllm, publish, restore, train
from .common import Parser, os_error_message, print_error

EXTRAS = {
    "standalone": ("torch", "numpy", "PIL", "safetensors", "transformers", "huggingface_hub", "tqdm", "psutil"),
    "video": ("av",),
    "ray": ("ray", "pyarrow", "fsspec"),
    "train": ("accelerate", "torchmetrics", "matplotlib", "lightning_utilities", "tomli"),
}
"""Modules that each extra of the package installs; where one is missing, the message names the extra."""


def build_parser() -> Parser:
    """Return the parser of all commands; `run` in its result is the command's function."""
    parser = Parser(prog="mofe", description="Repairs photographs that suffer from several degradations at once.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=Parser)
    for command in (restore, describe, align, mllm, train, evaluate, bench, demo, publish):
        command.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Its arguments; None takes those of the process.

    Returns:
        0 when it worked, 1 after bad input, 2 after wrong arguments, 130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name that the console cannot write must not end the work
            stream.reconfigure(errors="backslashreplace")
    try:
        with report_errors():
            args = build_parser().parse_args(argv)
            return int(args.run(args))
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0


@contextmanager
def report_errors() -> Iterator[None]:
    """Turn errors that a user can mend into `SystemExit` after one sentence; defects pass through."""
    try:
        yield
    except BrokenPipeError:  # the reader of our output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        print_error(os_error_message(error))
        raise SystemExit(1) from None
    except ModuleNotFoundError as error:
        extra = next((extra for extra, modules in EXTRAS.items() if error.name in modules), None)
        if extra is None:
            raise
        print_error(
            f'This command needs {error.name}, which comes with pip install ".[{extra}]" in a checkout of this pack.'
        )
        raise SystemExit(1) from None
    except MofeError as error:
        print_error(str(error))
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print_error("Cancelled.")
        raise SystemExit(130) from None
