"""Ridge regression from statistics to guidance, with the penalty chosen by the error on held-out photographs.

Everything is computed in the space of the images, a few hundred, since the statistics of a large model are tens of
thousands of numbers. Images of one photograph are held out together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..mllm.head import OWNER, scale_parameters
from ..vocabulary import DEGRADATIONS, PARAMETERS

PENALTIES = tuple(10.0**exponent for exponent in (-4, -3.5, -3, -2.5, -2, -1.5, -1, -0.5, 0, 0.5, 1))
"""Penalties that are tried, in units of the mean squared length of a row of statistics."""

FOLDS = 5

MAX_RANK = 384
"""Principal components that are kept at most."""

FEW = 12
"""With fewer images that have a degradation, its strength and parameters are guessed: their mean."""

_EPSILON = 1e-6


class Basis(NamedTuple):
    """Statistics in a basis of their principal components: code = (statistics - mean) @ project.

    mean [F], project [F, R], and the code of the images that it was computed from, [N, R].
    """

    mean: Tensor
    project: Tensor
    code: Tensor


class Fit(NamedTuple):
    """A linear map with an offset, and its predictions for held-out images.

    offset [...], weights [R, ...], held_out [N, ...]; error is that of the held-out ones as a share of the variance.
    """

    offset: Tensor
    weights: Tensor
    held_out: Tensor
    error: float


def basis_of(statistics: Tensor, rank: int = MAX_RANK) -> Basis:
    """Return the principal components of statistics [N, F], each divided by its deviation."""
    values = statistics.double()
    mean = values.mean(0)
    scale = 1 / (values.std(0) + _EPSILON)
    centered = (values - mean) * scale / values.shape[1] ** 0.5
    lengths, vectors = torch.linalg.eigh(centered @ centered.T)
    keep = min(rank, int((lengths > lengths[-1] * 1e-9).sum()))
    lengths, vectors = lengths.flip(0)[:keep], vectors.flip(1)[:, :keep]
    project = centered.T @ vectors / lengths.sqrt()
    scaled = project * scale[:, None] / values.shape[1] ** 0.5
    return Basis(mean.float(), scaled.float(), (vectors * lengths.sqrt()).float())


def ridge(code: Tensor, targets: Tensor, groups: Tensor, shown: Tensor | None = None) -> Fit:
    """Fit targets [N, ...] from code [N, R].

    Args:
        code: Of the images.
        targets: What is to be predicted.
        groups: [N], the photograph of each image.
        shown: [N, M], the same targets in the form in which errors count; None takes the targets.
    """
    flat = targets.flatten(1).double()
    counted = flat if shown is None else shown.double()
    inputs, folds = code.double(), folds_of(groups)
    wrong = dict.fromkeys(PENALTIES, 0.0)
    for fold in folds:
        solutions = _solve(inputs[~fold], flat[~fold], PENALTIES)
        for penalty, (offset, weights) in zip(PENALTIES, solutions, strict=True):
            guessed = _as_shown(offset + inputs[fold] @ weights, shown)
            wrong[penalty] += float((guessed - counted[fold]).square().sum())
    best = min(wrong, key=lambda penalty: wrong[penalty])
    held = torch.zeros_like(flat)
    for fold in folds:  # once more, since the predictions for all penalties would be as many times as large
        ((offset, weights),) = _solve(inputs[~fold], flat[~fold], (best,))
        held[fold] = offset + inputs[fold] @ weights
    error = wrong[best] / float((counted - counted.mean(0)).square().sum() + _EPSILON)
    ((offset, weights),) = _solve(inputs, flat, (best,))
    shape = targets.shape[1:]
    return Fit(
        offset.float().reshape(shape),
        weights.float().reshape(-1, *shape),
        held.float().reshape(-1, *shape),
        error,
    )


def folds_of(groups: Tensor) -> list[Tensor]:
    """Return masks [N] of the images to hold out: whole photographs, or single images where there are few."""
    if len(groups.unique()) >= FOLDS:
        names = groups.unique()
        member = torch.bucketize(groups, names) % FOLDS
    else:
        member = torch.arange(len(groups)) % FOLDS
    return [member == fold for fold in range(FOLDS) if bool((member == fold).any())]


def as_restorers_see(pooled: Tensor) -> Tensor:
    """Return pooled vectors [N, D] as a restorer sees them: normalized."""
    return F.layer_norm(pooled, pooled.shape[-1:])


def fit_reading(code: Tensor, presence: Tensor, strength: Tensor, parameters: Tensor, groups: Tensor) -> Fit:
    """Fit what the degradation head gives: presence logits, strengths and scaled parameters, [23].

    Presence is a ridge regression to -1 and 1, made a logit by a logistic fit on held-out images. Strength and
    parameters are fitted to the images that have the degradation.

    Args:
        code: [N, R].
        presence: [N, 7] in 0..1.
        strength: [N, 7].
        parameters: [N, 9], in their own units.
        groups: [N].
    """
    sides = ridge(code, 2 * presence - 1, groups)
    slope, intercept = _logistic(sides.held_out, presence)
    offsets = [sides.offset * slope + intercept]
    weights = [sides.weights * slope]
    held = [sides.held_out * slope + intercept]
    scaled = scale_parameters(parameters)
    columns = [(strength[:, index], presence[:, index] > 0.5) for index in range(len(DEGRADATIONS))]
    columns += [(scaled[:, index], presence[:, OWNER[index]] > 0.5) for index in range(len(PARAMETERS))]
    for values, rows in columns:
        fitted = _fit_rows(code, values, rows, groups)
        offsets.append(fitted.offset.reshape(1))
        weights.append(fitted.weights.reshape(-1, 1))
        held.append(fitted.held_out.reshape(-1, 1))
    return Fit(torch.cat(offsets), torch.cat(weights, dim=1), torch.cat(held, dim=1), sides.error)


def detection_f1(logits: Tensor, presence: Tensor) -> float:
    """Return the mean F1 over the degradations that occur, of logits [N, 7] from 0 up."""
    found, there = logits >= 0, presence > 0.5
    f1 = 2 * (found & there).sum(0) / (found.sum(0) + there.sum(0)).clamp(min=1)
    occurs = there.any(0)
    return float(f1[occurs].mean()) if bool(occurs.any()) else 0.0


def _fit_rows(code: Tensor, values: Tensor, rows: Tensor, groups: Tensor) -> Fit:
    """Fit the images of `rows` only; held-out predictions are for all."""
    mean = values[rows].mean() if bool(rows.any()) else torch.zeros(())
    if int(rows.sum()) < FEW:
        return Fit(mean.reshape(1), torch.zeros(code.shape[1], 1), mean.expand(len(code), 1), 1.0)
    fitted = ridge(code[rows], values[rows, None], groups[rows])
    held = fitted.offset + code @ fitted.weights
    held[rows] = fitted.held_out
    return fitted._replace(held_out=held)


def _solve(code: Tensor, targets: Tensor, penalties: Sequence[float]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield offset and weights of ridge regressions with each penalty, in units of the mean squared row."""
    center, offset = code.mean(0), targets.mean(0)
    inputs, wanted = code - center, targets - offset
    lengths, vectors = torch.linalg.eigh(inputs.T @ inputs)
    unit = lengths.clamp(min=0).sum() / len(inputs) + _EPSILON
    rotated = vectors.T @ (inputs.T @ wanted)
    for penalty in penalties:
        weights = vectors @ (rotated / (lengths.clamp(min=0) + penalty * unit)[:, None])
        yield offset - center @ weights, weights


