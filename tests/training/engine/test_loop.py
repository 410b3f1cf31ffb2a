"""The training loop: resuming after a kill at any moment, two processes, the log, the averaged weights, bad input.

Run as a program this file trains a tiny network: `python test_loop.py OUTPUT STEPS [key=value ...]`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mofe_restore.model import atomic
from mofe_restore.model.errors import TrainingError
from mofe_restore.model.restorer.blocks import GatedBlock
from mofe_restore.training.engine import checkpoint, loop
from mofe_restore.training.engine.checkpoint import Progress, load_checkpoint, save_checkpoint
from mofe_restore.training.engine.config import LoopConfig, parse_table, read_toml
from mofe_restore.training.engine.ema import Ema
from mofe_restore.training.engine.log import TrainingLog, read_log
from mofe_restore.training.engine.loop import compile_blocks, learning_rate_at, train
from mofe_restore.training.engine.plots import draw_curve


class TinyTask:
    """Denoises random patches with dropout, so that both the data and the steps are random."""

    def __init__(self, output: str, pause: float = 0.0, width: int = 4) -> None:
        torch.manual_seed(3)
        layers = (nn.Conv2d(3, width, 3, padding=1), nn.GELU(), nn.Dropout(0.2), nn.Conv2d(width, 3, 1))
        self.network = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.output, self.pause, self.recipe = Path(output), pause, {"patch": 12}
        self.seen: list[int] = []

    def batch(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        clean = torch.rand(2, 3, 12, 12, generator=generator)
        return {"index": index, "clean": clean, "noisy": clean + 0.1 * torch.randn(clean.shape)}

    def loss(self, network: nn.Module, batch: dict[str, Any], step: int) -> dict[str, Tensor]:
        self.seen.append(int(batch["index"]))
        time.sleep(self.pause)
        error = (network(batch["noisy"]) - batch["clean"]).square().mean()
        return {"loss": error, "root": error.sqrt()}

    def validate(self, network: nn.Module) -> dict[str, float]:
        assert not network.training
        return {"error": float((network(torch.full((1, 3, 12, 12), 0.5)) - 0.5).square().mean())}

    def export(self, network: nn.Module, folder: Path, step: int, metrics: dict[str, float]) -> None:
        (folder / "weights.json").write_text(json.dumps({"step": step, "weights": digest(network), **metrics}))


def digest(network: nn.Module) -> str:
    values = b"".join(value.contiguous().numpy().tobytes() for value in network.state_dict().values())
    return hashlib.sha256(values).hexdigest()


def config(folder: Path, steps: int, **others: Any) -> LoopConfig:
    defaults = {"precision": "fp32", "workers": 0, "log_every": 3, "validate_every": 0, "warmup_steps": 5}
    defaults |= {"learning_rate": 0.01}
    return LoopConfig(output=str(folder), steps=steps, **{**defaults, **others})


def run(folder: Path, steps: int, **others: Any) -> tuple[TinyTask, dict[str, float]]:
    task = TinyTask(str(folder))
    return task, train(task, config(folder, steps, **others), device="cpu", progress=False)


def rows(folder: Path) -> list[dict[str, float]]:
    """The log without its clock."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_log(folder / "log.csv")[1]]


