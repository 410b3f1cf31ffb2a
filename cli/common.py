"""What several commands share: arguments, the pipeline, loops over files, JSON, messages to the user."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..model.atomic import atomic_write
from ..model.errors import CommandError, ImageFileError, RestorationError
from ..model.formats.suffixes import IMAGE_SUFFIXES
from ..model.vocabulary import DEGRADATIONS

if TYPE_CHECKING:
    from ..model.pipeline import RestorationPipeline

STANDARD = Path("-")
"""Standard input, or output, as an argument."""

_SUFFIXES = {"--json": ".json", "--report": ".html"}
"""Suffix of files that an option may replace."""

# Arguments ----------------------------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """A parser whose error messages are one sentence."""

    def error(self, message: str) -> NoReturn:
        """End the program with status 2 and one sentence."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help.\n")


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str, *parents: argparse.ArgumentParser
) -> Any:
    """Add a command's parser to those of `commands`, and return it."""
    parser = commands.add_parser(name, help=text, description=text, parents=list(parents))
    parser.set_defaults(run=run)
    return parser


def mllm_arguments(*, precision: bool = True) -> argparse.ArgumentParser:
    """Return the arguments of commands that load the language model."""
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("models")
    group.add_argument(
        "--mllm", type=Path, metavar="FOLDER", help="folder of the language model (default: the shipped)"
    )
    group.add_argument(
        "--adapters",
        type=Path,
        metavar="DIR",
        help="folder of the adapters that mofe align has made (default: its own)",
    )
    if precision:
        group.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of the computation")
    return parser


def restorer_arguments(*, precision: bool = True) -> argparse.ArgumentParser:
    """Return the arguments of commands that also load the restorer."""
    parser = argparse.ArgumentParser(add_help=False, parents=[mllm_arguments(precision=precision)])
    parser.add_argument("--restorer", type=Path, metavar="FILE", help="weights of the restorer (default: the shipped)")
    return parser


def guided_arguments() -> argparse.ArgumentParser:
    """Return the arguments of commands that restore with or without guidance."""
    parser = argparse.ArgumentParser(add_help=False, parents=[restorer_arguments()])
    parser.add_argument("--no-guidance", action="store_true", help="restore without the language model")
    return parser


