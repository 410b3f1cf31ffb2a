"""What several commands do alike: open the networks, go through pictures, write JSON, speak to the user."""

from __future__ import annotations

import argparse
import glob
import json
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model.files import written_whole

if TYPE_CHECKING:
    from ..model.guidance import Guidance
    from ..session import Session


class CommandError(ValueError):
    """Something wrong with what was asked; the message is one sentence for the user."""


def open_session(args: argparse.Namespace) -> Session:
    from ..session import Session

    return Session(
        restorer=getattr(args, "restorer", None),
        mllm=args.mllm,
        precision=args.precision,
        guided=not getattr(args, "no_guidance", False),
    )


PICTURE_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif"))


def marks_of(path: Path) -> set[Path | tuple[int, int]]:
    """What two paths share where they lead to one file, also by names in other cases on a disk that knows no cases."""
    marks: set[Path | tuple[int, int]] = {path.resolve()}
    if path.exists():
        status = path.stat()
        marks.add((status.st_dev, status.st_ino))
    return marks


def make_folder_of(path: Path | None, option: str = "--json", used: Collection[Path] = ()) -> None:
    """Fails before the work, not after it, when a file that an option asks for cannot or must not be written.

    Args:
        used: files of the run that must stay as they are.
    """
    if path is None:
        return
    if path.is_dir():
        raise CommandError(f"{path} is a folder: give {option} the name of a file.")
    if any(marks_of(path) & marks_of(other) for other in used):
        raise CommandError(f"{path} is a file of this run and would be overwritten: give {option} another name.")
    if option == "--json" and path.exists() and path.suffix.lower() != ".json":
        raise CommandError(f"{path} exists and is no .json file: give --json the name of the file to write.")
    make_folder(path.parent, option)


def make_folder(folder: Path, option: str = "-o") -> None:
    """Makes a folder for results, and makes sure that it can be written to."""
    if not folder.exists() and folder.suffix.lower() in PICTURE_SUFFIXES:
        raise CommandError(f"{folder} looks like the name of a picture: give {option} a folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (FileExistsError, NotADirectoryError):
        raise CommandError(f"{folder} is no folder: choose another one with {option}.") from None
    except OSError as error:
        raise CommandError(
            f"{folder} cannot be written to ({error.strerror}): choose another with {option}."
        ) from error


def write_json(path: Path | None, value: Any) -> None:
    """Writes a file whole or not at all."""
    if path is None:
        return
    with written_whole(path) as temporary:
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # file names need not be text


def say(message: str) -> None:
    """One line on stderr, above the progress bar where there is one."""
    text = "mofe: " + " ".join(message.split())
    if "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(text, file=sys.stderr)
    else:
        print(text, file=sys.stderr)


def os_sentence(error: OSError) -> str:
    """What the operating system complains about, as a sentence."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}."


def expand(pictures: Sequence[Path]) -> list[Path]:
    """The pictures, each once, with patterns such as *.jpg replaced by what they match: Windows' shell does not do it.

    A path that exists is taken as it is, also with such characters in it; so is a pattern that matches nothing.
    """
    found: dict[Path, None] = {}
    for path in pictures:
        # unlike Path.glob, this leaves out hidden files, as shells do
        matches = [] if path.exists() else sorted(map(Path, glob.glob(str(path))))  # noqa: PTH207
        found.update(dict.fromkeys(matches or [path]))
    return list(found)


def each(pictures: Sequence[Path], work: Callable[[Path], None]) -> int:
    """Does `work` for every picture and goes on after a bad one, which gets its sentence. The exit status."""
    from tqdm import tqdm

    failed = 0
    hide = len(pictures) == 1 or not sys.stderr.isatty()
    for path in tqdm(pictures, unit="picture", disable=hide):
        try:
            work(path)
        except Exception as error:
            text = _sentence_about_one(error)
            if text is None:  # it concerns every picture, or is a defect of ours
                raise
            failed += 1
            say(text if str(path) in text else f"{path}: {text}")
    return 1 if failed else 0


def _sentence_about_one(error: Exception) -> str | None:
    """What to say of an error that concerns one picture only, or None where it is not of that kind."""
    from ..model.inputs import RestorationError
    from ..model.pipeline import is_out_of_memory
    from ..pictures import PictureError

    if isinstance(error, PictureError | RestorationError):
        return str(error)
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):  # that one is about our own output
        return os_sentence(error)
    if is_out_of_memory(error):
        return "Not enough memory for it: close other programs or make the picture smaller."
    return None


def scores_of(guidance: Guidance) -> dict[str, float]:
    from ..model.guidance import DEGRADATIONS

    return dict(zip(DEGRADATIONS, (round(score, 4) for score in guidance.scores[0].tolist()), strict=True))
