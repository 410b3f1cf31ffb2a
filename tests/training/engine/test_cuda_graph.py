"""A captured step has the losses and gradients of one that is not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mofe_restore.model.errors import TrainingError
from mofe_restore.model.restorer.config import RestorerConfig
from mofe_restore.model.restorer.network import Restorer
from mofe_restore.training.engine.cuda_graph import GraphedStep
from mofe_restore.training.restorer.network import RestorerInTraining

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA graph needs a CUDA device")


def batch(seed: int, crops: int = 4) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"crop": (crops, 3, 64, 64), "thumbnail": (3, 3, 128, 128), "tokens": (3, 5, 16), "pooled": (3, 16)}
    numbers = {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}
    numbers["scene"] = torch.arange(crops) % 3
    numbers["place"] = torch.tensor([0, 0, 64, 64]).repeat(crops, 1)
    numbers["guidance_mask"] = torch.rand(3, generator=generator) < 0.7
    numbers["removal"] = torch.ones(3, 7)
    return {name: value.cuda() for name, value in numbers.items()}


def test_a_replay_has_the_numbers_and_the_gradients_of_the_step_itself() -> None:
    torch.manual_seed(0)
    network = RestorerInTraining(Restorer(RestorerConfig(widths=(8, 8, 16, 16), guidance_width=16))).cuda()
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    parameters = list(network.parameters())

    def gradients(given: dict[str, Tensor]) -> dict[str, Tensor]:
        restored, routing, preview = network(given)
        assert restored is not None
        loss = restored.square().mean() + preview.square().mean() + sum(each.square().mean() for each in routing)
        loss.backward()
        return {"loss": loss.detach()}

    known = []
    for seed in (1, 2):
        network.zero_grad()
        known.append((gradients(batch(seed)), [each.grad for each in parameters]))
        network.zero_grad()  # not to be added to
    graphed = GraphedStep(gradients, batch(0), parameters)
    for seed, (numbers, expected) in zip((1, 2), known, strict=True):
        assert torch.allclose(graphed(batch(seed))["loss"], numbers["loss"], rtol=1e-4)
        for parameter, gradient in zip(parameters, expected, strict=True):
            assert (parameter.grad is None) == (gradient is None)
            assert gradient is None or torch.allclose(parameter.grad, gradient, rtol=1e-2, atol=1e-5)
    with pytest.raises(TrainingError, match="change their shape"):
        graphed(batch(3, crops=5))
