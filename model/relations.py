"""Losses on the routing: follow the relations between the MLLM's embeddings, and keep every expert in use."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import full_precision


def routing_vectors(routings: Sequence[Tensor]) -> Tensor:
    """One routing vector per picture, [B, blocks * K]: the mean weight of each expert in each MoFE block.

    Args:
        routings: one [B, K, nH, nW] per MoFE block, as `Restorer.restore` gives them.
    """
    return torch.cat([weights.float().mean((2, 3)) for weights in routings], dim=1)


def relational_alignment_loss(
    routing: Tensor, embeddings: Tensor, temperature: float = 0.5, among: Tensor | None = None
) -> Tensor:
    """Pictures that the MLLM finds alike should be routed alike (arXiv 2605.11444, abstract; the formula is ours).

    Both sides become the B x B matrix of cosines between the batch-centred vectors: without centring all routing
    vectors (weights that sum to 1) and all embeddings of one MLLM look nearly the same, and there is nothing to align.
    The target is detached and contrast-stretched, tanh(cosine / temperature) / tanh(1 / temperature), which keeps -1, 0
    and 1 in place.

    Args:
        routing: [B, R].
        embeddings: [B, D].
        temperature: above 0; smaller means more contrast.
        among: [B] bool, the vectors that count; None counts all. A mask, so that a step's shapes never change.

    Returns:
        Mean squared difference over the pairs of different pictures; 0 where fewer than three count, since centred
        vectors of two have no relations but the trivial one.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
    batch = routing.shape[0]
    if embeddings.shape[0] != batch:
        raise ValueError(f"{batch} routing vectors but {embeddings.shape[0]} embeddings")
    counts = torch.ones(batch, device=routing.device) if among is None else among.float()
    with full_precision(routing.device):
        target = centred_cosines(embeddings.detach().float(), counts)
        target = torch.tanh(target / temperature) / math.tanh(1.0 / temperature)
        difference = (centred_cosines(routing.float(), counts) - target).square()
        pairs = counts[:, None] * counts * (1 - torch.eye(batch, device=routing.device)) * (counts.sum() >= 3)
        return (difference * pairs).sum() / pairs.sum().clamp_min(1)


def centred_cosines(vectors: Tensor, counts: Tensor | None = None) -> Tensor:
    """[B, B] cosines between vectors [B, N] after the mean of those that count, 1 or 0 in [B], is taken away."""
    counts = torch.ones(len(vectors), device=vectors.device) if counts is None else counts
    # eps bounds the gradient while the routing vectors of an untrained network are still nearly equal
    mean = (counts[:, None] * vectors).sum(0) / counts.sum().clamp_min(1)
    unit = F.normalize(vectors - mean, dim=1, eps=1e-3)
    return unit @ unit.T


def balance_loss(routing: Tensor) -> Tensor:
    """Guards against experts that nobody uses: divergence of the batch's mean usage from uniform, in nats.

    Only the mean over the whole batch is held near uniform, so single pictures and windows stay free to specialise.

    Args:
        routing: [B, K] or [B, K, nH, nW], weights that sum to 1 over K.

    Returns:
        KL(usage || uniform), 0 when all experts are used alike, log K when only one is.
    """
    usage = routing.float().transpose(0, 1).flatten(1).mean(1).clamp_min(1e-8)
    return (usage * (usage * usage.numel()).log()).sum()
