"""What a training program hands to the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn


class Task(Protocol):
    """What one training program supplies.

    Two members are optional. An attribute `recipe` (a JSON-able dict): where it differs from the checkpoint's, resuming
    is refused; its key `card`, the texts about the weights, may change. A method `prepare`, which makes of a batch on
    its device what `loss` takes; it is run at every step, also where the loss is captured (`LoopConfig.capture`).
    """

    @property
    def network(self) -> nn.Module:
        """What is trained, in place. The loss runs through it, one call a step."""
        ...

    def batch(self, index: int) -> Any:
        """Make batch `index` of (nested) tensors and numbers on the CPU; it depends on index and seed alone.

        Called in a worker process.
        """
        ...

    def loss(self, network: nn.Module, batch: Any, step: int) -> dict[str, Tensor]:
        """Return `loss`, which is minimized, and other scalars for the log, the same names at every step.

        Args:
            network: Prepared for autocast and distributed training.
            batch: On its device.
            step: Updates done. Where the loss is captured, it is that of the capture, and nothing may depend on values
                or change its shape.
        """
        ...

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return metrics of the averaged network: in evaluation mode, fp32, without gradients, main process only."""
        ...

    def export(self, network: nn.Module, folder: Path, step: int, metrics: dict[str, float]) -> None:
        """Write the files to ship from the averaged network, so that a kill leaves the previous ones.

        Args:
            network: The averaged network.
            folder: Where the files go.
            step: Updates done.
            metrics: Those of the latest validation, with its step as `validated_at_step`.
        """
        ...
