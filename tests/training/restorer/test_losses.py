"""The relational loss follows the MLLM's relations; the balance loss sees collapse."""

from __future__ import annotations

import math

import pytest
import torch

from mofe_restore.training.restorer.losses import balance_loss, detail_of, relational_alignment_loss, routing_vectors


def test_routing_with_the_same_relations_costs_less_than_shuffled_routing() -> None:
    torch.manual_seed(0)
    embeddings = torch.randn(8, 32)
    same = embeddings @ torch.linalg.qr(torch.randn(32, 32))[0]
    assert relational_alignment_loss(same, embeddings, 5.0) < 0.01
    assert relational_alignment_loss(same.roll(1, 0), embeddings, 5.0) > 0.02


def test_the_target_is_detached_and_the_routing_is_not() -> None:
    routing, embeddings = torch.rand(4, 8, requires_grad=True), torch.randn(4, 16, requires_grad=True)
    relational_alignment_loss(routing, embeddings).backward()
    assert embeddings.grad is None and routing.grad is not None and routing.grad.abs().sum() > 0


def test_a_constant_shift_of_all_vectors_changes_nothing() -> None:
    routing, embeddings = torch.rand(5, 8), torch.randn(5, 16)
    assert torch.allclose(
        relational_alignment_loss(routing + 7, embeddings - 3),
        relational_alignment_loss(routing, embeddings),
        atol=1e-4,
    )


def test_vectors_that_do_not_count_are_as_good_as_left_out() -> None:
    routing, embeddings = torch.rand(7, 8), torch.randn(7, 16)
    among = torch.tensor([True, False, True, True, True, False, True])
    masked = relational_alignment_loss(routing, embeddings, among=among)
    assert masked == pytest.approx(relational_alignment_loss(routing[among], embeddings[among]).item(), abs=1e-6)
    assert relational_alignment_loss(routing, embeddings, among=torch.arange(7) < 2) == 0


@pytest.mark.parametrize("batch", [1, 2])
def test_fewer_than_three_images_have_no_relations(batch: int) -> None:
    routing = torch.rand(batch, 8, requires_grad=True)
    loss = relational_alignment_loss(routing, torch.randn(batch, 16))
    loss.backward()
    assert loss == 0


def test_equal_routing_vectors_do_not_explode() -> None:
    routing = torch.full((6, 4), 0.25, requires_grad=True)
    relational_alignment_loss(routing, torch.randn(6, 16)).backward()
    assert routing.grad is not None and bool(torch.isfinite(routing.grad).all())


def test_balance_is_free_when_experts_share_the_work_over_the_batch_and_dear_when_one_does_it_all() -> None:
    shared = torch.eye(4).repeat(2, 1)[:, :, None, None].expand(8, 4, 2, 2)
    assert balance_loss(shared).abs() < 1e-5
    collapsed = torch.tensor([1.0, 0, 0, 0]).expand(8, 4)
    assert balance_loss(collapsed) == pytest.approx(math.log(4), abs=1e-3)


def test_one_vector_per_image_of_all_blocks() -> None:
    assert routing_vectors([torch.rand(3, 4, 2, 2), torch.rand(3, 4, 4, 4)]).shape == (3, 8)


def test_the_detail_of_an_error_knows_nothing_of_its_tone() -> None:
    error = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.1
    assert torch.allclose(detail_of(error + 0.3), detail_of(error), atol=1e-6)
    assert detail_of(error).std() > 0.95 * error.std()
