"""What an MLLM's hidden states say about an image, as a few vectors: the input of an adapter.

Which layer says most, after which question and in which views, differs between models, so an adapter names all three
(`Look`), chosen on held-out images (`align/fit.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from .wording import DESCRIBE

STATISTICS = ("last", "thumbnail", "crops", "texture", "thumbnail texture")
"""The vectors of a layer, each as wide as its states.

The state after the question; the means over the tokens of the thumbnail and of the crops; and how much the tokens of
the crops, and of the thumbnail, differ from their mean: noise, rain and blur are a matter of texture.
"""

PATCH_STATISTICS = STATISTICS[1:]
"""Those of the patches as they enter the vision tower, before anything of them is lost.

JPEG, noise and blur are plain there: the filters of a tower respond to them whatever it was trained for.
"""

LIST = (
    "Which degradations does this photograph have, and how strong is each: low light, haze, rain, snow, noise, blur, "
    "JPEG artifacts?"
)
"""The question, beside the standard one, after which a state may be taken."""

QUESTIONS = {"describe": DESCRIBE, "list": LIST}
"""Questions by the name that an adapter's card states."""

_EPSILON = 1e-3


@dataclass(frozen=True)
class Look:
    """How an image is shown to a foreign MLLM, and what is read from it.

    Attributes:
        question: Name of one of `QUESTIONS`.
        detail: Show the crops as amplified detail.
        sets: Sets of views whose statistics are averaged.
        layers: Indices of hidden states, 0 being what enters the first layer.
        statistics: Names of `STATISTICS`.
        patches: Names of `PATCH_STATISTICS`, read beside them; none by default.
    """

    question: str = "describe"
    detail: bool = False
    sets: int = 1
    layers: tuple[int, ...] = (-1,)
    statistics: tuple[str, ...] = STATISTICS
    patches: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Look:
        """Return what `to_json` made.

        Raises:
            ValueError: A value that makes no sense.
        """
        try:
            look = cls(
                question=str(values["question"]),
                detail=bool(values["detail"]),
                sets=int(values["sets"]),
                layers=tuple(int(layer) for layer in values["layers"]),
                statistics=tuple(str(name) for name in values["statistics"]),
                patches=tuple(str(name) for name in values["patches"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"the look cannot be read: {error}") from error
        known = set(look.statistics) <= set(STATISTICS) and set(look.patches) <= set(PATCH_STATISTICS)
        if look.question not in QUESTIONS or not known or look.sets < 1:
            raise ValueError("the look has unknown values")
        return look


class Sight(NamedTuple):
    """What a foreign MLLM sees in an image: float32 and on the CPU.

    states [L, S, D] and patches [K, P], layers and statistics in the order of the look; P is that of the model's patch
    embedding, 0 where it has none.
    """

    states: Tensor
    patches: Tensor

    def flat(self) -> Tensor:
        """Return all numbers in one row, [L * S * D + K * P]."""
        return torch.cat([self.states.flatten(), self.patches.flatten()])


class Seer(Protocol):
    """A foreign MLLM whose hidden states can be read."""

    @property
    def identity(self) -> str:
        """Name and digest of the model."""
        ...

    @property
    def layers(self) -> tuple[int, ...]:
        """Hidden states worth reading, the output last."""
        ...

    @property
    def view_sets_worth(self) -> int:
        """Sets of views that it can be shown at little cost."""
        ...

    def see(self, image: Tensor, look: Look) -> Sight:
        """Return the statistics of an image [3, H, W] in 0..1."""
        ...


class PatchWatch:
    """Listens to the patch embedding of a vision tower while it is in a `with` block.

    Args:
        network: A vision language model; one without a convolution of red, green and blue, or a linear layer of that
            name, has no patches to read.
    """

    def __init__(self, network: nn.Module) -> None:
        self._embedding = patch_embedding_of(network)
        self._seen: list[Tensor] = []

    def __enter__(self) -> PatchWatch:
        """Begin to listen."""
        self._seen = []
        if self._embedding is not None:
            self._hook = self._embedding.register_forward_hook(lambda _module, _inputs, output: self._note(output))
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        if self._embedding is not None:
            self._hook.remove()

    def statistics(self, views: int, names: Sequence[str]) -> Tensor:
        """Return the named statistics [K, P] of one set of so many views, the thumbnail first."""
        if not self._seen or not names:
            return torch.zeros(len(names), 0)
        tokens = by_view(torch.cat(self._seen), views)
        return statistics_of(tokens[0, 0], tokens, names)

    def _note(self, output: Tensor) -> None:
        is_linear = isinstance(self._embedding, nn.Linear)  # [B, N, D], else [B, D, ...]
        patches = output.detach() if is_linear else output.detach().flatten(2).mT
        self._seen.append(patches.flatten(0, -2).float())


_PATCHES = re.compile(r"patch_?(embed|dense)")


def patch_embedding_of(network: nn.Module) -> nn.Module | None:
    """Return the layer through which patches enter a vision tower, or a language model that has none; None if unknown.

    It is a convolution of three channels, or a linear layer of patches, which is known by its name, as Gemma 4's.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d) and module.in_channels == 3:
            return module
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear) and module.in_features % 3 == 0 and _PATCHES.search(name):
            return module
    return None


def statistics_of(last: Tensor, tokens: Tensor, names: Sequence[str] = STATISTICS) -> Tensor:
    """Return statistics of the states of one set of views.

    Args:
        last: [D], the state after the question.
        tokens: [V, N, D], the states of the image tokens of each view, the thumbnail first.
        names: Of `STATISTICS`.

    Returns:
        [S, D] float32.
    """
    last, tokens = last.float(), tokens.float()
    means = tokens.mean(1)
    spread = ((tokens - means[:, None]).abs().mean(1) + _EPSILON).log()
    crops = slice(1, None) if len(tokens) > 1 else slice(None)
    values = {
        "last": last,
        "thumbnail": means[0],
        "crops": means[crops].mean(0),
        "texture": spread[crops].mean(0),
        "thumbnail texture": spread[0],
    }
    return torch.stack([values[name] for name in names])


def by_view(tokens: Tensor, views: int) -> Tensor:
    """Divide image tokens [T, D] among so many views, [V, N, D]; leftovers at the end are dropped."""
    each = len(tokens) // views
    return tokens[None] if each == 0 else tokens[: each * views].unflatten(0, (views, each))


def layers_worth(count: int) -> tuple[int, ...]:
    """Return indices of hidden states worth reading, of `count` + 1: the first, the last and up to three between."""
    return tuple(sorted({round(count * quarter / 4) for quarter in range(5)}))
