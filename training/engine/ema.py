"""Exponential moving average of a network's weights: what is validated, exported and shipped."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def ema_decay(decay: float, updates: int) -> float:
    """Return the decay of update n = `updates` (from 0): min(decay, (1 + n) / (10 + n)), so early weights fade fast."""
    return min(decay, (1 + updates) / (10 + updates))


def named_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a network's state by name, each shared tensor once (detached, not copied)."""
    kept = network.state_dict().keys()
    tensors: dict[str, Tensor] = {}
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if name in kept:
            tensors[name] = tensor.detach()
    return tensors


class Ema:
    """Averaged copy of a network, always in evaluation mode and without gradients.

    Trainable floating parameters are averaged, buffers are copied, frozen parameters stay as they were copied.
    Make it before Accelerate prepares the network: preparing replaces `forward` on the instance, and a copy made
    later would run the weights of the original.

    Args:
        network: The network to average.
        decay: In [0, 1).

    Attributes:
        network: The averaged network.

    Raises:
        ValueError: The decay is outside its range.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"the EMA decay must be in [0, 1), not {decay}")
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        averaged = dict(self.network.named_parameters())
        self._source = network
        self._averages = [averaged[name].detach() for name, p in network.named_parameters() if p.requires_grad]
        buffers = dict(self.network.named_buffers())
        self._buffers = [(buffers[name], b) for name, b in network.named_buffers()]

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Average in the network's current weights; `updates` is the number of updates before this one."""
        if self._averages:
            # looked up each time: preparing for several processes gives the parameters other memory
            sources = [p.detach() for p in self._source.parameters() if p.requires_grad]
            torch._foreach_lerp_(self._averages, sources, 1.0 - ema_decay(self.decay, updates))
        for average, source in self._buffers:
            average.copy_(source)
