"""The record of a training run on the card of its weights."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn

from .config import RawConfig


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return the commit of the code at the first call, with "-dirty" where files differ; empty outside a checkout."""
    git = shutil.which("git")
    if git is None:
        return ""
    command = [git, "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""


def digest_of(network: nn.Module) -> str:
    """Return 16 hexadecimal digits that two networks share only if their weights are equal, on whatever device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:16]


def training_record(raw_config: RawConfig, step: int) -> dict[str, Any]:
    """Return the configuration of a run without its card texts, the updates done, and the commit.

    Of absolute paths only the last two names are kept: a card is for everybody, folders of one machine are not.
    """
    recipe = {
        name: {key: _portable(value) for key, value in table.items()}
        for name, table in raw_config.items()
        if name != "card"
    }
    return {**recipe, "step": step, "commit": code_version()}


def _portable(value: Any) -> Any:
    return "/".join(Path(value).parts[-2:]) if isinstance(value, str) and Path(value).is_absolute() else value
