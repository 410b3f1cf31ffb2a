"""`mofe bench --busy`, `--actors`, `--against` and `--gpu`, at small sizes."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from mofe_restore.cli import against, gpu_evidence, throughput
from mofe_restore.cli.busy import LIMIT, BusyTimes, competing, measure_busy
from mofe_restore.model.errors import CommandError
from mofe_restore.tests.cli.calls import run

ROOT = Path(__file__).resolve().parents[2]


def test_competitors_compute_only_while_they_are_told_to_and_end_with_the_context() -> None:
    import psutil

    with competing(1) as switch:
        process = psutil.Process().children()[-1]
        switch.set()
        deadline = time.monotonic() + 60
        before = process.cpu_times().user
        while process.cpu_times().user - before < 0.1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.cpu_times().user - before >= 0.1
        switch.clear()
        time.sleep(0.1)
        before = process.cpu_times().user
        time.sleep(0.3)
        assert process.cpu_times().user - before < 0.05
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_busy_compares_the_medians_of_as_many_rounds_of_both_kinds() -> None:
    calls: list[int] = []
    times = measure_busy(lambda: calls.append(1), 3, 0)
    assert len(calls) == 7 and len(times.idle) == len(times.busy) == 3
    assert BusyTimes([1.0, 2.0, 9.0], [3.0, 4.0, 5.0]).ratio == 2.0


def test_busy_prints_both_times_and_says_whether_it_is_too_much(
    restorer: Path, tiny_mllm_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    from mofe_restore.cli import bench

    monkeypatch.setattr(bench, "SMALL", (64, 80))
    words = ("bench", "--busy", "--runs", 1, "--restorer", restorer, "--mllm", tiny_mllm_folder)
    status = run(*words, "--json", tmp_path / "busy.json")
    times = json.loads((tmp_path / "busy.json").read_text())
    assert status == int(times["ratio"] > LIMIT) and times["ratio"] == times["busy"][0] / times["idle"][0]
    assert f"{times['ratio']:.2f} times as long" in capsys.readouterr().out


def test_throughput_is_that_of_whole_results(restorer: Path, tmp_path: Path) -> None:
    throughput.write_images(tmp_path / "images", 3, 64)
    images = sorted((tmp_path / "images").iterdir())
    assert len({image.read_bytes() for image in images}) == 3
    words = ("--restorer", restorer, "--no-guidance")
    found = throughput.measure(tmp_path / "images", tmp_path / "results", words)
    times = sorted(path.stat().st_mtime for path in (tmp_path / "results").glob("*.png"))
    assert len(times) == 3 and found.rate == 2 / max(times[-1] - times[0], 1e-3)
    assert found.seconds > times[-1] - times[0]
    with pytest.raises(CommandError, match=r"--restorer .*missing.* failed"):
        throughput.measure(tmp_path / "images", tmp_path / "none", ("--restorer", tmp_path / "missing"))


@pytest.mark.parametrize(("rate", "status"), [(1.72, 0), (1.6, 1)])
def test_actors_are_compared_with_one_thread_of_the_same_models(
    rate: float, status: int, restorer: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    asked: list[list[object]] = []

    def measure(images: Path, results: Path, words: list[object]) -> throughput.Throughput:
        asked.append(words)
        assert len(list(images.iterdir())) == 5
        return throughput.Throughput(9.0, rate if "ray" in words else 1.0)

    monkeypatch.setattr(throughput, "measure", measure)
    assert run("bench", "--actors", 2, "--pictures", 5, "--sides", 64, "--restorer", restorer) == status
    models = ["--restorer", restorer]
    assert asked == [models, ["--engine", "ray", "--actors", 2, *models]]
    assert f"{rate:.2f} times the work of one thread; at least 1.70" in capsys.readouterr().out


def test_dark_channel_prior_and_clahe_do_what_they_are_for() -> None:
    pytest.importorskip("cv2")
    clean = against.read_photo(None, 128)
    hazy, dark = against.degraded(clean, "haze"), against.degraded(clean, "low_light")
    for work, image in ((against.dark_channel(), hazy), (against.clahe(), dark)):
        restored = work(image)
        assert restored.shape == clean.shape and restored.min() >= 0 and restored.max() <= 1
    assert against.dark_channel()(hazy).std() > 1.2 * hazy.std(), "haze takes contrast, which comes back"
    assert against.clahe()(dark).mean() > 1.1 * dark.mean()


def test_a_network_of_a_checkout_is_measured_with_random_weights(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/model.py").write_text(
        "import thop, torch\nclass AdaIR(torch.nn.Conv2d):\n"
        "    def __init__(self, decoder):\n        super().__init__(3, 3, 3, padding=1)\n",
        encoding="utf-8",
    )
    tool = against.Tool("AdaIR", "noise", tmp_path)
    models = against.Models(None, None, "fp32", "cpu")
    found = against._measure(tool, models, [None], [64, 96], 2, 1e9, 1)
    assert list(found) == [64, 96] and all(cost.psnr is None and cost.seconds > 0 for cost in found.values())
    assert list(against._measure(tool, models, [None], [64, 96], 1, 0.0, 1)) == [64], "what takes too long is left out"


def test_a_folder_that_is_no_checkout_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(against.CommandError, match="has no net/model.py"):
        against.NETWORKS["AdaIR"](tmp_path)
    assert run("bench", "--against", "--checkout", f"Nobody={tmp_path}") == 2
    assert "NAME=DIR" in capsys.readouterr().err


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against.importlib.util, "find_spec", lambda name: None if name == "bm3d" else object())
    with pytest.raises(against.CommandError, match=r'needs bm3d: pip install "\.\[bench\]" in a checkout'):
        against.check_extra()


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    cost = against.Cost(1.0, 1.0, 2**20, None)
    against.draw({(against.OURS, 256): cost, (against.OURS, 512): cost, ("BM3D", 256): cost}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_evidence_of_a_gpu_is_complete_also_where_a_cpu_stands_in(restorer: Path, tmp_path: Path) -> None:
    arguments = ("--device", "cpu", "--sides", "32,64", "--frames", 10, "--no-tests", "--restorer", restorer)
    assert run("bench", "--gpu", *arguments, "--json", tmp_path / "gpu.json") == 0
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert [(row["side"], row["precision"]) for row in found["restore"]] == [
        (side, name) for side in (32, 64) for name in ("fp32", "bf16", "fp16")
    ]
    assert all(row["seconds"] > 0 and row["peak_bytes"] > 0 and row["within"] is None for row in found["restore"])
    assert len(found["describe"]) == 6 and found["video"]["frames"] == 10
    assert found["tile"]["fp32"]["eager"]["seconds"] > 0 and "GPU" in found["tile"]["fp32"]["cuda_graph"]["error"]
    assert found["left_out"] == [] and found["errors"] == {} and found["estimate_holds"] is None


def test_what_fails_and_what_there_is_no_time_for_is_written_down(restorer: Path) -> None:
    def fail() -> None:
        raise RuntimeError("no such driver")

    evidence = gpu_evidence.Evidence((restorer, None), torch.device("cpu"), (32,), 0, time.monotonic() + 60)
    evidence.attempt("driver", fail)
    evidence.end = 0
    evidence.attempt("video", fail)
    assert evidence.found["errors"] == {"driver": "RuntimeError: no such driver"}
    assert evidence.found["left_out"] == ["video"]


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_without_a_gpu_the_script_says_one_sentence() -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHON": "/bin/false"}
    done = subprocess.run(  # noqa: S603
        [ROOT / "tools/gpu_evidence.sh"], env=environment, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("No NVIDIA GPU") and done.stderr.count("\n") == 1