def start(folder: Path, steps: int, *launcher: str, **others: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, *launcher, __file__, str(folder), str(steps), *(f"{k}={v}" for k, v in others.items())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # noqa: S603


def wait_for_row(process: subprocess.Popen[bytes], folder: Path, step: int) -> None:
    while process.poll() is None and not any(row["step"] >= step for row in read_log(folder / "log.csv")[1]):
        time.sleep(0.01)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()[-2000:]


# --- going on after an interruption ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_like_one_that_was_not(tmp_path: Path) -> None:
    chance = random.Random(5)
    steps, killed_at = 60, []
    whole = start(tmp_path / "whole", steps, workers=1)
    while len(killed_at) < 20:
        # Checkpoints at every step, so that kills fall into the writing of one, and rarer ones, so that steps are lost.
        minutes = 0.0 if len(killed_at) % 2 else 0.002
        process = start(tmp_path / "killed", steps, workers=1, checkpoint_minutes=minutes, pause=0.005)
        if len(killed_at) == 4:
            finish(process)
            break
        wait_for_row(process, tmp_path / "killed", 3 + 12 * len(killed_at))
        time.sleep(chance.uniform(0.0, 0.05))
        process.kill()
        process.communicate()
        killed_at.append(max((row["step"] for row in rows(tmp_path / "killed")), default=0))
    finish(whole)
    assert len(killed_at) == 4 and max(killed_at) < steps
    ends = [load_checkpoint(tmp_path / name) for name in ("whole", "killed")]
    for name in checkpoint.TENSORS:
        assert ends[0][1][name].keys() == ends[1][1][name].keys()
        assert all(torch.equal(value, ends[1][1][name][key]) for key, value in ends[0][1][name].items())
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    assert [row["step"] for row in rows(tmp_path / "killed")] == list(range(3, steps + 1, 3))
    exports = [json.loads((tmp_path / name / "export/weights.json").read_text()) for name in ("whole", "killed")]
    assert exports[0] == exports[1]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals to process groups")
def test_sigterm_to_the_whole_process_group_ends_the_run_with_a_checkpoint(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(tmp_path), "100000", "workers=2", "pause=0.01"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True)  # noqa: S603
    wait_for_row(process, tmp_path, 6)
    os.killpg(process.pid, signal.SIGTERM)
    finish(process)
    saved, _ = load_checkpoint(tmp_path)
    assert saved.step >= 6
    assert json.loads((tmp_path / "export/weights.json").read_text())["step"] == saved.step


def test_a_run_in_two_parts_is_the_run_in_one_whatever_the_workers(tmp_path: Path) -> None:
    whole, metrics = run(tmp_path / "whole", 20, validate_every=8, workers=0)
    first, _ = run(tmp_path / "parts", 11, validate_every=8, workers=0)
    second, resumed = run(tmp_path / "parts", 20, validate_every=8, workers=2)
    assert whole.seen == list(range(20)) and first.seen + second.seen == whole.seen
    assert digest(second.network) == digest(whole.network)
    assert resumed == metrics
    # Row 11 ended the first part; the mean of the row after it covers the steps that were left.
    same = [row for row in rows(tmp_path / "parts") if row["step"] not in (11, 12)]
    assert same == [row for row in rows(tmp_path / "whole") if row["step"] != 12]


def test_a_finished_run_started_again_trains_nothing_and_exports_again(tmp_path: Path) -> None:
    _, metrics = run(tmp_path, 6)
    (tmp_path / "export/weights.json").unlink()
    again, repeated = run(tmp_path, 6)
    assert again.seen == [] and repeated == metrics
    assert (tmp_path / "export/weights.json").exists()


def test_the_time_limit_stops_with_a_checkpoint_that_goes_on(tmp_path: Path) -> None:
    task, metrics = run(tmp_path, 9, max_minutes=1e-9)
    assert task.seen == [0] and metrics["step"] == 1 and not metrics["ended"]
    task, metrics = run(tmp_path, 9)
    assert task.seen == list(range(1, 9)) and metrics["step"] == 9 and metrics["ended"]
    assert [row["step"] for row in rows(tmp_path)] == [3, 6, 9]
    whole, _ = run(tmp_path / "whole", 9)
    assert rows(tmp_path) == rows(tmp_path / "whole")  # the mean of the first row spans both parts


def test_a_run_on_the_clock_ends_with_it_decayed_and_validated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])

    class SlowTask(TinyTask):  # six seconds a step
        def loss(self, *given: Any) -> dict[str, Tensor]:
            now[0] += 6.0
            return super().loss(*given)

    plan = config(tmp_path, 10**6, minutes=1.0, decay_steps=10**6, warmup_steps=0, log_every=1)
    task = SlowTask(str(tmp_path))
    metrics = train(task, plan, device="cpu", progress=False)
    assert metrics["step"] == len(task.seen) == 10 and "error" in metrics
    rates = [row["lr"] for row in rows(tmp_path)]
    assert rates[0] == pytest.approx(0.01) and rates[5] == pytest.approx(0.01 * (0.01 + 0.99 / 2))
    assert rates == sorted(rates, reverse=True) and rates[-1] < 0.05 * rates[0]
    again = SlowTask(str(tmp_path))
    assert train(again, plan, device="cpu", progress=False)["step"] == 10 and again.seen == []


