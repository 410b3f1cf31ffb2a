"""The restorer whose camera branch is trained, and what the branch is shown."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...model.errors import TrainingError
from ...model.restorer.blur_estimator import BlurEstimator
from ...model.restorer.camera_branch import CameraBranch, ResidualBlock, noise_variance
from ...model.restorer.config import RestorerConfig
from ...model.restorer.deconvolution import REACH, deconvolve
from ...model.restorer.loading import load_restorer
from ...model.restorer.network import Restorer
from ...model.vocabulary import CAMERA_FAULTS
from ...model.weights import Card, write_weights


def load_with_branch(path: Path, model: Mapping[str, Any], seed: int) -> tuple[Restorer, Card]:
    """Return the restorer of a weight file and its card, with an untrained branch or estimator where it has none.

    Args:
        path: The weight file.
        model: The fields of `RestorerConfig` that begin with `camera_`; those of the file where they are not given.
            A branch that is there may get an estimator, more blocks, and weights of its own for a JPEG, which change
            nothing until they are trained.
        seed: Of random weights.

    Raises:
        TrainingError: The fields make no sense, or a branch that is there cannot become what they say.
    """
    if others := sorted(name for name in model if not name.startswith("camera_")):
        raise TrainingError(f"[model] has the key {others[0]}: here it takes those that begin with camera_.")
    trained, card = load_restorer(path)
    before = trained.config
    if trained.camera is not None and not all(_may_become(before, name, model[name]) for name in model):
        raise TrainingError(
            f"[model] differs from the camera branch of {path}, which can only get more blocks: leave it out to go on "
            f"with it."
        )
    torch.manual_seed(seed)
    try:
        config = RestorerConfig.from_dict({**before.to_dict(), **model})
    except ValueError as error:
        raise TrainingError(f"[model] cannot be built: {error}.") from error
    restorer = Restorer(config)
    if restorer.camera is None:
        raise TrainingError("[model] must give camera_widths, camera_encoder_blocks and camera_decoder_blocks.")
    known = trained.state_dict()
    if trained.camera is not None:
        _silence_new_blocks(restorer.camera, known)
    restorer.load_state_dict({**restorer.state_dict(), **known, **_widened(restorer, trained)})
    if restorer.camera is not None and trained.camera is not None and trained.camera.jpeg is None:
        _begin_as_the_others(restorer.camera)
    return restorer.eval(), card


def write_restorer(
    folder: Path, restorer: Restorer, learned: Mapping[str, Tensor], before: Card, record: Mapping[str, Any]
) -> None:
    """Write `folder`/restorer.safetensors: a restorer of which a part has learned.

    Args:
        folder: Is made where it is missing.
        restorer: As it was.
        learned: Weights that take the place of its own, by name.
        before: Its card.
        record: What the card's `training` gets, by the stage's name.
    """
    card = replace(
        before,
        architecture=restorer.config.to_card(),
        training={**before.training, **record},
        metrics={},  # they were measured without it
    )
    write_weights(folder / "restorer.safetensors", {**restorer.state_dict(), **learned}, card)


def _may_become(before: RestorerConfig, name: str, value: Any) -> bool:
    """Return whether a trained branch can get this value of a field without unlearning anything."""
    now, wanted = getattr(before, name, None), _as_field(value)
    if not now and (name == "camera_estimator_width" or name.startswith("camera_jpeg_")):
        return True
    if name.endswith("_blocks") and isinstance(now, tuple) and isinstance(wanted, tuple) and len(now) == len(wanted):
        return all(isinstance(more, int) and more >= less for less, more in zip(now, wanted, strict=True))
    return bool(now == wanted)


def _silence_new_blocks(branch: CameraBranch, known: Mapping[str, Tensor]) -> None:
    """Let the residual blocks that no trained weight is known of add nothing, as zero-initialized ones do.

    So a deeper network computes what it did before (the idea of Net2Net, arXiv 1511.05641).
    """
    for name, block in branch.named_modules():
        if isinstance(block, ResidualBlock) and f"camera.{name}.second.weight" not in known:
            nn.init.zeros_(block.second.weight)
            if block.second.bias is not None:
                nn.init.zeros_(block.second.bias)


def _begin_as_the_others(branch: CameraBranch) -> None:
    """Let weights of its own for a JPEG begin as those for all faults, as far as they see the same."""
    if branch.jpeg is None:
        return
    state, own = branch.state_dict(), branch.jpeg.state_dict()
    begun = {name: state[name].clone() for name in own if name in state}
    begun["intro.weight"] = begun["intro.weight"][:, [*range(12), 12 + CAMERA_FAULTS.index("jpeg")]]
    branch.jpeg.load_state_dict({**own, **begun})


def _widened(restorer: Restorer, trained: Restorer) -> dict[str, Tensor]:
    """Return the first kernels of a branch that sees more than before: 0 for what is new."""
    if restorer.camera is None or trained.camera is None:
        return {}
    before = trained.camera.intro.weight.detach()
    more = restorer.camera.intro.in_channels - before.shape[1]
    return {"camera.intro.weight": F.pad(before, (0, 0, 0, 0, 0, more))}


class Sharpener:
    """Shows a branch what deconvolution makes of an image, as a restoration does.

    It keeps an estimator of its own on the CPU, since batches are made in other processes than the training.

    Args:
        branch: That is trained.
    """

    def __init__(self, branch: CameraBranch) -> None:
        self._estimator: BlurEstimator | None = deepcopy(branch.estimator)

    def deconvolved(self, image: Tensor, present: Tensor) -> Tensor | None:
        """Return what deconvolution makes of a blurred image.

        Args:
            image: [3, H, W] in 0..1.
            present: [3] in 0..1, the strengths of `CAMERA_FAULTS` in it, whether the branch is to undo them or not.

        Returns:
            [3 F, H, W], or None where there is no estimator, or it finds no blur.
        """
        if self._estimator is None:
            return None
        blur = self._estimator.estimate(image)
        if blur is None:
            return None
        padded = F.pad(image[None], (REACH,) * 4, mode="reflect")
        return deconvolve(padded, blur, noise_variance(present))[0]


def _as_field(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
