"""A training step as a CUDA graph: recorded once, replayed ever after with other numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .config import TrainingError

Numbers = dict[str, Tensor]

WARM_UP = 3
"""Steps before the recording, in which libraries choose their kernels and what is compiled is compiled."""


class Captured:
    """Losses and gradients of batches of the same shapes.

    A step of the restorer is some five thousand small operations, which take Python three times as long to launch as
    the GPU to run (RESULTS.md).
    """

    def __init__(
        self, gradients: Callable[[Numbers], Numbers], batch: Numbers, parameters: Sequence[nn.Parameter]
    ) -> None:
        """Records `gradients`.

        Args:
            gradients: leaves the gradients of a batch in the parameters and returns numbers about it.
            batch: the first one, on its device; the others have its shapes.
            parameters: what learns. Their gradients lie in the graph's memory afterwards, and stay there.
        """
        self._batch = {name: value.clone() for name, value in batch.items()}
        apart = torch.cuda.Stream()
        apart.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(apart):
            for _ in range(WARM_UP):
                _forget(parameters)
                gradients(self._batch)
        _forget(parameters)
        torch.cuda.current_stream().wait_stream(apart)
        self._graph = torch.cuda.CUDAGraph()
        # the loader's thread pins memory meanwhile, which is no part of the step
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._numbers = gradients(self._batch)

    def __call__(self, batch: Numbers) -> Numbers:
        """The numbers of a batch; its gradients lie in the parameters.

        Raises:
            TrainingError: the batch holds other shapes than the recorded one.
        """
        if _shapes(batch) != _shapes(self._batch):
            raise TrainingError("Batches of this run change their shape: set capture = false in [loop].")
        for name, value in self._batch.items():
            value.copy_(batch[name], non_blocking=True)
        self._graph.replay()
        return {name: value.clone() for name, value in self._numbers.items()}


def _shapes(batch: Numbers) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (value.shape, value.dtype) for name, value in batch.items()}


def _forget(parameters: Sequence[nn.Parameter]) -> None:
    """Without gradients at its start, a backward pass writes them instead of adding to them."""
    for parameter in parameters:
        parameter.grad = None