@pytest.mark.parametrize("first", [True, False])
def test_a_kill_before_any_operation_on_the_disk_leaves_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    class Killed(BaseException):
        pass

    def tensors(step: int) -> dict[str, dict[str, Tensor]]:
        return {name: {"weight": torch.full((3,), float(step))} for name in checkpoint.TENSORS}

    last = -1
    for survived in range(40):
        run_folder = tmp_path / str(survived)
        if not first:
            save_checkpoint(run_folder, Progress(step=1), tensors(1))
        left = survived

        def counted(operation: Any) -> Any:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal left
                if left == 0:
                    raise Killed
                left -= 1
                return operation(*arguments, **options)

            return call

        with monkeypatch.context() as patch:
            for owner, name in ((Path, "rename"), (Path, "mkdir"), (Path, "write_text"), (shutil, "rmtree")):
                patch.setattr(owner, name, counted(getattr(owner, name)))
            patch.setattr(atomic, "_sync", counted(atomic._sync))
            patch.setattr(checkpoint, "write_tensors", counted(checkpoint.write_tensors))
            try:
                save_checkpoint(run_folder, Progress(step=2), tensors(2))
                finished = True
            except Killed:
                finished = False
        found = load_checkpoint(run_folder)
        step = found[0].step if found else 0
        assert step in ((0, 2) if first else (1, 2)) and step >= last >= -1
        if found:
            assert all(
                torch.equal(found[1][name]["weight"], tensors(step)[name]["weight"]) for name in checkpoint.TENSORS
            )
        assert {path.name for path in run_folder.glob("*")} <= {"checkpoint"}
        last = step
        if finished:
            break
    assert finished and last == 2 and survived > 8


# --- several processes ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_see_different_data_and_end_with_the_same_weights(tmp_path: Path) -> None:
    launcher = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1")
    launcher += ("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0")
    for steps in (7, 12):  # the second launch goes on from the first one's checkpoint
        finish(start(tmp_path / "run", steps, *launcher, report=tmp_path, workers=1))
        reports = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
        done = range(0, 7) if steps == 7 else range(7, 12)
        assert [report["seen"] for report in reports] == [[2 * n for n in done], [2 * n + 1 for n in done]]
        assert reports[0]["weights"] == reports[1]["weights"]
        assert [report["wrote"] for report in reports] == [True, False]
    assert [row["step"] for row in rows(tmp_path / "run")] == [3, 6, 7, 9, 12]
    # The average follows the trained weights, also where preparing for several processes gave them other memory.
    _, tensors = load_checkpoint(tmp_path / "run") or pytest.fail("there is no checkpoint")
    fresh = dict(TinyTask("unused").network.named_parameters())
    for name, trained in tensors["network"].items():
        away, lag = (trained - fresh[name]).norm(), (trained - tensors["ema"][name]).norm()
        assert lag < 0.9 * away, name
    # One process goes on where two stopped, with the data that follows.
    task, _ = run(tmp_path / "run", 14)
    assert task.seen == [24, 25]


# --- the step -------------------------------------------------------------------------------------------------------


