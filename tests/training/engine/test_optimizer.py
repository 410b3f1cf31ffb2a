"""AdamW, and Muon beside it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mofe_restore.training.engine.checkpoint import load_optimizer, optimizer_tensors
from mofe_restore.training.engine.optimizer import CombinedOptimizer, Muon, build_optimizer, orthogonalized


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(8, 6), nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 1))


def step(net: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    ids = torch.randint(0, 8, (16,), generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    (net(ids).squeeze(1) - ids / 8).square().mean().backward()
    optimizer.step()


def test_every_parameter_is_trained_once_and_vectors_do_not_decay() -> None:
    net = network()
    optimizer = build_optimizer(net, "muon", 1e-2, 0.1)
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(map(id, trained)) == sorted(map(id, net.parameters()))
    for group in optimizer.param_groups:
        assert group["weight_decay"] == (0.0 if all(p.ndim < 2 for p in group["params"]) else 0.1)


def test_a_weight_shared_with_an_embedding_is_left_to_adamw() -> None:
    net = nn.Sequential(nn.Embedding(8, 6), nn.Linear(6, 8, bias=False), nn.Linear(8, 2))
    net[1].weight = net[0].weight
    muon = build_optimizer(net, "muon", 1e-2, 0.0).param_groups[-1]["params"]
    assert [id(parameter) for parameter in muon] == [id(net[2].weight)]


def test_dense_convolutions_are_left_to_muon_where_it_is_asked_for() -> None:
    net = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8))
    assert not isinstance(build_optimizer(net, "muon", 1e-2, 0.0), CombinedOptimizer)
    optimizer = build_optimizer(net, "muon-conv", 1e-2, 0.0)
    assert [id(p) for p in optimizer.param_groups[-1]["params"]] == [id(net[0].weight)]
    before, image = net[0].weight.detach().clone(), torch.rand(1, 4, 8, 8)
    net(image).square().mean().backward()
    optimizer.step()
    change = (net[0].weight.detach() - before).flatten(1)
    sizes = torch.linalg.svdvals(change) / (1e-2 * 0.2 * 36**0.5)
    assert float(sizes.min()) > 0.5 and float(sizes.max()) < 1.3


def test_both_kinds_lower_a_loss() -> None:
    for kind in ("adamw", "muon"):
        net = network()
        optimizer = build_optimizer(net, kind, 1e-2, 0.0)
        ids = torch.arange(8)
        before = (net(ids).squeeze(1) - ids / 8).square().mean().item()
        for number in range(60):
            step(net, optimizer, number)
        assert (net(ids).squeeze(1) - ids / 8).square().mean().item() < 0.5 * before


def test_a_restored_state_goes_on_bit_by_bit() -> None:
    straight, resumed = network(), network()
    first = build_optimizer(straight, "muon", 1e-2, 0.1)
    for number in range(5):
        step(straight, first, number)
    second = build_optimizer(resumed, "muon", 1e-2, 0.1)
    resumed.load_state_dict(straight.state_dict())
    load_optimizer(second, {name: value.clone() for name, value in optimizer_tensors(first).items()})
    for number in range(5, 9):
        step(straight, first, number)
        step(resumed, second, number)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))


def test_the_learning_rate_reaches_every_part() -> None:
    net = network()
    optimizer = build_optimizer(net, "muon", 1e-2, 0.1)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = [parameter.clone() for parameter in net.parameters()]
    step(net, optimizer, 0)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_muon_goes_the_way_of_torchs_own() -> None:
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    torch.manual_seed(0)
    ours, other = (nn.Parameter(torch.eye(7, 20) + 0.1) for _ in range(2))
    mine, reference = Muon([ours], 1e-2, 0.1), torch.optim.Muon([other], 1e-2, 0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        gradient = torch.randn(7, 20)
        ours.grad, other.grad = gradient.clone(), gradient.clone()
        mine.step()
        reference.step()
    moved = (other - torch.eye(7, 20) - 0.1).abs().mean()
    assert (ours - other).abs().mean() < 0.02 * moved, "further apart than rounding to bf16 explains"


@pytest.mark.parametrize("shape", [(6, 40), (40, 6)])
def test_on_a_cpu_nothing_is_rounded_to_bf16(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    update = orthogonalized(torch.randn(shape))
    assert update.dtype == torch.float32 and update.shape == shape
    lengths = torch.linalg.svdvals(update)
    assert float(lengths.min()) > 0.6 and float(lengths.max()) < 1.3
