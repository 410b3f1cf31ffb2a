"""`mofe restore --engine ray`: the results of the plain engine, each once, whatever is killed on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from mofe_restore.cli import restore as command
from mofe_restore.cli.archive import ray_engine
from mofe_restore.cli.common import open_pipeline
from mofe_restore.cli.manifest import NAME
from mofe_restore.model.errors import CommandError
from mofe_restore.model.weights import read_weights, write_weights
from mofe_restore.tests.cli.calls import run, save, sentence

pytest.importorskip("ray")

IMAGES = 24


def images(folder: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    for index in range(count):
        pixels = rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)
        save(folder / f"part{index % 3}" / f"{index:03d}.png", pixels)
    return folder


def actor_of(*words: object) -> Any:
    """An actor as Ray makes it, in this process."""
    from mofe_restore.cli.main import build_parser

    args = build_parser().parse_args([str(word) for word in words])
    return ray_engine.Restorer(args, command.options_of(args, open_pipeline(args)))


def rows_of(actor: Any, *pairs: tuple[Path, str]) -> dict[str, list[Any]]:
    batch = {"file": np.array([str(file) for file, _ in pairs]), "output": np.array([name for _, name in pairs])}
    return actor(batch)


def test_field23_row1_an_actor_gives_what_the_plain_engine_gives(photo: Path, restorer: Path, tmp_path: Path) -> None:
    words = ("restore", photo, "--restorer", restorer, "--keep", "haze")
    assert run(*words, "-o", tmp_path / "plain") == 0
    actor = actor_of(*words, "-o", tmp_path / "ray", "--engine", "ray")
    rows = rows_of(actor, (photo, "photo.png"))
    assert rows["error"] == [None]
    assert (tmp_path / "ray" / "photo.png").read_bytes() == (tmp_path / "plain" / "photo.png").read_bytes()


def test_field23_row1_a_bad_picture_is_a_row_and_not_a_stop(photo: Path, restorer: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no image")
    actor = actor_of("restore", tmp_path, "-o", tmp_path / "out", "--restorer", restorer, "--engine", "ray")
    rows = rows_of(actor, (bad, "bad.png"), (photo, "photo.png"), (tmp_path / "missing.png", "missing.png"))
    assert [bool(error) for error in rows["error"]] == [True, False, True]
    assert "bad.jpg" in rows["error"][0]
    assert actor.results.gather({})["bad.png"].error == rows["error"][0]


def test_field23_row1_what_a_dead_actor_has_done_is_not_done_again(
    photo: Path, restorer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("restore", photo, "-o", tmp_path / "out", "--restorer", restorer, "--engine", "ray")
    first = rows_of(actor_of(*words), (photo, "photo.png"))
    second = actor_of(*words)
    monkeypatch.setattr(second, "pipe", None)
    assert rows_of(second, (photo, "photo.png")) == first
    other = actor_of(*words, "--strength", 0.5)
    assert rows_of(other, (photo, "photo.png"))["options"] != first["options"]


def test_results_of_other_weights_are_not_kept(photo: Path, restorer: Path, tmp_path: Path) -> None:
    weights = tmp_path / "tiny.safetensors"
    shutil.copy(restorer, weights)
    words = ("restore", photo, "-o", tmp_path / "out", "--restorer", weights, "--no-guidance", "--engine", "ray")
    first = actor_of(*words)
    rows_of(first, (photo, "photo.png"))
    state, card = read_weights(weights, "restorer")
    write_weights(weights, {name: -value for name, value in state.items()}, card, torch.float32)
    again = actor_of(*words)
    assert again.options != first.options
    known = first.results.gather({})
    assert ray_engine._items(first.args, first.results, known, first.options) == []
    assert len(ray_engine._items(again.args, again.results, known, again.options)) == 1


@pytest.mark.parametrize(
    ("resources", "wanted", "images", "actors"),
    [
        ({"CPU": 8.0, "memory": 64e9}, None, 1000, (8, {"num_cpus": 1})),
        ({"CPU": 8.0, "memory": 4e9}, None, 1000, (2, {"num_cpus": 1})),
        ({"CPU": 8.0, "memory": 64e9}, 3, 1000, (3, {"num_cpus": 1})),
        ({"CPU": 8.0, "memory": 64e9}, None, 2, (2, {"num_cpus": 1})),
        ({"CPU": 64.0, "GPU": 4.0}, None, 1000, (4, {"num_gpus": 1})),
    ],
)
def test_an_actor_per_device(
    resources: dict[str, float], wanted: int | None, images: int, actors: tuple[int, dict[str, int]]
) -> None:
    assert ray_engine._actors(wanted, resources, images) == actors


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--engine", "ray", "--json", "a.json"), "--json does not go with --engine ray"),
        (("--engine", "ray", "--skip-existing"), "--skip-existing does not go"),
        (("--actors", 2), "are for --engine ray"),
    ],
)
def test_options_that_make_no_sense_cost_one_sentence(
    words: tuple[object, ...], says: str, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("restore", photo, "-o", tmp_path / "out", *words) == 1
    assert says in sentence(capsys)


@pytest.mark.field
@pytest.mark.parametrize(("failures", "address", "works"), [(2, None, True), (3, None, False), (1, "auto", False)])
def test_field23_row1_ray_that_starts_too_slowly_is_started_again(
    failures: int, address: str | None, works: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    from mofe_restore.cli.main import build_parser

    calls: list[dict[str, Any]] = []
    helpers: list[subprocess.Popen[bytes]] = []

    def init(**settings: Any) -> None:
        calls.append(settings)
        if len(calls) <= failures:
            helpers.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
            raise RuntimeError("The current node timed out during startup.")

    for name in ray_engine.PATIENCE:
        monkeypatch.setenv(name, "1")  # so that what is set here does not stay
    monkeypatch.setattr(ray, "init", init)
    words = ["restore", "in", "-o", str(tmp_path), "--engine", "ray", *(("--address", address) if address else ())]
    args = build_parser().parse_args(words)
    if works:
        ray_engine._start(args)
        assert len(calls) == failures + 1
    else:
        with pytest.raises(CommandError, match="timed out during startup.*try again when"):
            ray_engine._start(args)
    assert all(helper.wait(10) for helper in helpers), "what Ray has started is gone"


def test_paths_are_the_same_where_an_actor_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mofe_restore.cli.main import build_parser

    monkeypatch.chdir(tmp_path)
    parse = build_parser().parse_args
    words = ["restore", "in", "-o", "out", "--restorer", "a.safetensors", "--adapters", "b"]
    local = ray_engine._absolute(parse(words))
    assert (local.output, local.restorer, local.mllm) == (tmp_path / "out", tmp_path / "a.safetensors", None)
    assert local.adapters == tmp_path / "b"
    remote = ray_engine._absolute(parse(["restore", "in", "-o", "s3://bucket/out"]))
    assert ray_engine.text_of(remote.output) == "s3://bucket/out"


def test_an_archive_without_images_costs_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("restore", tmp_path / "nowhere", "-o", tmp_path / "out", "--engine", "ray") == 1
    assert "holds no image" in sentence(capsys)


def start(*words: object) -> subprocess.Popen[bytes]:
    log = Path(str(words[words.index("-o") + 1])).with_suffix(".log").open("ab")
    python = [sys.executable, "-m", "mofe_restore.cli", *map(str, words)]
    return subprocess.Popen(python, stderr=log, start_new_session=True)  # noqa: S603


def actors_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if "MapWorker" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def wait(condition: Any, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.2)


@pytest.mark.skipif("MOFE_TEST_RAY" not in os.environ, reason="starts Ray twice, a minute: set MOFE_TEST_RAY=1")
@pytest.mark.slow
@pytest.mark.field
def test_field23_row1_killed_actors_and_a_killed_head_lose_and_repeat_nothing(restorer: Path, tmp_path: Path) -> None:
    folder, out = images(tmp_path / "in", IMAGES), tmp_path / "out"
    words = ("restore", folder, "-o", out, "--restorer", restorer, "--no-guidance", "--engine", "ray", "--actors", 2)

    def done() -> dict[str, int]:
        return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.rglob("*.png")}

    process = start(*words)
    try:
        for some in (2, 6):
            wait(lambda some=some: len(done()) >= some or process.poll() is not None)
            for victim in actors_of(process)[:1]:
                victim.kill()
        wait(lambda: len(done()) >= 10 or process.poll() is not None)
    finally:
        for child in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            try:
                child.send_signal(signal.SIGKILL)
            except psutil.Error:
                continue
        process.wait(60)
    rows = len(list((out / ".rows").rglob("*.json")))
    before = done()
    assert run(*words) == 0
    after = done()
    assert len(after) == IMAGES
    repeated = [name for name in before if after[name] != before[name]]
    assert len(repeated) <= len(before) - rows  # those whose row had not been written
    entries = [json.loads(line) for line in (out / NAME).read_text().splitlines()]
    assert Counter(entry["output"] for entry in entries) == Counter(list(after))
    assert run("restore", folder, "-o", tmp_path / "plain", "--restorer", restorer, "--no-guidance") == 0
    for name in after:
        assert (out / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    assert os.listdir(out / "part0") and not (out / ".rows").exists()  # noqa: PTH208
