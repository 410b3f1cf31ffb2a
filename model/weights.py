"""Reading and writing weight files, which are safetensors with a card in their metadata. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .atomic import atomic_write
from .errors import WeightFileError

SHIPPED_RESTORER = Path(__file__).resolve().parent.parent / "weights" / "restorer" / "model.safetensors"
"""Weight file of the restorer that is shipped with the package."""

SHIPPED_MLLM = Path(__file__).resolve().parent.parent / "weights" / "mllm"
"""Folder of the MLLM that is shipped with the package."""

KINDS = ("restorer", "mllm_head", "second_look", "mllm_adapter")
"""Kinds of weight files."""

METADATA_KEY = "mofe_card"
"""Key of the card in the metadata of a safetensors file."""

FORMAT_VERSION = 1
"""Version of the card's format."""

_OS_ERRORS = (
    r"(?P<text>[^:]+) \(os error (?P<number>\d+)\)",
    r'code: (?P<number>\d+), .*message: "(?P<text>[^"]*)"',  # older versions
)
"""How messages of safetensors tell errors of the operating system."""


@dataclass(frozen=True)
class Card:
    """The card of a weight file: what its network is, and how it was trained.

    Attributes:
        kind: One of `KINDS`.
        name: Name for users.
        version: Of the weights, for example "1.0".
        architecture: Arguments that build the network, in plain JSON types.
        training: The recipe.
        metrics: Measured results.
        data: Description of the training data.
        limits: Known limits.
        licence: Of the weights.
        mllm_identity: The MLLM that it belongs to: the one whose guidance a restorer takes, or whose embeddings a head
            or a second look reads, or to whose guidance an adapter leads; empty for any.
    """

    kind: str
    name: str
    version: str
    architecture: dict[str, Any]
    training: dict[str, Any]
    metrics: dict[str, Any]
    data: str
    limits: str
    licence: str
    mllm_identity: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        for name in ("name", "version", "data", "limits", "licence", "mllm_identity"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be text, not {getattr(self, name)!r}")
        for name in ("architecture", "training", "metrics"):
            if not isinstance(getattr(self, name), dict):
                raise ValueError(f"{name} must be an object, not {getattr(self, name)!r}")

    def to_json(self) -> str:
        """Return the card and the format's version as the text that is stored under `METADATA_KEY`."""
        return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Card:
        """Return the card of the text that `to_json` returned.

        Raises:
            ValueError: The text is not JSON or has another format version, or fields are missing, unknown or of a wrong
                type.
        """
        try:
            values = json.loads(text)
        except RecursionError as error:
            raise ValueError("the card is nested too deeply") from error
        if not isinstance(values, dict):
            raise ValueError("the card is not a JSON object")
        version = values.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise ValueError(f"format version {version!r}, this pack reads {FORMAT_VERSION}")
        names = {field.name for field in fields(cls)}
        if names != set(values):
            raise ValueError(f"fields missing or unknown: {', '.join(sorted(names ^ set(values)))}")
        return cls(**values)


def read_card(path: str | Path, kind: str | None = None) -> Card:
    """Return the card of a weight file, of which only the header is read.

    Args:
        path: A .safetensors file.
        kind: The kind that the file must be of; None for any.

    Raises:
        WeightFileError: The file is missing, empty, truncated, not safetensors, without a valid card, or of another
            kind.
    """
    path = _existing(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata()
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    return _card(path, metadata, kind)


def read_weights(path: str | Path, kind: str) -> tuple[dict[str, Tensor], Card]:
    """Return all tensors of a weight file by name, as stored, on the CPU, and its card.

    Args:
        path: A .safetensors file.
        kind: The kind that the file must be of.

    Raises:
        WeightFileError: As in `read_card`.
    """
    path = _existing(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            card = _card(path, file.metadata(), kind)
            # cloned, so that the file is no longer mapped into memory and can be replaced (Windows)
            return {name: file.get_tensor(name).clone() for name in file.keys()}, card  # noqa: SIM118
    except WeightFileError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def weights_digest(path: str | Path) -> str:
    """Return 16 hexadecimal digits that tell the content of a weight file from others.

    Raises:
        WeightFileError: The file is missing, empty, or cannot be read.
    """
    path = _existing(path)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise _unreadable(path, error) from error


def write_weights(
    path: str | Path, state: Mapping[str, Tensor], card: Card, dtype: torch.dtype = torch.bfloat16
) -> None:
    """Write a weight file, whole or not at all.

    Args:
        path: The file to write; its folder is created if needed.
        state: Tensors by name; floating-point ones are stored as `dtype`.
        card: Stored in the metadata.
        dtype: A floating-point type.

    Raises:
        OSError: The file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).clone()
        for name, tensor in state.items()
    }
    write_tensors(path, tensors, {METADATA_KEY: card.to_json(), "format": "pt"})


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, whole or not at all; `read_weights` reads only those with a card.

    Args:
        path: The file to write; its folder must exist.
        tensors: By name; no two may share memory.
        metadata: Texts by name.

    Raises:
        OSError: The file cannot be written.
    """
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with atomic_write(path) as temporary:
        try:
            save_file(whole, temporary, metadata)
        except SafetensorError as error:
            if (told := _os_error(path, error)) is not None:
                raise told from error
            raise


def _existing(path: str | Path) -> Path:
    """Return the path of a file that exists and is not empty."""
    path = Path(path)
    if not path.is_file():
        what = "is a folder, not a weight file" if path.is_dir() else "does not exist"
        raise WeightFileError(f"{path} {what}: put the file there or choose another one.")
    if path.stat().st_size == 0:
        raise WeightFileError(f"{path} is empty: put the original file back.")
    return path


def _card(path: Path, metadata: Mapping[str, str] | None, kind: str | None) -> Card:
    """Return the valid card, of this kind, in a file's metadata."""
    text = (metadata or {}).get(METADATA_KEY)
    if text is None:
        raise WeightFileError(
            f"{path} has no card of this pack in its metadata: choose a file made by it, or put the original file back."
        )
    try:
        card = Card.from_json(text)
    except ValueError as error:
        raise WeightFileError(
            f"{path} has a card that cannot be read ({error}): update the pack or put the original file back."
        ) from error
    if kind is not None and card.kind != kind:
        raise WeightFileError(f"{path} holds a {card.kind}, not a {kind}: choose a {kind} file.")
    return card


def _unreadable(path: Path, error: Exception) -> WeightFileError:
    """Return the error for the user about a file that safetensors cannot read."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return WeightFileError(f"{path} is not a complete safetensors file ({reason}): put the original file back.")


def _os_error(path: Path, error: SafetensorError) -> OSError | None:
    """Return the error of the operating system that safetensors only tells in its message; None for other errors."""
    found = next(filter(None, (re.search(pattern, str(error)) for pattern in _OS_ERRORS)), None)
    if found is None:
        return None
    number = int(found["number"])
    return OSError(number, found["text"].strip(), str(path), number)  # the second is for Windows, whose numbers differ
