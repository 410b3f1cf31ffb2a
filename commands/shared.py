"""What several commands do alike: open the networks, go through pictures, write JSON, speak to the user."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def make_json_folder(path: Path | None) -> None:
    """Fails before the work, not after it, when the JSON cannot be written."""
    if path is None:
        return
    if path.is_dir():
        raise CommandError(f"{path} is a folder: give --json the name of a file.")
    path.parent.mkdir(parents=True, exist_ok=True)


def write_json(path: Path | None, value: Any) -> None:
    """Writes a file whole or not at all."""
    if path is None:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def say(message: str) -> None:
    """One line on stderr, above the progress bar where there is one."""
    text = "mofe: " + " ".join(message.split())
    if "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(text, file=sys.stderr)
    else:
        print(text, file=sys.stderr)


def each(pictures: Sequence[Path], work: Callable[[Path], None]) -> int:
    """Does `work` for every picture and goes on after a bad one, which gets its sentence. The exit status."""
    from tqdm import tqdm

    from ..model.pipeline import RestorationError
    from ..pictures import PictureError

    failed = 0
    hide = len(pictures) == 1 or not sys.stderr.isatty()
    for path in tqdm(pictures, unit="picture", disable=hide):
        try:
            work(path)
        except (PictureError, RestorationError) as error:
            failed += 1
            text = str(error)
            say(text if str(path) in text else f"{path}: {text}")
    return 1 if failed else 0


def scores_of(guidance: Guidance) -> dict[str, float]:
    from ..model.guidance import DEGRADATIONS

    return dict(zip(DEGRADATIONS, (round(score, 4) for score in guidance.scores[0].tolist()), strict=True))
