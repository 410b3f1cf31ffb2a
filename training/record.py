"""What a card says about how its weights were made."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any


@lru_cache(maxsize=1)
def code_version() -> str:
    """The commit of the training code as this process found it at its start; "-dirty" where files differed from it.

    Empty outside a git checkout.
    """
    git = shutil.which("git")
    if git is None:
        return ""
    command = [git, "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""


def training_record(tables: Mapping[str, Any], step: int) -> dict[str, Any]:
    """The whole configuration of a run without what its card says elsewhere, the updates done, and the commit.

    Of absolute paths only the last two names are kept: a card is for everybody, and folders of one machine are not.
    """
    recipe = {
        name: {key: _portable(value) for key, value in table.items()}
        for name, table in tables.items()
        if name != "card"
    }
    return {**recipe, "step": step, "commit": code_version()}


def _portable(value: Any) -> Any:
    return "/".join(Path(value).parts[-2:]) if isinstance(value, str) and Path(value).is_absolute() else value
