"""The checkpoint of a training run: one folder that is complete at every moment, whenever the process is killed."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .config import TrainingError
from .ema import named_tensors

CURRENT = "checkpoint"
NEW = "checkpoint.new"
OLD = "checkpoint.old"
TENSORS = ("network", "ema", "optimizer")
PROGRESS = "progress.json"


@dataclass
class Progress:
    """How far a run has come, apart from its tensors.

    Attributes:
        step: updates done.
        batches: batches consumed by all processes together; the next one has this index.
        seconds: time spent training, over all sittings.
        sums: sums of the loss parts since the last row of the log, mean over the processes.
        count: steps in `sums`.
        metrics: the latest validation.
        validated_at: the step of that validation.
        recipe: what must not change between sittings.
    """

    step: int = 0
    batches: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    validated_at: int = 0
    recipe: dict[str, object] = field(default_factory=dict)


def save_checkpoint(run: Path, progress: Progress, tensors: dict[str, dict[str, Tensor]]) -> None:
    """Write `run/checkpoint`: into a new folder, synced to the disk, then exchanged by two renames.

    Until the new folder is complete the previous checkpoint stays where it is; between the renames it is still
    there under another name, which `settle` sorts out.
    """
    new, old, current = run / NEW, run / OLD, run / CURRENT
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for name in TENSORS:
        state = {key: value.detach().cpu().contiguous().clone() for key, value in tensors[name].items()}
        save_file(state, new / f"{name}.safetensors")
    (new / PROGRESS).write_text(json.dumps(asdict(progress), indent=1), encoding="utf-8")
    for path in new.iterdir():
        _sync(path)
    _sync(new)
    shutil.rmtree(old, ignore_errors=True)
    if current.exists():
        current.rename(old)
    new.rename(current)
    _sync(run)
    shutil.rmtree(old, ignore_errors=True)


def settle(run: Path) -> None:
    """Leave at most one folder, `run/checkpoint`, after a kill at any moment of `save_checkpoint`."""
    new, old, current = run / NEW, run / OLD, run / CURRENT
    # The old one is moved away only once the new one is complete and synced, so then the new one counts.
    if not current.exists() and old.exists():
        (new if new.exists() else old).rename(current)
    shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(run: Path) -> tuple[Progress, dict[str, dict[str, Tensor]]] | None:
    """The checkpoint of a run, on the CPU, or None where there is none.

    Raises:
        TrainingError: the checkpoint cannot be read.
    """
    settle(run)
    folder = run / CURRENT
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

    Raises:
        TrainingError: names or shapes differ, with the first that does.
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
    """The optimizer's state as flat tensors, `<parameter number>.<name>`; the rest of it is configuration."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{key}": torch.as_tensor(value) for index, slots in state.items() for key, value in slots.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The reverse of `optimizer_tensors`. Moments get the memory layout of their parameter: fused kernels need it."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        like = parameters[int(index)]
        same = value.shape == like.shape and value.ndim > 0
        state.setdefault(int(index), {})[key] = torch.empty_like(like).copy_(value) if same else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _load(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, copied: a mapped file could not be replaced by the next checkpoint (Windows)."""
    return {name: tensor.clone() for name, tensor in load_file(path).items()}


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else str(list(tensor.shape))


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows cannot open a folder to sync it
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
