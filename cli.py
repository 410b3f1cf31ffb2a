"""The `mofe` command: its arguments, and what becomes of errors.

Bad input ends in one sentence on stderr and a status other than 0; a traceback means a defect of ours.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from .commands.bench import run_bench
from .commands.demo import run_demo
from .commands.describe import run_describe
from .commands.evaluate import (
    run_answers,
    run_composites,
    run_denoising,
    run_descriptions,
    run_guidance,
    run_pairs,
    run_relations,
    run_steering,
)
from .commands.restore import run_restore
from .commands.shared import os_sentence, say
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


def _whole(least: int) -> Callable[[str], int]:
    """A converter of arguments to whole numbers from `least` up."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} up")
        return value

    return convert


def _strength(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number between 0 and 1")
    return value


def _degradations(text: str) -> tuple[str, ...]:
    from .model.guidance import DEGRADATIONS

    names = tuple(name.strip().lower().replace("-", "_").replace(" ", "_") for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in DEGRADATIONS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of {', '.join(DEGRADATIONS)}")
    return names


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
    restore.add_argument(
        "--tile", type=_whole(0), default=0, metavar="N", help="tile size in px; 0 (default) = automatic"
    )
    restore.add_argument(
        "--strength", type=_strength, default=1.0, metavar="S", help="0 = unchanged, 1 (default) = full"
    )
    wishes = restore.add_mutually_exclusive_group()
    wishes.add_argument("--remove", type=_degradations, metavar="LIST", help="remove only these, such as rain,noise")
    wishes.add_argument("--keep", type=_degradations, metavar="LIST", help="remove all but these, such as haze")
    restore.add_argument("--mask", type=Path, metavar="FILE", help="picture of the same size: white = restore")
    restore.add_argument("--json", type=Path, metavar="FILE", help="write what was seen and which experts worked")

    describe = add(commands, "describe", run_describe, "Say what is wrong with pictures.", models)
    describe.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE")
    describe.add_argument("--json", type=Path, metavar="FILE", help="write descriptions and scores (0.5 = present)")

    train = add(commands, "train", run_train, "Train a network, or variants of the restorer.")
    train.add_argument("what", choices=("mllm", "restorer", "ablation"))
    train.add_argument("--config", type=Path, required=True, metavar="FILE", help="the run's TOML file")

    evaluate = commands.add_parser("evaluate", help="Measure the trained networks.")
    kinds = evaluate.add_subparsers(title="what", required=True, metavar="WHAT", parser_class=_Parser)
    composites = add(kinds, "composites", run_composites, "PSNR and SSIM of the eleven combinations.", guided)
    denoising = add(kinds, "denoising", run_denoising, "PSNR and SSIM after Gaussian noise.", guided)
    pairs = add(kinds, "pairs", run_pairs, "PSNR and SSIM of real pairs of pictures.", guided)
    descriptions = add(kinds, "descriptions", run_descriptions, "How well the language model sees.", models)
    answers = add(kinds, "answers", run_answers, "Whether the language model says yes and no rightly.", models)
    guidance = add(kinds, "guidance", run_guidance, "What the guidance is worth to the restorer.", restorers)
    steering = add(kinds, "steering", run_steering, "Whether the restorer keeps what it is told to keep.", restorers)
    relations = add(kinds, "relations", run_relations, "Whether what is alike is seen and routed alike.", restorers)
    relations.add_argument("--picture", type=Path, metavar="FILE", help="draw the matrices of relations, a PNG")
    pairs.add_argument("folder", type=Path, metavar="DIR", help="degraded pictures and their originals")
    for command in (composites, denoising, descriptions, answers, guidance, steering, relations):
        command.add_argument("--clean", type=Path, required=True, metavar="DIR", help="clean photographs")
        command.add_argument("--seed", type=_whole(0), default=0, help="of the degradations")
    for command in (composites, denoising, pairs, descriptions, answers, guidance, steering, relations):
        command.add_argument("--limit", type=_whole(1), metavar="N", help="use the first N photographs only")
        command.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")

    bench = add(commands, "bench", run_bench, "Measure time and memory on this machine.", restorers)
    bench.add_argument("--runs", type=_whole(1), default=5, metavar="N", help="repetitions (default 5)")
    bench.add_argument("--frames", type=_whole(0), default=300, metavar="N", help="frames of the video (default 300)")
    bench.add_argument("--no-large", action="store_true", help="leave out the 3840 x 2160 picture")

    demo = add(commands, "demo", run_demo, "Degrade and restore the bundled photographs.", restorers)
    demo.add_argument("--sheets", action="store_true", help="draw a contact sheet for each kind of degradation")
    demo.add_argument("-o", "--output", type=Path, metavar="DIR", help="default: demo_output in the current folder")
    return parser


# Errors -------------------------------------------------------------------------------------------------------------


USER_ERRORS = {
    "commands.shared": "CommandError",
    "model.guidance": "GuidanceError",
    "model.inputs": "RestorationError",
    "model.mllm": "MllmError",
    "model.weights": "WeightFileError",
    "pictures": "PictureError",
    "training.config": "TrainingError",
    "training.photos": "PhotoError",
    "training.tables": "EvaluationError",
}
"""Module -> its error class whose message is a sentence for the user. Any other ValueError is a defect of ours."""


def _is_for_the_user(error: ValueError) -> bool:
    """Whether an error is one of `USER_ERRORS`; nothing is imported, since what was never imported raised nothing."""
    modules = ((sys.modules.get(f"{__package__}.{module}"), name) for module, name in USER_ERRORS.items())
    return isinstance(error, tuple(getattr(module, name) for module, name in modules if module is not None))


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Turns errors that a user can mend into `SystemExit` after one sentence; defects pass through."""
    try:
        yield
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        say(os_sentence(error))
        raise SystemExit(1) from None
    except ModuleNotFoundError as error:
        extra = next((extra for extra, modules in EXTRAS.items() if error.name in modules), None)
        if extra is None:
            raise
        say(f'This command needs {error.name}, which comes with pip install "mofe-restore[{extra}]".')
        raise SystemExit(1) from None
    except ValueError as error:
        if not _is_for_the_user(error):
            raise
        say(str(error))
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        say("Cancelled.")
        raise SystemExit(130) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; 0 when it worked, 1 after bad input, 2 after wrong arguments, 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name that the console cannot write must not end the work
            stream.reconfigure(errors="backslashreplace")
    try:
        with _one_sentence():
            args = build_parser().parse_args(argv)
            return args.run(args)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