def test_training_lowers_the_loss_in_bf16_and_gives_the_network_back_in_its_own_precision(tmp_path: Path) -> None:
    task, _ = run(tmp_path, 120, precision="bf16", log_every=20)
    losses = [row["loss"] for row in rows(tmp_path)]
    assert losses[-1] < 0.6 * losses[0]
    image = torch.rand(1, 3, 8, 8)
    layers = [m.eval() for m in task.network]
    expected = layers[3](layers[1](layers[0](image)))
    assert torch.equal(task.network(image), expected)  # no autocast is left behind


def test_what_a_task_prepares_is_what_its_loss_gets(tmp_path: Path) -> None:
    task, seen = TinyTask(str(tmp_path)), []
    task.prepare = lambda batch: seen.append(batch["index"]) or {**batch, "index": batch["index"] + 100}
    train(task, config(tmp_path, 3), device="cpu", progress=False)
    assert [number + 100 for number in seen] == task.seen == [100, 101, 102]


def test_on_a_cpu_graph_capture_is_ignored_and_may_change_when_resumed(tmp_path: Path) -> None:
    first, _ = run(tmp_path, 4, capture=True)
    second, _ = run(tmp_path, 6, capture=False)
    assert (first.seen, second.seen) == ([0, 1, 2, 3], [4, 5])


def test_the_rate_warms_up_stays_and_decays_to_one_percent() -> None:
    plan = LoopConfig("x", steps=100, learning_rate=2.0, warmup_steps=10, decay_steps=40)
    rates = [learning_rate_at(step, plan) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and rates[4] == pytest.approx(1.0)
    assert rates[9:60] == pytest.approx([2.0] * 51)
    assert all(a > b for a, b in zip(rates[60:], rates[61:], strict=False))
    assert rates[79] == pytest.approx(2.0 * (0.01 + 0.99 / 2)) and rates[99] == pytest.approx(0.02)


def test_the_rate_follows_the_clock_where_it_is_ahead_of_the_steps() -> None:
    plan = LoopConfig("", 100, learning_rate=2.0, warmup_steps=0, decay_steps=50)
    assert learning_rate_at(10, plan, spent=0.4) == 2.0
    assert (
        learning_rate_at(10, plan, spent=0.75)
        == learning_rate_at(74, plan, spent=0.1)
        == pytest.approx(2.0 * (0.01 + 0.99 / 2))
    )
    assert learning_rate_at(10, plan, spent=1.5) == pytest.approx(0.02)


def test_only_blocks_that_say_so_are_compiled() -> None:
    network = nn.Sequential(GatedBlock(4, 4, 2, 0.1), nn.Linear(4, 4))
    compile_blocks(network)
    assert [module._compiled_call_impl is not None for module in network] == [True, False]
    assert Ema(network, 0.9).network[0]._compiled_call_impl is None  # what is validated runs as in use


def test_only_parameters_of_two_and_more_dimensions_decay(tmp_path: Path) -> None:
    task = TinyTask(str(tmp_path))
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    task.loss = lambda network, batch, step: {"loss": 0.0 * network(batch["noisy"]).sum()}
    train(task, config(tmp_path, 3, weight_decay=0.5, warmup_steps=0), device="cpu", progress=False)
    after = task.network.state_dict()
    assert torch.equal(after["0.bias"], before["0.bias"])
    assert torch.allclose(after["0.weight"], before["0.weight"] * (1 - 0.01 * 0.5) ** 3)


def test_the_average_follows_the_warm_up_formula_and_copies_buffers_and_leaves_frozen_weights() -> None:
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1), nn.Linear(1, 1, bias=False))
    network[2].requires_grad_(False)
    frozen = float(network[2].weight.detach())
    ema = Ema(network, 0.5)
    expected = float(network[0].weight.detach())
    for n in range(12):
        with torch.no_grad():
            network[0].weight.fill_(n)
            network[1].running_mean.fill_(n)
        ema.update(n)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * n
    assert float(ema.network[0].weight) == pytest.approx(expected)
    assert float(ema.network[1].running_mean) == 11
    assert float(ema.network[2].weight) == frozen
    assert not ema.network.training and not any(p.requires_grad for p in ema.network.parameters())