def _as_shown(values: Tensor, shown: Tensor | None) -> Tensor:
    return values if shown is None else as_restorers_see(values)


def _logistic(margins: Tensor, presence: Tensor, steps: int = 60) -> tuple[Tensor, Tensor]:
    """Return slope and intercept [7] of logistic fits from margins [N, 7], by Newton's method with a slight penalty."""
    slopes, intercepts = torch.ones(margins.shape[1]), torch.zeros(margins.shape[1])
    for column in range(margins.shape[1]):
        inputs = torch.stack([margins[:, column], torch.ones(len(margins))], dim=1).double()
        wanted = presence[:, column].double()
        prior = torch.tensor([3.0, 0.0], dtype=torch.float64)
        weights = prior.clone()
        for _ in range(steps):
            guess = (inputs @ weights).sigmoid()
            gradient = inputs.T @ (guess - wanted) + 0.1 * (weights - prior)
            curvature = inputs.T @ (inputs * (guess * (1 - guess))[:, None]) + 0.1 * torch.eye(2, dtype=torch.float64)
            step = torch.linalg.solve(curvature, gradient)
            weights = weights - step.clamp(-4, 4)
            if float(step.abs().max()) < 1e-6:
                break
        slopes[column], intercepts[column] = weights[0].float(), weights[1].float()
    return slopes, intercepts
