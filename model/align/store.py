"""Embeddings that are kept while a model is aligned, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..weights import write_tensors

SHARD = 16
"""Images per file."""


class Store:
    """Rows of tensors in files of `SHARD` images.

    Args:
        folder: For the files; None keeps nothing beyond the run.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def shard(self, name: str, number: int, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return shard `number` of what is called `name`, made now where it is not kept."""
        path = None if self._folder is None else self._folder / f"{name}-{number:04d}.safetensors"
        if path is not None and path.is_file():
            try:
                return dict(load_file(path))
            except (SafetensorError, OSError):
                path.unlink(missing_ok=True)  # a damaged file is made again
        made = dict(make())
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(path, made)
        return made

    def clear(self, names: tuple[str, ...]) -> None:
        """Remove what is kept under these names, and the folder where nothing else is in it."""
        if self._folder is None or not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            if path.name.rpartition("-")[0] in names:
                path.unlink()
        if not any(self._folder.iterdir()):
            shutil.rmtree(self._folder)


def joined(shards: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the rows of all shards."""
    return {name: torch.cat([shard[name] for shard in shards]) for name in shards[0]}
