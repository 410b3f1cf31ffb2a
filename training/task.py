"""What a training program hands to the loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn


class Task(Protocol):
    """What one training program supplies.

    An attribute `recipe` (a JSON-able dict) is optional: where it differs from the checkpoint's, resuming is refused;
    its key `card`, the words about the weights, may change. A method `prepare` is optional, too: it makes of a batch on
    its device what `loss` takes, and is run at every step also where the loss is recorded once (`capture`).
    """

    network: nn.Module
    """Trained in place. The loss runs through it, one call a step."""

    def batch(self, index: int) -> Any:
        """Batch number `index` as (nested) tensors and numbers on the CPU, made in a worker; depends on index and
        seed alone."""

    def loss(self, network: nn.Module, batch: Any, step: int) -> dict[str, Tensor]:
        """`loss`, to be lowered, and other scalars for the log, the same names at every step.

        `network` is prepared (autocast, distributed), the batch is on its device, `step` counts updates from 0; with
        `capture` it is that of the recording, and nothing may depend on values or change its shape.
        """

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Metrics of the averaged network: in evaluation mode, fp32, without gradients, main process only."""

    def export(self, network: nn.Module, folder: Path, step: int, metrics: dict[str, float]) -> None:
        """Write the files to ship, from the averaged network, so that a kill leaves the previous ones.

        `metrics` are those of the latest validation, with its step as `validated_at_step`.
        """
