"""Where the guidance of a training run comes from: the MLLM, or what the ablation puts in its place."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ..model.head import scaled
from ..model.imaging.degradations import Truth
from ..model.mllm import Mllm
from .config import TrainingError
from .mllm_model import pixel_values


class Guide(Protocol):
    """Turns a degraded picture into guidance, in two halves: one for the loader's workers, one for the device."""

    width: int
    """D, the length of an embedding."""
    identity: str
    """Of the MLLM; empty where there is none."""

    def prepare(self, picture: Tensor, truth: Truth, looks: int = 1) -> Tensor:
        """What `embed` needs to know of a picture [3, H, W] in 0..1.

        Args:
            looks: how many of the places at which the MLLM looks in use are to be looked at.
        """

    def embed(self, prepared: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, N, D] and pooled vectors [B, D] of B prepared pictures, on their device."""


class MllmGuide:
    """The frozen MLLM's embeddings.

    The processor takes longer over small views than a small model does, so where all it does is to scale them, that is
    done here in one go.
    """

    def __init__(self, mllm: Mllm) -> None:
        self.mllm, self.width, self.identity = mllm, mllm.width, mllm.identity
        looks = self.mllm.looks(torch.rand(3, 128, 160, generator=torch.Generator().manual_seed(0)))[None]
        self._one = self.mllm.inputs(looks)
        self._only_scales = "pixel_values" in self._one and _same(self._one["pixel_values"], pixel_values(looks))

    def prepare(self, picture: Tensor, truth: Truth, looks: int = 1) -> Tensor:
        if looks == 1:
            return self.mllm.looks(picture)[None]
        around = self.mllm.look_around(picture)
        return around[torch.arange(looks) % len(around)]  # small pictures have fewer places, and batches want the same

    def embed(self, prepared: Tensor) -> tuple[Tensor, Tensor]:
        """As in use: the tokens of the first look, the mean pooled vector of all."""
        if self.mllm.device != prepared.device:
            self.mllm.network.to(prepared.device)
        tokens, pooled = self.mllm.embed_inputs(self._inputs(prepared.flatten(0, 1)))
        looks = prepared.shape[1]
        return tokens[::looks].clone(), pooled.unflatten(0, (-1, looks)).mean(1).clone()  # out of inference mode

    def _inputs(self, looks: Tensor) -> dict[str, Tensor]:
        if not self._only_scales:
            return self.mllm.inputs(looks)
        inputs = {name: torch.cat([value.to(looks.device)] * len(looks)) for name, value in self._one.items()}
        return inputs | {"pixel_values": pixel_values(looks).to(self._one["pixel_values"].dtype)}


class OtherPictureGuide(MllmGuide):
    """The embeddings of another picture of the batch: whatever they teach, it is not about the picture."""

    def embed(self, prepared: Tensor) -> tuple[Tensor, Tensor]:
        tokens, pooled = super().embed(prepared)
        return tokens.roll(1, 0), pooled.roll(1, 0)


class OracleGuide:
    """The true strengths and physical parameters in place of an embedding: what guidance could be worth at most.

    Each number stands beside its complement, since the restorer normalises the vector, which would hide a single one.
    """

    width = 32
    identity = ""

    def prepare(self, picture: Tensor, truth: Truth, looks: int = 1) -> Tensor:
        known = torch.cat([torch.from_numpy(truth.strength), scaled(torch.from_numpy(truth.parameters))])
        return torch.cat([known, 1 - known])

    def embed(self, prepared: Tensor) -> tuple[Tensor, Tensor]:
        return prepared[:, None], prepared


def _same(one: Tensor, two: Tensor) -> bool:
    return one.shape == two.shape and torch.allclose(one.float().cpu(), two, atol=1e-2)


def guide_of(kind: str, mllm: Mllm) -> Guide:
    """The guide of this kind: "mllm", "other" or "oracle".

    Raises:
        TrainingError: there is none of this kind.
    """
    if kind == "oracle":
        return OracleGuide()
    kinds = {"mllm": MllmGuide, "other": OtherPictureGuide}
    if kind not in kinds:
        raise TrainingError(f"guidance in [data] must be mllm, other or oracle, not {kind!r}.")
    return kinds[kind](mllm)
