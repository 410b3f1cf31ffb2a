"""The training loop: steps, checkpoints, log and validation, on any number of processes."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, send_to_device
from torch import Tensor, nn
from tqdm import tqdm

from ...model.errors import TrainingError
from .batches import STEP_STREAM, load_batches, seed_everything
from .checkpoint import Progress, load_checkpoint, load_network, load_optimizer, optimizer_tensors, save_checkpoint
from .config import FREE_KEYS, LoopConfig
from .cuda_graph import GraphedStep
from .ema import Ema, named_tensors
from .log import VALIDATION, TrainingLog
from .optimizer import build_optimizer
from .plots import draw_curve
from .signals import stop_signals
from .task import Task

log = logging.getLogger(__name__)


FINAL_RATE = 0.01
"""End of the cosine decay, as a share of the learning rate."""

NORM = "gradient norm"

PATIENCE = 50
"""After so many steps in a row without a finite gradient the run stops."""


def learning_rate_at(step: int, config: LoopConfig, spent: float = 0.0) -> float:
    """Return the learning rate of update `step` (from 0): warm-up, constant, cosine decay to `FINAL_RATE` of it.

    Args:
        step: Updates done.
        config: Of the run.
        spent: Share of the time limit that is used; where it is ahead of the steps, the decay follows it.
    """
    rate = config.learning_rate * min(1.0, (step + 1) / max(1, config.warmup_steps))
    done = max(step + 1, spent * config.steps) - (config.steps - config.decay_steps)
    if config.decay_steps and done > 0:
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, done / config.decay_steps)))
        rate *= FINAL_RATE + (1.0 - FINAL_RATE) * cosine
    return rate


def train(
    task: Task, config: LoopConfig, device: str | None = None, *, progress: bool | None = None
) -> dict[str, float]:
    """Train `task.network` until the end, a signal or `max_minutes`, from the checkpoint if there is one.

    Everything random in a step is seeded from (seed, step, process), and batch i depends on (seed, i) alone, so a
    resumed run equals an uninterrupted one, bit by bit on a CPU in fp32; not so where `minutes` ends it.

    Under `accelerate launch` every process takes part; without GPUs, several processes on one machine are started
    by `ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes 2 ...` (its `--cpu` alone needs MPI).

    Args:
        task: What to train.
        config: Of the loop.
        device: "cpu" does not use accelerators; None lets Accelerate choose.
        progress: Show the progress bar; None shows it on terminals only.

    Returns:
        The latest validation metrics; `step`, the updates done; `ended`, 1 where the run is over, 0 where it was
        stopped and can be resumed.

    Raises:
        TrainingError: The checkpoint does not fit, or the loss stays non-finite.
    """
    AcceleratorState._reset_state()  # a second run here may have another precision
    on_cpu = device is not None and torch.device(device).type == "cpu"
    expected = torch.device("cuda" if torch.cuda.is_available() and not on_cpu else "cpu")
    accelerator = Accelerator(
        mixed_precision="bf16" if config.is_bf16(expected) else "no",
        cpu=on_cpu,
        kwargs_handlers=[
            # guidance dropout leaves parameters without a gradient in some steps
            DistributedDataParallelKwargs(find_unused_parameters=True),
            # the others wait while the main process validates
            InitProcessGroupKwargs(timeout=timedelta(hours=4)),
        ],
    )
    try:
        return Trainer(task, config, accelerator, progress).run()
    finally:
        accelerator.unwrap_model(task.network, keep_fp32_wrapper=False)  # restores the precision of `forward`
        accelerator.free_memory()


def compile_blocks(network: nn.Module) -> None:
    """Compile the blocks that are marked `fusible`, each for every size that it meets."""
    torch._dynamo.config.recompile_limit = 64  # a class of blocks works at several sizes; by default it gives up
    for module in network.modules():
        if getattr(module, "fusible", False):
            module.compile(dynamic=False)


class Trainer:
    """One training run.

    Args:
        task: What to train.
        config: Of the loop.
        accelerator: Of Hugging Face Accelerate.
        bar: Show the progress bar; None shows it on terminals only.

    Raises:
        TrainingError: The settings or the checkpoint do not fit.
    """

    def __init__(self, task: Task, config: LoopConfig, accelerator: Accelerator, bar: bool | None) -> None:
        self.task, self.config, self.accelerator = task, config, accelerator
        self.main, self.processes = accelerator.is_main_process, accelerator.num_processes
        if config.minutes and self.processes > 1:
            raise TrainingError("minutes in [loop] is for a single process: clocks differ. Give steps alone.")
        self.captures = config.capture and accelerator.device.type == "cuda"
        if self.captures and self.processes > 1:
            raise TrainingError("capture in [loop] is for a single process: take it out.")
        self.folder = Path(config.output)
        own = {key: value for key, value in dataclasses.asdict(config).items() if key not in FREE_KEYS}
        self.recipe: dict[str, Any] = {**own, **{f"recipe.{k}": v for k, v in getattr(task, "recipe", {}).items()}}
        network = task.network.to(accelerator.device).train()
        self.ema = Ema(network, config.ema)
        if config.compile and accelerator.device.type == "cuda":
            compile_blocks(network)
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        optimizer = build_optimizer(network, config.optimizer, config.learning_rate, config.weight_decay)
        self.progress = self._resume(network, optimizer)
        self.network, self.optimizer = accelerator.prepare(network, optimizer)
        self.sums = {name: torch.tensor(value, device=accelerator.device) for name, value in self.progress.sums.items()}
        self.skipped = 0
        self.graphed: GraphedStep | None = None
        self.stop = False
        self.begun = self.saved = time.monotonic()
        self.seconds_before = self.progress.seconds
        if self.main:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.log = TrainingLog(self.folder / "log.csv", self.progress.step)
        hidden = not self.main or (None if bar is None else not bar)
        self.bar = tqdm(total=config.steps, initial=self.progress.step, disable=hidden, unit="step", dynamic_ncols=True)

    def run(self) -> dict[str, float]:
        """Train to the end; return the latest validation metrics, `step` and `ended`."""
        config, progress = self.config, self.progress
        # momentum of what has stopped learning decays into denormal numbers, with which a CPU computes 20 times slower
        torch.set_flush_denormal(True)
        ended = self._ended()
        left = 0 if ended else config.steps - progress.step
        with stop_signals(self._ask_to_stop), self.bar:
            for batch in self._batches(left):
                self._step(batch)
                ended = self._ended()
                validate = ended or self._validation_due()
                if validate or progress.step % config.log_every == 0:
                    self._report(validate)
                if self.main and progress.step in config.snapshots:
                    self._export(self.folder / "snapshots" / f"step-{progress.step}")
                save, stop = self._decide()
                if save or stop or ended:
                    self._save()
                if stop or ended:
                    break
            if self.main:
                self._export(self.folder / "export")
                draw_curve(self.folder / "log.csv", self.folder / "curve.png")
        self.accelerator.wait_for_everyone()
        metrics = [progress.metrics]  # the main process alone has validated
        if self.processes > 1:
            broadcast_object_list(metrics)
        return {**metrics[0], "step": progress.step, "ended": float(ended)}

    def _step(self, batch: Any) -> None:
        step = self.progress.step
        seed_everything(self.config.seed, STEP_STREAM, step, self.accelerator.process_index)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(step, self.config, self._spent())
        batch = send_to_device(batch, self.accelerator.device, non_blocking=True)
        if hasattr(self.task, "prepare"):
            batch = self.task.prepare(batch)
        if self.captures and self.graphed is None:
            self.graphed = GraphedStep(self._gradients, batch, self.parameters)
        parts = self._gradients(batch) if self.graphed is None else self.graphed(batch)
        norm = parts.pop(NORM)
        if bool(torch.isfinite(norm)):  # the same on every process: gradients are averaged before they are clipped
            self.optimizer.step()
            self.ema.update(step)
            self.skipped = 0
        else:
            self.skipped += 1
            if self.skipped == 1:
                log.warning("step %d is left out: its gradient is not finite", step)
            if self.skipped >= PATIENCE:
                raise TrainingError(
                    f"The loss was not finite for {PATIENCE} steps up to step {step}: lower learning_rate, or use fp32."
                )
        if self.graphed is None:  # else the next replay writes over the gradients
            self.optimizer.zero_grad()
        if self.sums and self.sums.keys() != parts.keys():
            raise TrainingError(
                f"The loss has parts {sorted(parts)} at step {step} but had {sorted(self.sums)} before."
            )
        for name, value in parts.items():
            value = value.float()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.progress.count += 1
        self.progress.step += 1
        self.progress.batches += self.processes
        self.bar.update()

    def _gradients(self, batch: Any) -> dict[str, Tensor]:
        """Leave the clipped gradients of a batch in the parameters; return its losses and the norm of the gradients."""
        parts = self.task.loss(self.network, batch, self.progress.step)
        self.accelerator.backward(parts["loss"])
        norm = self.accelerator.clip_grad_norm_(self.parameters, self.config.gradient_clip)
        return {name: value.detach() for name, value in parts.items()} | {NORM: norm}

    def _report(self, validate: bool) -> None:
        """Write a row of the log, with a validation where one is due. Every process takes part in the means."""
        progress = self.progress
        row: dict[str, float] = {
            "step": progress.step,
            "seconds": self._seconds(),
            "lr": self.optimizer.param_groups[0]["lr"],
        }
        row |= {name: value / max(1, progress.count) for name, value in self._mean_sums().items()}
        self.sums, progress.count = {}, 0
        if not self.main:
            return
        if validate:
            with torch.no_grad():
                metrics = self.task.validate(self.ema.network.eval())
            progress.metrics = {name: float(value) for name, value in metrics.items()}
            progress.validated_at = progress.step
            row |= {VALIDATION + name: value for name, value in progress.metrics.items()}
            row["seconds"] = self._seconds()
            log.info("step %d: %s", progress.step, ", ".join(f"{k} {v:.4g}" for k, v in progress.metrics.items()))
        self.log.write(row)
        self.bar.set_postfix(loss=f"{row['loss']:.4g}", lr=f"{row['lr']:.2e}", **self._shown())
        if self._validation_due():
            self._export(self.folder / "export")
            draw_curve(self.folder / "log.csv", self.folder / "curve.png")

    def _shown(self) -> dict[str, str]:
        return {name: f"{value:.4g}" for name, value in list(self.progress.metrics.items())[:2]}

    def _decide(self) -> tuple[bool, bool]:
        """Return whether to write a checkpoint, and whether to stop; the same on every process."""
        config, now = self.config, time.monotonic()
        late = config.max_minutes > 0 and now - self.begun >= 60 * config.max_minutes
        wishes = [now - self.saved >= 60 * config.checkpoint_minutes and self.main, self.stop or late]
        if self.processes > 1:
            if self.progress.step % 10:  # to agree costs a message, so not at every step
                return False, False
            wish = torch.tensor(wishes, dtype=torch.float32, device=self.accelerator.device)
            wishes = [bool(value > 0) for value in self.accelerator.reduce(wish, "sum").tolist()]
        return bool(wishes[0]), bool(wishes[1])

    def _save(self) -> None:
        progress = self.progress
        progress.sums, progress.seconds, progress.recipe = self._mean_sums(), self._seconds(), self.recipe
        if self.main:
            self.log.sync()
            tensors = {
                "network": named_tensors(self.accelerator.unwrap_model(self.network)),
                "ema": named_tensors(self.ema.network),
                "optimizer": optimizer_tensors(self.optimizer),
            }
            save_checkpoint(self.folder, progress, tensors)
        self.saved = time.monotonic()

    def _export(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with torch.no_grad():
            metrics = {**self.progress.metrics, "validated_at_step": self.progress.validated_at}
            self.task.export(self.ema.network.eval(), folder, self.progress.step, metrics)

    def _resume(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
        """Load the checkpoint, which the main process alone reads: other machines need not see its disk."""
        found: list[Any] = [None]
        if self.main:
            try:
                found = [load_checkpoint(self.folder)]
            except TrainingError as error:
                found = [error]
        if self.processes > 1:
            broadcast_object_list(found)
        if isinstance(found[0], TrainingError):
            raise found[0]
        if found[0] is None:
            return Progress()
        progress: Progress
        progress, tensors = found[0]
        before, now = progress.recipe, _as_json(self.recipe)
        checked = sorted({*before, *now} - FREE_KEYS)
        changed = [key for key in checked if before.get(key) != now.get(key)]
        if changed:
            key = changed[0]
            raise TrainingError(
                f"The checkpoint in {self.folder} was trained with {key} = {before.get(key)!r}, "
                f"now it is {now.get(key)!r}: change it back, or choose another output folder."
            )
        what = f"checkpoint in {self.folder}"
        load_network(network, tensors["network"], what)
        load_network(self.ema.network, tensors["ema"], what)
        load_optimizer(optimizer, tensors["optimizer"])
        log.info("resuming after step %d", progress.step)
        return progress

    def _batches(self, steps: int) -> Iterator[Any]:
        """Return this process's batches of the remaining steps: every n-th of n processes, from where the run stood."""
        first = self.progress.batches + self.accelerator.process_index
        indices = range(first, first + steps * self.processes, self.processes)
        return load_batches(
            self.task.batch,
            indices,
            seed=self.config.seed,
            workers=min(self.config.workers, steps),
            pin_memory=self.accelerator.device.type == "cuda",
        )

    def _mean_sums(self) -> dict[str, float]:
        if not self.sums:
            return {}
        stacked = self.accelerator.reduce(torch.stack(list(self.sums.values())), "mean")
        return dict(zip(self.sums, stacked.tolist(), strict=True))

    def _validation_due(self) -> bool:
        return self.config.validate_every > 0 and self.progress.step % self.config.validate_every == 0

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.begun

    def _spent(self) -> float:
        """Return the share of the run's `minutes` that is used."""
        return self._seconds() / (60 * self.config.minutes) if self.config.minutes else 0.0

    def _ended(self) -> bool:
        return self.progress.step >= self.config.steps or self._spent() >= 1

    def _ask_to_stop(self) -> None:
        self.stop = True


def _as_json(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe as it reads back from the checkpoint, where tuples are lists."""
    read: dict[str, Any] = json.loads(json.dumps(recipe))
    return read
