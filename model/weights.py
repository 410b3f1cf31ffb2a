"""Weight files: safetensors with a card, read and written at this one place. Nothing is ever unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .files import written_whole

SHIPPED_RESTORER = Path(__file__).resolve().parent.parent / "weights" / "restorer.safetensors"
"""The restorer that comes with the pack."""

SHIPPED_MLLM = Path(__file__).resolve().parent.parent / "weights" / "mllm"
"""The folder of the MLLM that comes with the pack."""

KINDS = ("restorer", "mllm_head")
METADATA_KEY = "mofe_card"
FORMAT_VERSION = 1


class WeightFileError(ValueError):
    """A weight file that cannot be used; the message is one sentence: the file, what is wrong, what to do."""


@dataclass(frozen=True)
class Card:
    """What a weight file is and where it comes from.

    Attributes:
        kind: "restorer" or "mllm_head".
        name: what a user calls it.
        version: of the weights, for example "1.0".
        architecture: what builds the network, plain JSON types.
        training: the recipe.
        metrics: measured results.
        data: what it was trained on.
        limits: what it is not good for.
        licence: of the weights.
        mllm_identity: the MLLM whose guidance it understands.
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
        """The text under `METADATA_KEY`, with the format's version."""
        return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Card:
        """The inverse of `to_json`.

        Raises:
            ValueError: not JSON, another format version, or fields missing, unknown or of a wrong type.
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
    """The card of a weight file; reads the header only.

    Args:
        path: a .safetensors file.
        kind: the kind the file must be of, None for any.

    Raises:
        WeightFileError: missing, empty, truncated, not safetensors, without a valid card, or of another kind.
    """
    path = _existing(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata()
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    return _card(path, metadata, kind)


def read_weights(path: str | Path, kind: str) -> tuple[dict[str, Tensor], Card]:
    """All tensors of a weight file as stored, on the CPU, and its card.

    Raises:
        WeightFileError: as `read_card`.
    """
    path = _existing(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            card = _card(path, file.metadata(), kind)
            # cloned, so that the file is not kept mapped into memory and may be replaced (Windows)
            return {name: file.get_tensor(name).clone() for name in file.keys()}, card  # noqa: SIM118
    except WeightFileError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def write_weights(
    path: str | Path, state: Mapping[str, Tensor], card: Card, dtype: torch.dtype = torch.bfloat16
) -> None:
    """Writes a weight file whole or not at all: under a temporary name, to the disk, then renamed.

    Args:
        path: where to; folders are made as needed.
        state: tensors by name; floating ones are stored as `dtype`.
        card: stored in the metadata.
        dtype: a floating type.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous().clone()
        for name, tensor in state.items()
    }
    with written_whole(path) as temporary:
        save_file(tensors, temporary, metadata={METADATA_KEY: card.to_json(), "format": "pt"})


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        what = "is a folder, not a weight file" if path.is_dir() else "does not exist"
        raise WeightFileError(f"{path} {what}: put the file there or choose another one.")
    if path.stat().st_size == 0:
        raise WeightFileError(f"{path} is empty: put the original file back.")
    return path


def _card(path: Path, metadata: Mapping[str, str] | None, kind: str | None) -> Card:
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
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return WeightFileError(f"{path} is not a complete safetensors file ({reason}): put the original file back.")
