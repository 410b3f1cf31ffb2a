"""The `mofe` command: its arguments, and what becomes of errors.

Bad input ends in one sentence on stderr and a status other than 0; a traceback means a defect of ours.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from .commands.bench import run_bench
from .commands.demo import run_demo
from .commands.describe import run_describe
from .commands.evaluate import run_composites, run_descriptions, run_guidance, run_pairs
from .commands.restore import run_restore
from .commands.shared import say
from .commands.train import run_train

EXTRAS = {
    "standalone": ("torch", "numpy", "PIL", "safetensors", "transformers", "tqdm", "psutil"),
    "train": ("accelerate", "torchmetrics", "matplotlib", "lightning_utilities", "tomli"),
}
"""Which extra of the package brings which modules; where one is missing, the user learns that."""


# Arguments ----------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help.\n")


def _tile(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} px is no tile size: give 0 (automatic) or a number above 0")
    return value


def _strength(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0")
    return value


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; `run` in its result is the command's function."""
    parser = _Parser(prog="mofe", description="Repairs photographs that suffer from several degradations at once.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)

    models = argparse.ArgumentParser(add_help=False)
    group = models.add_argument_group("models")
    group.add_argument(
        "--mllm", type=Path, metavar="FOLDER", help="folder of the language model (default: the shipped)"
    )
    group.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of the computation")
    restorers = argparse.ArgumentParser(add_help=False, parents=[models])
    restorers.add_argument(
        "--restorer", type=Path, metavar="FILE", help="weights of the restorer (default: the shipped)"
    )
    guided = argparse.ArgumentParser(add_help=False, parents=[restorers])
    guided.add_argument("--no-guidance", action="store_true", help="restore without the language model")

    def add(group: Any, name: str, run: Callable[..., int], text: str, *parents: argparse.ArgumentParser) -> Any:
        command = group.add_parser(name, help=text, description=text, parents=list(parents))
        command.set_defaults(run=run)
        return command

    restore = add(commands, "restore", run_restore, "Restore pictures, each to DIR/<name>.png.", guided)
    restore.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE")
    restore.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="made if it does not exist")
    restore.add_argument("--tile", type=_tile, default=0, metavar="N", help="tile size in px; 0 (default) = automatic")
    restore.add_argument(
        "--strength", type=_strength, default=1.0, metavar="S", help="0 = unchanged, 1 (default) = full"
    )
    restore.add_argument("--mask", type=Path, metavar="FILE", help="picture of the same size: white = restore")
    restore.add_argument("--json", type=Path, metavar="FILE", help="write what was seen and which experts worked")

    describe = add(commands, "describe", run_describe, "Say what is wrong with pictures.", models)
    describe.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE")
    describe.add_argument("--json", type=Path, metavar="FILE", help="write descriptions and scores (0.5 = present)")

    train = add(commands, "train", run_train, "Train one of the two networks; goes on where an earlier run stopped.")
    train.add_argument("what", choices=("mllm", "restorer"))
    train.add_argument("--config", type=Path, required=True, metavar="FILE", help="the run's TOML file")

    evaluate = commands.add_parser("evaluate", help="Measure the trained networks.")
    kinds = evaluate.add_subparsers(title="what", required=True, metavar="WHAT", parser_class=_Parser)
    composites = add(kinds, "composites", run_composites, "PSNR and SSIM of the eleven combinations.", guided)
    pairs = add(kinds, "pairs", run_pairs, "PSNR and SSIM of real pairs of pictures.", guided)
    descriptions = add(kinds, "descriptions", run_descriptions, "How well the language model sees.", models)
    guidance = add(kinds, "guidance", run_guidance, "What the guidance is worth to the restorer.", restorers)
    pairs.add_argument("folder", type=Path, metavar="DIR", help="degraded pictures and their originals")
    for command in (composites, descriptions, guidance):
        command.add_argument("--clean", type=Path, required=True, metavar="DIR", help="clean photographs")
        command.add_argument("--seed", type=int, default=0, help="of the degradations")
    for command in (composites, pairs, descriptions, guidance):
        command.add_argument("--limit", type=_positive, metavar="N", help="use the first N photographs only")
        command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")

    bench = add(commands, "bench", run_bench, "Measure time and memory on this machine.", restorers)
    bench.add_argument("--runs", type=_positive, default=5, metavar="N", help="repetitions (default 5)")
    bench.add_argument("--no-large", action="store_true", help="leave out the 3840 x 2160 picture")

    demo = add(commands, "demo", run_demo, "Degrade and restore the bundled photographs.", restorers)
    demo.add_argument("-o", "--output", type=Path, metavar="DIR", help="default: demo_output in the current folder")
    return parser


# Errors -------------------------------------------------------------------------------------------------------------


def _is_ours(error: BaseException) -> bool:
    """Whether an error was raised by this package's own code, and thus has a sentence written for the user."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    package = trace.tb_frame.f_globals.get("__package__") if trace is not None else None
    return package is not None and (package == __package__ or package.startswith(f"{__package__}."))


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Turns errors that a user can mend into `SystemExit` after one sentence; defects pass through."""
    try:
        yield
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        say(f"{where}{error.strerror or error}.")
        raise SystemExit(1) from None
    except ModuleNotFoundError as error:
        extra = next((extra for extra, modules in EXTRAS.items() if error.name in modules), None)
        if extra is None:
            raise
        say(f'This command needs {error.name}, which comes with pip install "mofe-restore[{extra}]".')
        raise SystemExit(1) from None
    except ValueError as error:
        if not _is_ours(error):
            raise
        say(str(error))
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        say("Cancelled.")
        raise SystemExit(130) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; 0 when it worked, 1 after bad input, 2 after wrong arguments, 130 after Ctrl-C."""
    try:
        args = build_parser().parse_args(argv)
        with _one_sentence():
            return args.run(args)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
