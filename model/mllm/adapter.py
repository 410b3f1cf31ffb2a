"""An adapter leads from what a foreign MLLM sees to the guidance of the MLLM with which a restorer was trained.

It is linear (our design): principal components of the statistics of the MLLM's hidden states (`sight.py`), and a ridge
regression from them to the pooled vector, the tokens, the scores and the parameters. `model/align` makes it. The file
is safetensors with a card that names both MLLMs; it is found by the identity of the foreign one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import WeightFileError
from ..guidance import Directions, Guidance
from ..weights import Card, read_card, read_weights, weights_digest, write_weights
from .head import Reading
from .sight import Look, Sight

KIND = "mllm_adapter"

SOURCE = "source"
"""Key of the card's `architecture` with the identity of the foreign MLLM; `mllm_identity` is that of the other."""

_TENSORS = ("mean", "project", "pooled_mean", "pooled", "token_mean", "tokens", "reading_mean", "reading")


@dataclass(frozen=True)
class Adapter:
    """The maps from statistics to guidance.

    Attributes:
        source: Identity of the foreign MLLM.
        target: Identity of the MLLM to whose guidance it leads.
        identity: Name and digest of the adapter; guidance carries it.
        look: How the foreign MLLM looks.
        mean: [F], of the statistics as in `Sight.flat`.
        project: [F, R], to the principal components.
        pooled_mean: [D].
        pooled: [R, D].
        token_mean: [T, D].
        tokens: [R, T, D].
        reading_mean: [23].
        reading: [R, 23]: presence logits, strengths and scaled parameters, as the degradation head gives them.
        directions: Of the target's embedding, so that severities can be set; None where it has none.
    """

    source: str
    target: str
    identity: str
    look: Look
    mean: Tensor
    project: Tensor
    pooled_mean: Tensor
    pooled: Tensor
    token_mean: Tensor
    tokens: Tensor
    reading_mean: Tensor
    reading: Tensor
    directions: Directions | None = None

    def guidance(self, sight: Sight, description: str = "") -> Guidance:
        """Return the guidance of one image from what the foreign MLLM sees in it (`Seer.see`)."""
        code = (sight.flat() - self.mean) @ self.project
        parts = (self.reading_mean + code @ self.reading)[None].split((7, 7, 9), dim=-1)
        reading = Reading(*parts)
        return Guidance(
            tokens=self.token_mean[None] + torch.einsum("r,rtd->td", code, self.tokens)[None],
            pooled=(self.pooled_mean + code @ self.pooled)[None],
            scores=reading.scores(),
            parameters=reading.physical(),
            descriptions=(description,),
            mllm_identity=self.target,
            directions=self.directions,
            adapter=self.identity,
        )


def write_adapter(path: Path, adapter: Adapter, card: Card) -> None:
    """Write an adapter, whole or not at all."""
    state = {name: getattr(adapter, name) for name in _TENSORS}
    if adapter.directions is not None:
        state |= {"directions.tokens": adapter.directions.tokens, "directions.pooled": adapter.directions.pooled}
    write_weights(path, state, card, torch.float16)


def read_adapter(path: Path) -> tuple[Adapter, Card]:
    """Read an adapter and its card.

    Raises:
        WeightFileError: The file is not an adapter, or damaged.
    """
    state, card = read_weights(path, KIND)
    try:
        tensors = {name: state[name].float() for name in _TENSORS}
        directions = None
        if "directions.tokens" in state:
            directions = Directions(state["directions.tokens"].float(), state["directions.pooled"].float())
        adapter = Adapter(
            source=str(card.architecture[SOURCE]),
            target=card.mllm_identity,
            identity=f"{card.name}:{weights_digest(path)}",
            look=Look.from_json(card.architecture["look"]),
            directions=directions,
            **tensors,
        )
        _check_shapes(adapter)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightFileError(f"{path} does not hold an adapter ({error}): align the model again.") from error
    return adapter, card


def file_name(source: str, target: str) -> str:
    """Return the name of the file of the adapter between two MLLMs."""
    name, _, digest = source.partition(":")
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "mllm"
    return f"{plain}-{digest[:8]}-to-{target.partition(':')[2][:8]}.safetensors"


def find_adapter(source: str, folders: Iterable[Path], target: str = "") -> Path | None:
    """Return the newest adapter file from a foreign MLLM, by its identity, or None.

    Args:
        source: Identity of the foreign MLLM.
        folders: Where adapters are kept; those that do not exist are left out.
        target: Identity of the MLLM to which it has to lead; empty for any.
    """
    found = []
    for folder in folders:
        for path in sorted(folder.glob("*.safetensors")) if folder.is_dir() else ():
            try:
                card = read_card(path, KIND)
            except WeightFileError:
                continue  # another kind of file, or a damaged one, which is not looked for here
            if card.architecture.get(SOURCE) == source and target in ("", card.mllm_identity):
                found.append(path)
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def default_folder() -> Path:
    """Return the folder of adapters outside a running ComfyUI.

    That of the ComfyUI in whose `custom_nodes` the package lies, else one in the user's home.
    """
    package = Path(__file__).resolve().parent.parent.parent
    if package.parent.name == "custom_nodes":
        return package.parent.parent / "models" / "mofe" / "adapters"
    return Path.home() / ".local" / "share" / "mofe" / "adapters"


def _check_shapes(adapter: Adapter) -> None:
    features, rank = adapter.project.shape
    tokens, width = adapter.token_mean.shape
    expected = {
        "mean": (features,),
        "pooled_mean": (width,),
        "pooled": (rank, width),
        "tokens": (rank, tokens, width),
        "reading_mean": (23,),
        "reading": (rank, 23),
    }
    for name, shape in expected.items():
        if tuple(getattr(adapter, name).shape) != shape:
            raise ValueError(f"{name} has shape {tuple(getattr(adapter, name).shape)}, not {shape}")