def test_a_step_without_a_finite_gradient_is_left_out_and_many_in_a_row_stop_the_run(tmp_path: Path) -> None:
    task = TinyTask(str(tmp_path))
    good = task.loss
    task.loss = lambda network, batch, step: {
        k: v * (math.nan if step == 4 else 1) for k, v in good(network, batch, step).items()
    }
    train(task, config(tmp_path / "one", 9), device="cpu", progress=False)
    assert all(torch.isfinite(value).all() for value in task.network.state_dict().values())
    task.loss = lambda network, batch, step: {k: v * math.nan for k, v in good(network, batch, step).items()}
    before = digest(task.network)
    with pytest.raises(TrainingError, match="not finite for 50 steps"):
        train(task, config(tmp_path / "all", 90), device="cpu", progress=False)
    assert digest(task.network) == before


def test_the_averaged_weights_are_what_is_exported_at_the_end_and_at_snapshots(tmp_path: Path) -> None:
    task, metrics = run(tmp_path, 8, snapshots=(2, 5))
    end = json.loads((tmp_path / "export/weights.json").read_text())
    assert end["weights"] != digest(task.network) and end["error"] == metrics["error"]
    kept = [json.loads((tmp_path / f"snapshots/step-{step}/weights.json").read_text()) for step in (2, 5)]
    assert [snapshot["step"] for snapshot in kept] == [2, 5]
    assert len({end["weights"], *(snapshot["weights"] for snapshot in kept)}) == 3


# --- log and curve --------------------------------------------------------------------------------------------------


