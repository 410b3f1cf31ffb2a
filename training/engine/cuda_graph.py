"""Capture a training step as a CUDA graph and replay it on new batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ...model.errors import TrainingError

Tensors = dict[str, Tensor]
"""A batch, or losses, by name."""

WARM_UP = 3
"""Steps before the capture, in which libraries choose their kernels and blocks are compiled."""


class GraphedStep:
    """Computes losses and gradients of batches of the same shapes by replaying a captured step.

    A step of the restorer is some five thousand small operations, which Python takes three times as long to launch as
    the GPU to run (docs/experiments.md).

    Args:
        gradients: Leaves the gradients of a batch in the parameters and returns its losses.
        batch: The first one, on its device; the others have its shapes.
        parameters: What is trained. Their gradients are in the graph's memory afterwards, and stay there.
    """

    def __init__(
        self, gradients: Callable[[Tensors], Tensors], batch: Tensors, parameters: Sequence[nn.Parameter]
    ) -> None:
        self._batch = {name: value.clone() for name, value in batch.items()}
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                _drop_gradients(parameters)
                gradients(self._batch)
        _drop_gradients(parameters)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        # the loader's thread pins memory meanwhile, which is not part of the step
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._losses = gradients(self._batch)

    def __call__(self, batch: Tensors) -> Tensors:
        """Return the losses of a batch; its gradients are in the parameters.

        Raises:
            TrainingError: The batch has other shapes than the captured one.
        """
        if _shapes(batch) != _shapes(self._batch):
            raise TrainingError("Batches of this run change their shape: set capture = false in [loop].")
        for name, value in self._batch.items():
            value.copy_(batch[name], non_blocking=True)
        self._graph.replay()
        return {name: value.clone() for name, value in self._losses.items()}


def _shapes(batch: Tensors) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (value.shape, value.dtype) for name, value in batch.items()}


def _drop_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Set gradients to None, so that a backward pass writes them instead of adding to them."""
    for parameter in parameters:
        parameter.grad = None
