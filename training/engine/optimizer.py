"""The optimizer of the training loop: AdamW, or Muon for the matrices with AdamW for the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...model.errors import TrainingError


def build_optimizer(network: nn.Module, kind: str, rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Return one optimizer for all trainable parameters; those of less than two dimensions do not decay.

    Args:
        network: What is trained.
        kind: "adamw", or "muon", which orthogonalises the updates of linear layers (Jordan et al. 2024, scaled to the
            size of AdamW's updates as in arXiv 2502.16982) and leaves embeddings, convolutions and vectors to AdamW.
        rate: Learning rate.
        weight_decay: Of parameters of two and more dimensions.

    Raises:
        TrainingError: This torch has no Muon.
    """
    if kind == "muon" and not hasattr(torch.optim, "Muon"):
        raise TrainingError(
            f"The optimizer muon needs torch 2.9 or newer and this is {torch.__version__}: update torch, or set "
            'optimizer = "adamw" in [loop].'
        )
    matrices = _linear_weights(network) if kind == "muon" else []
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
    muon = torch.optim.Muon(matrices, lr=rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
    return CombinedOptimizer([adamw, muon])


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
