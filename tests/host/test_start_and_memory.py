"""What the pack costs a real ComfyUI: at its start, and after many runs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from mofe_restore.tests.host import starting
from mofe_restore.tests.host.conftest import install_pack
from mofe_restore.tests.host.server import Server
from mofe_restore.tests.host.test_real_comfyui import NODES

RUNS = 10
IMAGES, SIDE = 8, 512


@pytest.fixture(scope="module")
def start_up(root: Path, second_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What loading the pack took; see `starting.load`."""
    pack = tmp_path_factory.mktemp("custom_nodes") / "mofe restore"
    install_pack(root, pack, second_root)
    venv = Path(os.environ["COMFYUI_VENV"])
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = subprocess.run(  # noqa: S603
        [python, starting.__file__, os.environ["COMFYUI_PATH"], pack], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_pack_loads_in_half_a_second(start_up: dict[str, Any]) -> None:
    assert start_up["loaded"] is True
    assert start_up["nodes"] == sorted(NODES)
    assert start_up["cpu_seconds"] < 0.5  # not by the clock, which also counts what else the machine does


def test_loading_the_pack_imports_and_builds_no_model(start_up: dict[str, Any]) -> None:
    words = (".model", ".model.vocabulary", ".model.atomic")  # names of degradations, and writing a file; no torch
    ours = [name for name in start_up["modules"] if ".model." in f"{name}." and not name.endswith(words)]
    assert ours + [name for name in start_up["modules"] if name.split(".")[0] == "transformers"] == []
    assert start_up["networks"] == []


def test_loading_the_pack_opens_no_socket(start_up: dict[str, Any]) -> None:
    assert start_up["sockets"] == []


def prompt(number: int) -> dict[str, Any]:
    """Describes and restores a batch that no other number has, so that nothing comes from the cache.

    A mask leaves one small tile per image to do: big results in little time.
    """
    side = {"width": SIDE, "height": SIDE}
    return {
        "black": {"class_type": "SolidMask", "inputs": {"value": 0.0, **side}},
        "white": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 48, "height": 48}},
        "mask": {
            "class_type": "MaskComposite",
            "inputs": {"destination": ["black", 0], "source": ["white", 0], "x": 0, "y": 0, "operation": "add"},
        },
        "photo": {
            "class_type": "EmptyImage",
            "inputs": {**side, "batch_size": IMAGES, "color": 4210752 + number},
        },
        "mllm": {"class_type": "MoFE_LoadMLLM", "inputs": {"model": "owner/tiny", "precision": "auto"}},
        "describe": {
            "class_type": "MoFE_DescribeDegradation",
            "inputs": {"mllm": ["mllm", 0], "image": ["photo", 0], "frames": "first frame only"},
        },
        "restorer": {"class_type": "MoFE_LoadRestorer", "inputs": {"model": "tiny.safetensors", "precision": "fp32"}},
        "restore": {
            "class_type": "MoFE_Restore",
            "inputs": {
                "restorer": ["restorer", 0],
                "image": ["photo", 0],
                "guidance": ["describe", 0],
                "strength": 1.0,
                "tile_size": 64,
                "mask": ["mask", 0],
            },
        },
        "chart": {"class_type": "MoFE_ShowRouting", "inputs": {"routing": ["restore", 1], "frame": 0}},
        "one": {"class_type": "ImageFromBatch", "inputs": {"image": ["restore", 0], "batch_index": 0, "length": 1}},
        "save": {"class_type": "PreviewImage", "inputs": {"images": ["one", 0]}},
    }


def test_ten_queued_runs_leave_memory_flat(server: Server) -> None:
    server.run(prompt(0))
    process = psutil.Process(server.pid)
    held = []
    for queued in [server.queue(prompt(1 + number)) for number in range(RUNS)]:
        server.wait(queued)
        held.append(process.memory_info().rss)
    leak = IMAGES * SIDE * SIDE * 3 * 4 * (RUNS // 2)  # if every run kept its result
    assert max(held[RUNS // 2 :]) < max(held[: RUNS // 2]) + leak / 2, [size >> 20 for size in held]
