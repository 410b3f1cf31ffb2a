"""Fits the head anew to the embeddings of a trained MLLM, which stay as they are.

    python -m mofe_restore.training.refit weights/mllm --config training/mllm.toml --scenes 5000 -o runs/refit/mllm

In training the head follows an embedding that never rests, under the losses of the language model beside its own. Once
all is trained, each of its outputs has a best fit of its own: presence by logistic regression, strengths and parameters
by ridge regression where the degradation is there, since only there they are read. Neither embeddings nor identity
change, so restorers trained with the MLLM stay valid.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ..model.head import OWNER, DegradationHead, scaled
from ..model.mllm import Mllm
from ..model.mllm_folder import HEAD_FILE, load_mllm
from ..model.weights import read_weights, write_weights
from .config import TrainingError, load_toml, table_to_config
from .folders import replace_folder, settle, staging
from .guides import MllmGuide
from .mllm_batch import truth_tensors
from .samples import PhotoStore, read_store, sample_generator, to_tensor
from .train_mllm import MllmData

SEED = 50_000_000
SIDES = (224, 416)
"""Sides of the scenes in px: as large as the photographs are, since users' pictures are not smaller."""
BATCH = 32
LOGISTIC_DECAY, RIDGE = 1e-3, 1e-2
"""Penalties on squared weights, relative to the mean loss over standardised embeddings."""


class Seen(NamedTuple):
    """Embeddings [N, D] of N scenes and the truth about them: presence and strength [N, 7], parameters [N, 9]."""

    pooled: Tensor
    presence: Tensor
    strength: Tensor
    parameters: Tensor


def look_at(mllm: Mllm, store: PhotoStore, scenes: int) -> Seen:
    """Embeds so many scenes of the training mix."""
    guide = MllmGuide(mllm)
    pooled, truths = [], []
    for first in tqdm(range(0, scenes, BATCH), unit="batch"):
        looks = []
        for index in range(first, min(first + BATCH, scenes)):
            _, degraded = store.degraded_scene(sample_generator(SEED, index), SIDES)
            looks.append(guide.prepare(to_tensor(degraded.picture), degraded.truth))
            truths.append(degraded.truth)
        pooled.append(guide.embed(torch.stack(looks))[1].float())
    return Seen(torch.cat(pooled), **truth_tensors(truths))


def fit_head(seen: Seen) -> DegradationHead:
    """The head that reads these embeddings best.

    Raises:
        TrainingError: some degradation is in all of the scenes or in fewer than two.
    """
    counts = seen.presence.sum(0)
    if bool(((counts < 2) | (counts == len(seen.presence))).any()):
        raise TrainingError("Every degradation must be in some of the scenes and not in others: take more scenes.")
    mean, spread = seen.pooled.double().mean(0), seen.pooled.double().std(0).clamp(min=1e-6)
    inputs = (seen.pooled.double() - mean) / spread
    parameters = scaled(seen.parameters).double()
    fits = [_logistic(inputs, seen.presence.double())]
    fits += [_ridge(inputs, seen.strength[:, i].double(), seen.presence[:, i] > 0) for i in range(len(counts))]
    fits += [_ridge(inputs, parameters[:, i], seen.presence[:, owner] > 0) for i, owner in enumerate(OWNER)]
    weight, bias = torch.cat([each[0] for each in fits]) / spread, torch.cat([each[1] for each in fits])
    head = DegradationHead(inputs.shape[1])
    with torch.no_grad():
        head.read.weight.copy_(weight)
        head.read.bias.copy_(bias - weight @ mean)
    return head


def refit(folder: Path, store: PhotoStore, scenes: int, output: Path) -> None:
    """Writes the folder `output`: the MLLM of `folder` with its head fitted to so many scenes of `store`.

    Raises:
        TrainingError: `folder` has no head, or too few scenes.
    """
    settle(folder)
    if not (folder / HEAD_FILE).is_file():
        raise TrainingError(f"{folder} has no {HEAD_FILE}: take a model of `mofe train mllm`.")
    head = fit_head(look_at(load_mllm(folder, precision="fp32"), store, scenes))
    _, card = read_weights(folder / HEAD_FILE, "mllm_head")
    output.parent.mkdir(parents=True, exist_ok=True)
    fresh = shutil.copytree(folder, staging(output))
    card = replace(card, training={**card.training, "refit": {"scenes": scenes, "sides": list(SIDES), "seed": SEED}})
    # fp32: the fit's large weights of either sign nearly cancel, which the rounding of bf16 would disturb
    write_weights(fresh / HEAD_FILE, head.state_dict(), card, torch.float32)
    replace_folder(fresh, output)


def _logistic(inputs: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Weights [K, D] and biases [K] of K logistic regressions with targets [N, K]."""
    weight = torch.zeros(wanted.shape[1], inputs.shape[1], dtype=inputs.dtype, requires_grad=True)
    bias = torch.zeros(wanted.shape[1], dtype=inputs.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(inputs @ weight.T + bias, wanted, reduction="none").mean(0).sum()
        value = value + LOGISTIC_DECAY * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weight.detach(), bias.detach()


def _ridge(inputs: Tensor, wanted: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Weights [1, D] and bias [1] for targets [N], of the scenes that count [N]."""
    inputs, wanted = inputs[there], wanted[there]
    middle, level = inputs.mean(0), wanted.mean()
    centred = inputs - middle
    penalty = RIDGE * len(centred) * torch.eye(inputs.shape[1], dtype=inputs.dtype)
    weight = torch.linalg.solve(centred.T @ centred + penalty, centred.T @ (wanted - level))
    return weight[None], (level - weight @ middle)[None]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("mllm", type=Path, metavar="MLLM")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="TOML file with a [data] table")
    parser.add_argument("--scenes", type=int, default=5000, metavar="N", help="how many to look at (5000)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parsed = parser.parse_args(arguments)
    data = table_to_config(MllmData, load_toml(parsed.config).get("data", {}), "data")
    refit(parsed.mllm, read_store(data), parsed.scenes, parsed.output)


if __name__ == "__main__":
    main()
