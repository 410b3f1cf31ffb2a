"""The optimizer of the training loop: AdamW, or Muon for the matrices with AdamW for the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def build_optimizer(network: nn.Module, kind: str, rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Return one optimizer for all trainable parameters; those of less than two dimensions do not decay.

    Args:
        network: What is trained.
        kind: "adamw", or "muon", which orthogonalises the updates of linear layers (Jordan et al. 2024, scaled to the
            size of AdamW's updates as in arXiv 2502.16982) and leaves embeddings, convolutions and vectors to AdamW, or
            "muon-conv", which takes the dense convolutions, too, whose kernels are columns of a matrix.
        rate: Learning rate.
        weight_decay: Of parameters of two and more dimensions.
    """
    matrices = _linear_weights(network) if kind.startswith("muon") else []
    if kind == "muon-conv":
        matrices += _dense_kernels(network)
    chosen = {id(parameter) for parameter in matrices}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in chosen]
    fused = True if next(network.parameters()).device.type in ("cpu", "cuda") else None
    adamw = torch.optim.AdamW(
        [
            {"params": [p for p in rest if p.ndim >= 2], "weight_decay": weight_decay},
            {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=rate,
        fused=fused,
    )
    if not matrices:
        return adamw
    return CombinedOptimizer([adamw, Muon(matrices, rate, weight_decay)])


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) with Nesterov momentum, updates scaled to the size of AdamW's (arXiv 2502.16982).

    The same as torch's (2.9 and newer), which always orthogonalizes in bf16: on CPUs without bf16 that takes about 25
    times as long as in fp32, longer than all the rest of a step of a small network.

    Args:
        matrices: Parameters of two dimensions, or of more, of which the first counts and all others are one.
        rate: Learning rate.
        weight_decay: Decoupled.
        momentum: Share of the earlier gradients.
    """

    def __init__(self, matrices: list[Tensor], rate: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(matrices, {"lr": rate, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(matrix.grad)
                buffer = state["momentum_buffer"].lerp_(matrix.grad, 1 - momentum)
                flat = matrix.grad.lerp(buffer, momentum).flatten(1)
                update = orthogonalized(flat).reshape(matrix.shape)
                matrix.mul_(1 - rate * group["weight_decay"])
                matrix.add_(update, alpha=-rate * 0.2 * max(flat.shape) ** 0.5)


def orthogonalized(matrix: Tensor, steps: int = 5) -> Tensor:
    """Return roughly the nearest matrix with singular values of one, by Newton-Schulz: in bf16, on a CPU in fp32."""
    values = matrix.float() if matrix.device.type == "cpu" else matrix.bfloat16()
    tall = values.shape[0] > values.shape[1]
    if tall:
        values = values.T
    values = values / values.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = values @ values.T
        change = torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        values = torch.addmm(values, change, values, beta=3.4445)
    return values.T if tall else values


class CombinedOptimizer(torch.optim.Optimizer):
    """Several optimizers as one, with one list of parameter groups and one dictionary of state."""

    def __init__(self, parts: list[torch.optim.Optimizer]) -> None:
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts, self._counts = parts, [len(part.param_groups) for part in parts]
        self._share()

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all parameters."""
        for part in self.parts:
            part.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state of all parts."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        start = 0
        for part, count in zip(self.parts, self._counts, strict=True):
            part.state, part.param_groups = self.state, self.param_groups[start : start + count]
            start += count


def _linear_weights(network: nn.Module) -> list[Tensor]:
    """Return the weights of linear layers, without those that an embedding shares."""
    embedded = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    return [
        module.weight
        for module in network.modules()
        if isinstance(module, nn.Linear) and module.weight.requires_grad and id(module.weight) not in embedded
    ]


def _dense_kernels(network: nn.Module) -> list[Tensor]:
    """Return the weights of convolutions in which every channel sees every other."""
    return [
        module.weight
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and module.groups == 1 and module.weight.requires_grad
    ]