def test_the_log_is_cut_back_drops_a_torn_row_and_widens_for_new_columns(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    log = TrainingLog(path, 0)
    log.write({"step": 10, "seconds": 1.5, "lr": 0.1, "loss": 2.0})
    log.write({"step": 20, "seconds": 2.5, "lr": 0.1, "loss": 1.0, "val_psnr": 22.0})
    log.write({"step": 30, "seconds": 3.5, "lr": 0.1, "loss": 0.5, "colour": 7.0})
    with path.open("a") as file:
        file.write("40,4.5,0.")
    assert path.read_text().splitlines()[0] == "step,seconds,lr,loss,colour,val_psnr"
    TrainingLog(path, 20).write({"step": 30, "seconds": 9.0, "lr": 0.1, "loss": 0.25})
    _, kept = read_log(path)
    assert [(row["step"], row["loss"], row.get("val_psnr")) for row in kept] == [
        (10, 2, None),
        (20, 1, 22),
        (30, 0.25, None),
    ]


def test_the_curve_is_a_readable_image_also_with_gaps_and_infinite_values(tmp_path: Path) -> None:
    from PIL import Image

    log = TrainingLog(tmp_path / "log.csv", 0)
    draw_curve(tmp_path / "log.csv", tmp_path / "curve.png")
    assert not (tmp_path / "curve.png").exists()
    for step in range(1, 40):
        row = {"step": step, "seconds": step, "lr": 0.1, "loss": math.nan if step == 7 else 1 / step, "edges": -1.0}
        log.write(row | ({"val_psnr": math.inf if step == 10 else 20.0 + step} if step % 10 == 0 else {}))
    draw_curve(tmp_path / "log.csv", tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as image:
        assert image.width > 800 and len(image.convert("RGB").getcolors(1 << 20)) > 20


def test_the_curve_of_a_log_without_a_loss_has_no_panel_for_it(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "log.csv").write_text("step,seconds,lr,val_psnr\n1,1,0.1,20\n2,2,0.1,21\n")
    draw_curve(tmp_path / "log.csv", tmp_path / "two.png")
    (tmp_path / "log.csv").write_text("step,seconds,lr,loss,val_psnr\n1,1,0.1,2,20\n2,2,0.1,1,21\n")
    draw_curve(tmp_path / "log.csv", tmp_path / "three.png")
    with Image.open(tmp_path / "two.png") as two, Image.open(tmp_path / "three.png") as three:
        assert 3 * two.width == 2 * three.width and two.height == three.height


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"output": "x", "steps": 5, "learing_rate": 1.0}, "unknown key learing_rate"),
        ({"steps": 5}, "lacks the key output"),
        ({"output": "x", "steps": "5"}, "steps in \\[loop\\] must be int, not '5'"),
        ({"output": "x", "steps": True}, "steps in \\[loop\\] must be int, not True"),
        ({"output": "x", "steps": 0}, "steps in \\[loop\\] must be at least 1, not 0"),
        ({"output": "x", "steps": 5, "ema": 1.0}, "ema in \\[loop\\].*not 1.0"),
        ({"output": "x", "steps": 5, "precision": "fp8"}, "bf16 or fp32, not fp8"),
        ({"output": "x", "steps": 5, "snapshots": [1, 2.5]}, "snapshots in \\[loop\\]"),
    ],
)
def test_a_wrong_config_is_refused_by_the_name_of_the_key(table: dict[str, Any], says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        parse_table(LoopConfig, {"loop": table}, "loop")


def test_a_config_reads_back_from_toml_with_whole_numbers_for_floats(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[loop]\noutput = "x"\nsteps = 5\nlearning_rate = 1\nsnapshots = [3, 4]\n')
    read = parse_table(LoopConfig, read_toml(tmp_path / "a.toml"), "loop")
    assert read == LoopConfig("x", 5, learning_rate=1.0, snapshots=(3, 4))
    (tmp_path / "b.toml").write_text("[loop\n")
    for name, says in (("b.toml", "not a valid TOML"), ("c.toml", "cannot be read")):
        with pytest.raises(TrainingError, match=says):
            read_toml(tmp_path / name)


def test_a_checkpoint_that_does_not_fit_or_is_damaged_is_refused_in_one_sentence(tmp_path: Path) -> None:
    run(tmp_path, 3)
    with pytest.raises(TrainingError, match="trained with seed = 0, now it is 4"):
        run(tmp_path, 6, seed=4)
    task = TinyTask(str(tmp_path))
    task.recipe = {"patch": 12, "card": {"limits": "may be reworded"}}
    train(task, config(tmp_path, 4), device="cpu", progress=False)
    task.recipe = {"patch": 16}
    with pytest.raises(TrainingError, match="recipe.patch = 12, now it is 16"):
        train(task, config(tmp_path, 6), device="cpu")
    with pytest.raises(TrainingError, match="does not fit the network: 0.weight is"):
        train(TinyTask(str(tmp_path), width=5), config(tmp_path, 6), device="cpu")
    weights = tmp_path / "checkpoint/network.safetensors"
    weights.write_bytes(weights.read_bytes()[:40])
    with pytest.raises(TrainingError, match="checkpoint cannot be read .*delete it"):
        run(tmp_path, 6)


if __name__ == "__main__":
    settings = dict(pair.split("=", 1) for pair in sys.argv[3:])
    tiny = TinyTask(sys.argv[1], pause=float(settings.pop("pause", 0)))
    report = settings.pop("report", None)
    kinds = {
        field.name: {"int": int, "float": float}.get(str(field.type), str) for field in dataclasses.fields(LoopConfig)
    }
    chosen = config(Path(sys.argv[1]), int(sys.argv[2]), **{key: kinds[key](value) for key, value in settings.items()})
    exported: list[int] = []
    write = tiny.export
    tiny.export = lambda *arguments: (exported.append(arguments[2]), write(*arguments))[1]
    train(tiny, chosen, device="cpu")
    if report:
        found = {"seen": tiny.seen, "weights": digest(tiny.network), "wrote": bool(exported)}
        Path(report, f"rank{os.environ['RANK']}.json").write_text(json.dumps(found))
