"""The restorer's losses: errors of images, and of the routing.

Errors are L1 and the logarithm of the squared error, which is the mean PSNR (as in NAFNet, arXiv 2204.04676). The
routing follows the relations between the MLLM's embeddings (relational alignment; arXiv 2605.11444, abstract, the
formula is ours) and uses every expert.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...model.precision import full_precision
from .config import LossConfig

LossParts = tuple[Tensor, dict[str, Tensor]]
"""A loss, and its parts by name for the log."""

COARSE = 16
"""Errors over more image pixels than this are errors of tone."""


def tone_loss(preview: Tensor, target_thumbnail: Tensor, weights: LossConfig) -> LossParts:
    """Return the loss of the tone branch.

    Args:
        preview: [B, 3, A, A], the `affine_preview` of the scenes.
        target_thumbnail: [B, 3, T, T] in 0..1, of the targets.
        weights: Of the parts.
    """
    error = preview - F.adaptive_avg_pool2d(target_thumbnail.float(), (preview.shape[2], preview.shape[3]))
    absolute, decibel = error.abs().mean(), mean_psnr(error)
    return weights.tone * (absolute - weights.log_error * decibel), {"tone": absolute, "tone_psnr": decibel}


def crop_loss(
    restored: Tensor,
    target: Tensor,
    routing: Sequence[Tensor],
    embeddings: Tensor,
    guided: Tensor,
    weights: LossConfig,
) -> LossParts:
    """Return the loss of crops.

    Args:
        restored: [C, 3, h, w].
        target: [C, 3, h, w] in 0..1.
        routing: One [C, K, nH, nW] per MoFE block; empty for a network without (in the ablation).
        embeddings: [C, D], the pooled embeddings of the crops' scenes.
        guided: [C] bool, the crops whose guidance was not withheld.
        weights: Of the parts.
    """
    error = restored.float() - target.float()
    absolute, decibel, detail = error.abs().mean(), mean_psnr(error), mean_psnr(detail_of(error))
    relational = balance = absolute * 0.0
    if routing:
        temperature = weights.relational_temperature
        relational = relational_alignment_loss(routing_vectors(routing), embeddings, temperature, guided)
        balance = torch.stack([balance_loss(block) for block in routing]).mean()
    loss = (
        absolute
        - weights.log_error * decibel
        - weights.detail * detail
        + weights.relational * relational
        + weights.balance * balance
    )
    return loss, {
        "l1": absolute,
        "psnr": decibel,
        "detail_psnr": detail,
        "relational": relational,
        "balance": balance,
    }


def mean_psnr(error: Tensor) -> Tensor:
    """Return the mean PSNR in dB of errors [B, 3, H, W]."""
    return -10 * torch.log10(error.square().mean((1, 2, 3)) + 1e-5).mean()


def detail_of(error: Tensor) -> Tensor:
    """Return an error [B, 3, H, W] without its part coarser than `COARSE` px, of which H and W are multiples."""
    tone = F.interpolate(F.avg_pool2d(error, COARSE), scale_factor=COARSE, mode="bilinear", align_corners=False)
    return error - tone


def routing_vectors(routings: Sequence[Tensor]) -> Tensor:
    """Return one routing vector per image, [B, blocks * K]: the mean weight of each expert in each MoFE block.

    Args:
        routings: One [B, K, nH, nW] per MoFE block, as `Restorer.restore_crop` returns them.
    """
    return torch.cat([weights.float().mean((2, 3)) for weights in routings], dim=1)


def relational_alignment_loss(
    routing: Tensor, embeddings: Tensor, temperature: float = 0.5, among: Tensor | None = None
) -> Tensor:
    """Return how far the relations of the routing are from those of the embeddings.

    Images that the MLLM finds similar should be routed similarly (arXiv 2605.11444, abstract; the formula is ours).

    Both sides become the B x B matrix of cosines between the batch-centered vectors: without centering all routing
    vectors (weights that sum to 1) and all embeddings of one MLLM are nearly the same, and there is nothing to align.
    The target is detached and contrast-stretched, tanh(cosine / temperature) / tanh(1 / temperature), which keeps -1, 0
    and 1 in place.

    Args:
        routing: [B, R].
        embeddings: [B, D].
        temperature: Above 0; smaller means more contrast.
        among: [B] bool, the vectors that count; None counts all. A mask, so that the shapes of a step never change.

    Returns:
        Mean squared difference over the pairs of different images; 0 where fewer than three count, since centered
        vectors of two have no relations but the trivial one.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
    batch = routing.shape[0]
    if embeddings.shape[0] != batch:
        raise ValueError(f"{batch} routing vectors but {embeddings.shape[0]} embeddings")
    counts = torch.ones(batch, device=routing.device) if among is None else among.float()
    with full_precision(routing.device):
        target = centered_cosines(embeddings.detach().float(), counts)
        target = torch.tanh(target / temperature) / math.tanh(1.0 / temperature)
        difference = (centered_cosines(routing.float(), counts) - target).square()
        pairs = counts[:, None] * counts * (1 - torch.eye(batch, device=routing.device)) * (counts.sum() >= 3)
        return (difference * pairs).sum() / pairs.sum().clamp_min(1)


def centered_cosines(vectors: Tensor, counts: Tensor | None = None) -> Tensor:
    """Return [B, B] cosines between vectors [B, N] minus the mean of those that count (1 or 0 in `counts`, [B])."""
    counts = torch.ones(len(vectors), device=vectors.device) if counts is None else counts
    # eps bounds the gradient while the routing vectors of an untrained network are still nearly equal
    mean = (counts[:, None] * vectors).sum(0) / counts.sum().clamp_min(1)
    unit = F.normalize(vectors - mean, dim=1, eps=1e-3)
    return unit @ unit.T


def balance_loss(routing: Tensor) -> Tensor:
    """Return the divergence of the batch's mean usage of experts from uniform, in nats: a guard against unused experts.

    Only the mean over the whole batch is held near uniform, so single images and windows are free to specialize.

    Args:
        routing: [B, K] or [B, K, nH, nW], weights that sum to 1 over K.

    Returns:
        KL(usage || uniform), 0 when all experts are used alike, log K when only one is.
    """
    usage = routing.float().transpose(0, 1).flatten(1).mean(1).clamp_min(1e-8)
    return (usage * (usage * usage.numel()).log()).sum()
