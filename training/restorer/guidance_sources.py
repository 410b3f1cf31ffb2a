"""Where the guidance of a training run comes from: the MLLM, or what the ablation puts in its place."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ...model.mllm.describer import Mllm
from ...model.mllm.head import scale_parameters
from ...model.synthesis.degrade import GroundTruth
from ..mllm.architecture import pixel_values


class GuidanceSource(Protocol):
    """Turns a degraded image into guidance, in two halves: one for the loader's workers, one for the device.

    Attributes:
        width: D, the length of an embedding.
        identity: Of the MLLM; empty where there is none.
    """

    width: int
    identity: str

    def prepare(self, image: Tensor, truth: GroundTruth, view_sets: int = 1) -> Tensor:
        """Return what `embed` needs to know about an image [3, H, W] in 0..1.

        Args:
            image: The image.
            truth: What was done to it.
            view_sets: Sets of views that the MLLM sees; at inference it sees up to five.
        """
        ...

    def embed(self, prepared: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens [B, N, D] and pooled vectors [B, D] of B prepared images, on their device."""
        ...


class MllmGuidance:
    """The embeddings of the frozen MLLM.

    The processor takes longer over small views than a small model does, so where all that it does is to scale them,
    they are scaled here in one go.
    """

    def __init__(self, mllm: Mllm) -> None:
        self.mllm, self.width, self.identity = mllm, mllm.width, mllm.identity
        views = self.mllm.views(torch.rand(3, 128, 160, generator=torch.Generator().manual_seed(0)))[None]
        self._one = self.mllm.inputs(views)
        self._only_scales = "pixel_values" in self._one and _same(self._one["pixel_values"], pixel_values(views))

    def prepare(self, image: Tensor, truth: GroundTruth, view_sets: int = 1) -> Tensor:
        """Return the views of an image, uint8 [L, V, 3, S, S]."""
        if view_sets == 1:
            return self.mllm.views(image).unsqueeze(0)
        sets = self.mllm.view_sets(image)
        # small images have fewer, and batches need the same number
        return sets.index_select(0, torch.arange(view_sets) % len(sets))

    def embed(self, prepared: Tensor) -> tuple[Tensor, Tensor]:
        """Return, as at inference, the tokens of the first set of views and the mean pooled vector of all."""
        if self.mllm.device != prepared.device:
            self.mllm.network.to(prepared.device)
        tokens, pooled = self.mllm.embed_inputs(self._inputs(prepared.flatten(0, 1)))
        sets = prepared.shape[1]
        return tokens[::sets].clone(), pooled.unflatten(0, (-1, sets)).mean(1).clone()  # out of inference mode

    def _inputs(self, views: Tensor) -> dict[str, Tensor]:
        if not self._only_scales:
            return self.mllm.inputs(views)
        inputs: dict[str, Tensor] = {
            name: torch.cat([value.to(views.device)] * len(views)) for name, value in self._one.items()
        }
        return inputs | {"pixel_values": pixel_values(views).to(self._one["pixel_values"].dtype)}


class OtherImageGuidance(MllmGuidance):
    """The embeddings of another image of the batch, which say nothing about the image."""

    def embed(self, prepared: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embeddings of the next image of the batch."""
        tokens, pooled = super().embed(prepared)
        return tokens.roll(1, 0), pooled.roll(1, 0)


class OracleGuidance:
    """The true strengths and physical parameters in place of an embedding: an upper bound of what guidance is worth.

    Each number is accompanied by its complement, since the restorer normalizes the vector, which would hide a single
    one.
    """

    width = 32
    identity = ""

    def prepare(self, image: Tensor, truth: GroundTruth, view_sets: int = 1) -> Tensor:
        """Return the true values, [32]."""
        known = torch.cat([torch.from_numpy(truth.strength), scale_parameters(torch.from_numpy(truth.parameters))])
        return torch.cat([known, 1 - known])

    def embed(self, prepared: Tensor) -> tuple[Tensor, Tensor]:
        """Return the prepared values as one token and as pooled vector."""
        return prepared[:, None], prepared


def make_guidance_source(kind: str, mllm: Mllm) -> GuidanceSource:
    """Return the source of this kind, one of `config.GUIDANCE_SOURCES`."""
    if kind == "oracle":
        return OracleGuidance()
    return OtherImageGuidance(mllm) if kind == "other" else MllmGuidance(mllm)


def _same(one: Tensor, two: Tensor) -> bool:
    return one.shape == two.shape and torch.allclose(one.float().cpu(), two, atol=1e-2)
