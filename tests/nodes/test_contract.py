"""The same cases on the stand-ins and, where there is one, on the real ComfyUI: neither may know better."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mofe_restore.model.mllm.loading import identity_of
from mofe_restore.tests.factories import MLLM_WIDTH, write_restorer
from mofe_restore.tests.nodes import contract
from mofe_restore.tests.nodes.standins import Host

SECONDS = 300


@pytest.fixture(scope="module")
def models(tiny_mllm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of models: mofe/tiny.safetensors, and LLM/owner/tiny, with which it was made."""
    root = tmp_path_factory.mktemp("models")
    mllm = shutil.copytree(tiny_mllm_folder, root / "LLM" / "owner" / "tiny")
    write_restorer(root / "mofe" / "tiny.safetensors", MLLM_WIDTH, identity_of(mllm))
    return root


@pytest.fixture(scope="module")
def in_real_comfyui(root: Path, models: Path) -> dict[str, dict[str, str | None]]:
    """What went wrong or is lacking in each case, by name; all of them in one process."""
    venv = Path(os.environ["COMFYUI_VENV"])
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = subprocess.run(  # noqa: S603
        [python, contract.__file__, os.environ["COMFYUI_PATH"], root, models],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    reports = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"case"')]
    assert reports, done.stderr[-3000:]
    return {report["case"]: report for report in reports}


@pytest.mark.parametrize("name", contract.CASES)
def test_on_the_stand_ins(name: str, host: Host, models: Path) -> None:
    paths = host.modules["folder_paths"]
    for kind in ("mofe", "LLM"):
        paths.add_model_folder_path(kind, str(models / kind))
    contract.CASES[name](contract.World(host))


@pytest.mark.host
@pytest.mark.skipif(
    not (os.environ.get("COMFYUI_PATH") and os.environ.get("COMFYUI_VENV")),
    reason="COMFYUI_PATH and COMFYUI_VENV not set: a ComfyUI checkout and an environment in which it starts",
)
@pytest.mark.parametrize("name", contract.CASES)
def test_in_the_real_comfyui(name: str, in_real_comfyui: dict[str, dict[str, str | None]]) -> None:
    report = in_real_comfyui[name]
    if report["lacks"]:
        pytest.skip(f"this ComfyUI has no {report['lacks']}")
    assert report["wrong"] is None, report["wrong"]