def whole_number(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Return a converter of arguments to whole numbers from `minimum` up, or to `maximum`."""
    limits = f"from {minimum} up" if maximum is None else f"from {minimum} to {maximum}"

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum or (maximum is not None and value > maximum):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {limits}")
        return value

    return convert


def strength(text: str) -> float:
    """Convert an argument to a number in 0..1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


def degradation_list(text: str) -> tuple[str, ...]:
    """Convert an argument such as `rain,noise` to names of degradations."""
    names = tuple(name.strip().lower().replace("-", "_").replace(" ", "_") for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in DEGRADATIONS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of {', '.join(DEGRADATIONS)}")
    return names


def amounts(default: float | None) -> Callable[[str], dict[str, float]]:
    """Return a converter of arguments such as `rain,noise=0.5` to numbers in 0..1 by the degradation's name.

    Args:
        default: The number of a name without one; None demands one.
    """

    def convert(text: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for item in filter(str.strip, text.split(",")):
            names, sign, number = item.partition("=")
            if not sign and default is None:
                raise argparse.ArgumentTypeError(f"{item.strip()!r} has no number: write it as {item.strip()}=0.5")
            found |= dict.fromkeys(degradation_list(names), strength(number) if sign else float(default or 0.0))
        if not found:
            degradation_list(text)  # which says what a list is
        return found

    return convert


def open_pipeline(args: argparse.Namespace) -> RestorationPipeline:
    """Return the pipeline that the arguments ask for; its models are loaded when they are needed."""
    from ..model.pipeline import RestorationPipeline

    return RestorationPipeline.from_pretrained(
        getattr(args, "restorer", None),
        args.mllm,
        precision=args.precision,
        adapters=getattr(args, "adapters", None),
    )


# Files --------------------------------------------------------------------------------------------------------------


def file_keys(path: Path) -> set[Path | tuple[int, int]]:
    """Return keys that two paths share where they lead to one file.

    Also by names in another case on a file system that ignores case.
    """
    keys: set[Path | tuple[int, int]] = {real_path(path)}
    if os.path.exists(path):  # noqa: PTH110  # unlike Path.exists, this takes names that are too long
        status = path.stat()
        keys.add((status.st_dev, status.st_ino))
    return keys


def real_path(path: Path) -> Path:
    """Return a path without links; unlike `Path.resolve`, also where links lead in a circle."""
    return Path(os.path.realpath(path))


def prepare_output_file(path: Path | None, option: str = "--json", used: Collection[Path] = ()) -> None:
    """Fail before the work, not after it, when a file that an option asks for cannot or must not be written.

    Args:
        path: The file; None where the option was not given.
        option: Its name.
        used: Files of the run that must not be changed.

    Raises:
        CommandError: The file cannot or must not be written.
    """
    if path is None or path == STANDARD:
        return
    if path.is_dir():
        raise CommandError(f"{path} is a folder: give {option} the name of a file.")
    if any(file_keys(path) & file_keys(other) for other in used):
        raise CommandError(f"{path} is a file of this run and would be overwritten: give {option} another name.")
    suffix = _SUFFIXES.get(option)
    if suffix is not None and path.exists() and path.suffix.lower() != suffix:
        raise CommandError(f"{path} exists and is not a {suffix} file: give {option} the name of the file to write.")
    prepare_output_folder(path.parent, option)


def prepare_output_folder(folder: Path, option: str = "-o") -> None:
    """Create a folder for results, and make sure that it can be written to.

    Raises:
        CommandError: It cannot.
    """
    if not folder.exists() and folder.suffix.lower() in IMAGE_SUFFIXES:
        raise CommandError(f"{folder} looks like the name of an image: give {option} a folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (FileExistsError, NotADirectoryError):
        raise CommandError(f"{folder} is not a folder: choose another one with {option}.") from None
    except OSError as error:
        raise CommandError(
            f"{folder} cannot be written to ({error.strerror}): choose another with {option}."
        ) from error


def write_json(path: Path | None, value: Any) -> None:
    """Write a JSON file, whole or not at all, or to standard output; nothing where there is no path."""
    if path is None:
        return
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    if path == STANDARD:
        print(text, end="", flush=True)
        return
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # file names need not be text


def for_each_file(
    paths: Sequence[Path], work: Callable[[Path], None], on_error: Callable[[Path, str], None] | None = None
) -> int:
    """Do `work` for every file, with a progress bar; report a bad one and go on.

    Args:
        paths: The files.
        work: Called with each.
        on_error: Called with each bad one and its message.

    Returns:
        The exit status: 1 where a file could not be used.
    """
    from tqdm import tqdm

    failed = 0
    hide = len(paths) == 1 or not sys.stderr.isatty()
    for path in tqdm(paths, unit="image", disable=hide):
        try:
            work(path)
        except Exception as error:
            text = message_about_one_file(error)
            if text is None:  # it concerns every file, or is a defect of ours
                raise
            failed += 1
            print_error(text if path == STANDARD or str(path) in text else f"{path}: {text}")
            if on_error is not None:
                on_error(path, text)
    return 1 if failed else 0


# Messages -----------------------------------------------------------------------------------------------------------


def print_error(message: str) -> None:
    """Print one line on stderr, above the progress bar where there is one."""
    text = "mofe: " + " ".join(message.split())
    if "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(text, file=sys.stderr)
    else:
        print(text, file=sys.stderr)


def os_error_message(error: OSError) -> str:
    """Return an error of the operating system as a sentence."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}."


def message_about_one_file(error: Exception) -> str | None:
    """Return the message of an error that concerns one file only, or None where it is not of that kind."""
    from ..model.inference.out_of_memory import is_out_of_memory

    if isinstance(error, ImageFileError | RestorationError):
        return str(error)
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):  # that one is about our own output
        return os_error_message(error)
    if is_out_of_memory(error):
        return "Not enough memory for it: close other programs or make the image smaller."
    return None
