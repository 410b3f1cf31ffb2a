"""The checkpoint of a training run: a folder that is complete whenever the process is killed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ...model.atomic import recover_folder, replace_folder, staging_folder
from ...model.errors import TrainingError
from ...model.weights import write_tensors
from .ema import named_tensors

FOLDER = "checkpoint"
TENSORS = ("network", "ema", "optimizer")
PROGRESS = "progress.json"


@dataclass
class Progress:
    """How far a run has come, apart from its tensors.

    Attributes:
        step: Updates done.
        batches: Batches consumed by all processes together; the next one has this index.
        seconds: Time spent on training, in all processes' lifetimes.
        sums: Sums of the loss parts since the last row of the log, mean over the processes.
        count: Steps in `sums`.
        metrics: The latest validation.
        validated_at: The step of that validation.
        recipe: Settings that must not change when the run is resumed.
    """

    step: int = 0
    batches: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    validated_at: int = 0
    recipe: dict[str, object] = field(default_factory=dict)


def save_checkpoint(run: Path, progress: Progress, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write `run/checkpoint`, whole or not at all: a kill at any moment leaves the previous one or the new one."""
    target = run / FOLDER
    new = staging_folder(target)
    new.mkdir(parents=True)
    for name in TENSORS:
        state = {key: value.detach().cpu().clone() for key, value in tensors[name].items()}
        write_tensors(new / f"{name}.safetensors", state)
    (new / PROGRESS).write_text(json.dumps(asdict(progress), indent=1), encoding="utf-8")
    replace_folder(new, target)


def load_checkpoint(run: Path) -> tuple[Progress, dict[str, dict[str, Tensor]]] | None:
    """Return the checkpoint of a run, on the CPU, or None where there is none.

    Raises:
        TrainingError: The checkpoint cannot be read.
    """
    folder = run / FOLDER
    recover_folder(folder)
    if not folder.exists():
        return None
    try:
        progress = Progress(**json.loads((folder / PROGRESS).read_text(encoding="utf-8")))
        return progress, {name: _load(folder / f"{name}.safetensors") for name in TENSORS}
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise TrainingError(
            f"The checkpoint {folder} cannot be read ({error}): delete it to start the run afresh."
        ) from error


def load_network(network: nn.Module, state: dict[str, Tensor], what: str) -> None:
    """Copy a checkpoint's tensors into a network, in place, keeping the memory layout of its parameters.

    Args:
        network: The network.
        state: Tensors by name.
        what: What is loaded, for the message.

    Raises:
        TrainingError: Names or shapes differ; the message names the first that does.
    """
    own = named_tensors(network)
    for name in (*own, *state):
        ours, theirs = own.get(name), state.get(name)
        if ours is None or theirs is None or ours.shape != theirs.shape:
            raise TrainingError(
                f"The {what} does not fit the network: {name} is {_shape(theirs)} there and {_shape(ours)} here; "
                "use the network it was trained with, or another output folder."
            )
    for name, tensor in own.items():
        tensor.copy_(state[name])


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state as flat tensors, `<parameter number>.<name>`; the rest of it is configuration."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{key}": torch.as_tensor(value) for index, slots in state.items() for key, value in slots.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Load what `optimizer_tensors` returned; moments get the memory layout of their parameter, for fused kernels."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        like = parameters[int(index)]
        same = value.shape == like.shape and value.ndim > 0
        state.setdefault(int(index), {})[key] = torch.empty_like(like).copy_(value) if same else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _load(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, copied: a mapped file could not be replaced by the next checkpoint (Windows)."""
    return {name: tensor.clone() for name, tensor in load_file(path).items()}


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else str(list(tensor.shape))
