"""What a GPU does with the pack: times, memory against the estimate, CUDA graphs, the tests, ComfyUI on a small budget.

Runs on a CPU as well, for its own test. Every part that fails is written down with its error, and the others go on.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ..model.guidance import Conditioning
from ..model.inference.plan import plan_restoration
from ..model.pipeline import RestorationPipeline
from ..model.precision import DTYPES
from ..model.restorer.thumbnail_branches import Position
from ..model.whole_image import thumbnail_of
from .memory_probe import allocated, sample_photo

SIDES = (512, 1024, 2048, 4096)
VIDEO, CHUNK = (1080, 1920), 10
"""Size of the video's frames, and how many are in memory at once."""

SMALL_VIDEO = (96, 128)
"""The same on a CPU, where the program is only tried out."""

TILE, SMALL_TILE = 768, 64
"""Side in px of the tile that is also run as a CUDA graph and compiled: that of a large image, and on a CPU."""

TOLERANCE = 0.15
"""By how much the measured peak may differ from the estimate that ComfyUI is asked for."""

ENOUGH = 2.0
"""Seconds after which a measurement is not repeated any more."""

ROOT = Path(__file__).resolve().parent.parent


class Evidence:
    """The measurements, one method each; results are collected in `found`.

    Args:
        models: What is measured: restorer and language model, None for the shipped ones.
        device: To measure on.
        sides: Of the square images, in px.
        frames: Of the video; 0 leaves it out.
        end: `time.monotonic()` by which to stop; what is left then is named in `found["left_out"]`.
    """

    def __init__(
        self,
        models: tuple[Path | None, Path | None],
        device: torch.device,
        sides: Sequence[int],
        frames: int,
        end: float,
    ) -> None:
        self.device, self.sides, self.frames, self.end = device, sides, frames, end
        self.found: dict[str, Any] = {"left_out": [], "errors": {}}
        self.pipes = {
            name: RestorationPipeline.from_pretrained(*models, device=device, precision=name)  # type: ignore[arg-type]
            for name in DTYPES
        }

    def attempt(self, name: str, work: Callable[[], object]) -> None:
        """Keep what a measurement returns under its name, or the reason why there is nothing."""
        if time.monotonic() > self.end:
            self.found["left_out"].append(name)
            return
        try:
            self.found[name] = work()
        except Exception as error:  # noqa: BLE001 - the others go on, and this one is reported
            self.found["errors"][name] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def machine(self) -> dict[str, Any]:
        """Return what was measured on."""
        found: dict[str, Any] = {
            "torch": torch.__version__,
            "python": sys.version.split()[0],
            "device": str(self.device),
        }
        if self.device.type == "cuda":
            seen = torch.cuda.get_device_properties(self.device)
            found |= {
                "name": seen.name,
                "memory_gib": round(seen.total_memory / 2**30, 1),
                "cuda": str(torch.version.cuda),
                "capability": f"{seen.major}.{seen.minor}",
            }
        return found

    def seconds(self, work: Callable[[], object]) -> float:
        """Return the median time of some work, after a run that does not count."""
        taken: list[float] = []
        work()
        while not taken or (sum(taken) < ENOUGH and len(taken) < 10):
            self._wait()
            start = time.perf_counter()
            work()
            self._wait()
            taken.append(time.perf_counter() - start)
        return statistics.median(taken)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def restore(self) -> list[dict[str, Any]]:
        """Return times and memory of restoring, by size and precision."""
        rows = []
        for side in self.sides:
            image = sample_photo((side, side))
            for name, pipe in self.pipes.items():
                plan = plan_restoration(pipe.restorer, image, precision=DTYPES[name])
                result = torch.empty_like(image)
                work = lambda plan=plan, result=result: plan.run(into=result)  # noqa: E731
                seconds = self.seconds(work)
                peak = allocated(work, self.device)
                rows.append(
                    {
                        "side": side,
                        "precision": name,
                        "seconds": seconds,
                        "megapixels_per_second": side**2 / 1e6 / seconds,
                        "peak_bytes": peak,
                        "estimate_bytes": plan.memory_bytes,
                        # on a CPU strips keep the peak far below: the estimate is of a GPU's
                        "within": abs(peak / plan.memory_bytes - 1) <= TOLERANCE if self.on_gpu else None,
                    }
                )
        return rows

    @property
    def on_gpu(self) -> bool:
        """Whether this is a GPU."""
        return self.device.type == "cuda"

    def describe(self) -> list[dict[str, Any]]:
        """Return times of describing, by size and precision, with the text and without."""
        rows = []
        for side in self.sides:
            image = sample_photo((side, side))
            for name, pipe in self.pipes.items():
                row: dict[str, Any] = {"side": side, "precision": name}
                for key, with_text in (("seconds", True), ("seconds_without_text", False)):
                    row[key] = self.seconds(self._describing(pipe, image, with_text))
                rows.append(row)
        return rows

    @staticmethod
    def _describing(pipe: RestorationPipeline, image: torch.Tensor, with_text: bool) -> Callable[[], object]:
        calls = iter(range(2**30))
        # another image each time, as the model remembers what it has seen
        return lambda: pipe.describe(image.roll(next(calls), 3), with_text=with_text)

    def video(self) -> dict[str, Any]:
        """Return time and memory of a video under one guidance."""
        name = "bf16" if self.on_gpu else "fp32"
        pipe, clip = self.pipes[name], sample_photo(VIDEO if self.on_gpu else SMALL_VIDEO).repeat(CHUNK, 1, 1, 1)
        guidance = pipe.describe(clip[:1], with_text=False)
        plan, result = (
            plan_restoration(pipe.restorer, clip, guidance, precision=DTYPES[name], threshold=0.0),
            torch.empty_like(clip),
        )
        plan.run(into=result)
        peaks, done, start = [], 0, time.perf_counter()
        while done < self.frames and time.monotonic() < self.end:
            peaks.append(allocated(lambda: plan.run(into=result), self.device))
            done += CHUNK
        seconds = time.perf_counter() - start
        return {
            "height": clip.shape[2],
            "width": clip.shape[3],
            "frames": done,
            "precision": name,
            "seconds": seconds,
            "frames_per_second": done / seconds,
            "peak_bytes_first": peaks[0],
            "peak_bytes_last": peaks[-1],
        }

    def accelerated(self, side: int) -> dict[str, Any]:
        """Return times of one tile as it is, as a CUDA graph and compiled, with the largest difference of each."""
        found: dict[str, Any] = {"side": side}
        for name, dtype in DTYPES.items():
            network = self.pipes[name].restorer
            crop = sample_photo((side, side)).to(self.device)
            place = Position.of(0, 0, side, side)
            position = Position(*(each.to(self.device) for each in vars(place).values()))
            with torch.inference_mode(), torch.autocast(self.device.type, dtype, dtype != torch.float32):
                context = network.encode_context(thumbnail_of(crop, network.config.thumbnail), Conditioning())

                def tile(run: Callable[..., Any] = network.restore_crop, at: Any = (crop, context, position)) -> Any:
                    return run(*at)[0]

                expected = tile().clone()
                found[name] = {"eager": {"seconds": self.seconds(tile)}}
                for kind, prepare in (("cuda_graph", self._graph), ("compiled", self._compiled)):
                    try:
                        work, output = prepare(network, crop, context, position)
                        seconds = self.seconds(work)
                        difference = float((output() - expected).abs().max())
                        found[name][kind] = {"seconds": seconds, "difference": difference}
                    except Exception as error:  # noqa: BLE001 - not every build can, which is what is to be known
                        found[name][kind] = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        return found

    def _graph(
        self, network: Any, crop: Any, context: Any, position: Any
    ) -> tuple[Callable[[], object], Callable[[], torch.Tensor]]:
        if not self.on_gpu:
            raise RuntimeError("CUDA graphs need a GPU")
        side_stream = torch.cuda.Stream()
        side_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side_stream):
            for _ in range(2):
                network.restore_crop(crop, context, position)
        torch.cuda.current_stream().wait_stream(side_stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            restored, _ = network.restore_crop(crop, context, position)
        return graph.replay, lambda: restored

    def _compiled(
        self, network: Any, crop: Any, context: Any, position: Any
    ) -> tuple[Callable[[], object], Callable[[], torch.Tensor]]:
        if not self.on_gpu:
            raise RuntimeError("measured on a GPU only")
        if time.monotonic() > self.end - 120:
            raise RuntimeError("no time left")
        compiled = torch.compile(network.restore_crop, dynamic=False)
        return lambda: compiled(crop, context, position), lambda: compiled(crop, context, position)[0]  # type: ignore[no-untyped-call]


def run_tests(words: Sequence[str], environment: dict[str, str], seconds: float) -> dict[str, Any]:
    """Run some of the suite's tests and return how it ended."""
    if importlib.util.find_spec("pytest") is None:
        raise RuntimeError("pytest is not installed")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header", *words]
    done = subprocess.run(  # noqa: S603
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=seconds
    )
    lines = done.stdout.strip().splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return {"status": done.returncode, "summary": lines[-1] if lines else done.stderr[-300:], "failed": failed}


SMALL_BUDGET = """
import sys, json
comfyui, packs, name, reserve, side = sys.argv[1:6]
cpu = reserve == "cpu"
sys.argv = ["main.py", "--cpu"] if cpu else ["main.py", "--reserve-vram", reserve]
sys.path[:0] = [comfyui]
import comfy.options
comfy.options.enable_args_parsing()
import torch, importlib, time
from comfy import model_management
sys.path[:0] = [packs]
pack = importlib.import_module(name)
importlib.import_module(name + ".nodes.model_paths").register_folders()
load = importlib.import_module(name + ".nodes.load_restorer").LoadRestorer
restore = importlib.import_module(name + ".nodes.restore").Restore
probe = importlib.import_module(name + ".cli.memory_probe")
image = probe.sample_photo((int(side), int(side))).movedim(1, -1)
schema = load.define_schema()
given = {i.id: getattr(i, "default", None) or (i.options[0] if getattr(i, "options", None) else None)
         for i in schema.inputs}
restorer = load.execute(**given).args[0]
if not cpu:
    torch.cuda.reset_peak_memory_stats()
start = time.perf_counter()
result = restore.execute(restorer, image, 1.0, 0).args[0]
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "changed": float((result.float().cpu() - image).abs().mean()),
    "finite": bool(result.isfinite().all()),
    "free_bytes_for_models": int(model_management.get_free_memory()),
    "peak_bytes": 0 if cpu else torch.cuda.max_memory_allocated(),
}))
"""
"""Loads and restores through ComfyUI's nodes, with so much of the memory reserved that little is left for models."""


def small_budget(comfyui: Path, device: torch.device, side: int, seconds: float, python: str = sys.executable) -> Any:
    """Restore with ComfyUI's own memory management, which may use 1 GiB of a GPU, and return what it took."""
    import json

    reserve = "cpu"
    if device.type == "cuda":
        reserve = f"{torch.cuda.get_device_properties(device).total_memory / 2**30 - 1:.2f}"
    with tempfile.TemporaryDirectory() as packs:
        (Path(packs) / "mofe_pack").symlink_to(ROOT, target_is_directory=True)
        arguments = [str(comfyui), packs, "mofe_pack", reserve, str(side)]
        done = subprocess.run(  # noqa: S603
            [python, "-c", SMALL_BUDGET, *arguments], cwd=comfyui, capture_output=True, text=True, timeout=seconds
        )
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it ended without a word"])[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


def collect(
    models: tuple[Path | None, Path | None],
    device: torch.device,
    sides: Sequence[int],
    frames: int,
    minutes: float,
    comfyui: Path | None,
    tests: bool,
) -> dict[str, Any]:
    """Measure everything that the time allows and return it, as gpu.json holds it."""
    start = time.monotonic()
    evidence = Evidence(models, device, sides, frames, start + 60 * minutes)
    evidence.attempt("machine", evidence.machine)
    evidence.attempt("restore", evidence.restore)
    evidence.attempt("describe", evidence.describe)
    if frames:
        evidence.attempt("video", evidence.video)
    if comfyui is not None:
        evidence.attempt("comfyui", lambda: small_budget(comfyui, device, max(sides), 120))
    if tests:
        evidence.attempt("tests", lambda: run_tests(["tests", "-k", "cuda"], {}, 150))
    evidence.attempt("tile", lambda: evidence.accelerated(TILE if evidence.on_gpu else SMALL_TILE))
    rows = evidence.found.get("restore", [])
    evidence.found["estimate_holds"] = all(row["within"] for row in rows) if rows and evidence.on_gpu else None
    evidence.found["minutes"] = (time.monotonic() - start) / 60
    return evidence.found
