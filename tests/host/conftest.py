"""A real ComfyUI with the pack in a folder whose name has a space, and a second root of models."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mofe_restore.model.mllm_folder import identity_of
from mofe_restore.tests.host.server import Server, copy_pack
from mofe_restore.tests.nodes.models import make_restorer_file

PACK_NAME = "mofe restore"
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [name for name in ("COMFYUI_PATH", "COMFYUI_VENV") if not os.environ.get(name)]
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.host)
        if missing:
            reason = f"{' and '.join(missing)} not set: a ComfyUI checkout and an environment in which it starts"
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def second_root(tmp_path_factory: pytest.TempPathFactory, tiny_mllm_folder: Path) -> Path:
    """Models as a user keeps them elsewhere: mofe/tiny.safetensors, and LLM/owner/tiny, with which it was made."""
    root = tmp_path_factory.mktemp("second root")
    mllm = shutil.copytree(tiny_mllm_folder, root / "LLM" / "owner" / "tiny")
    make_restorer_file(root / "mofe" / "tiny.safetensors", identity_of(mllm))
    return root


@pytest.fixture(scope="session")
def start(root: Path, second_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """Starts a ComfyUI with the pack in a folder of the given name."""
    running: list[Server] = []

    def start(pack_name: str) -> Server:
        base = tmp_path_factory.mktemp("comfyui")
        install_pack(root, base / "custom_nodes" / pack_name, second_root)
        comfyui = Path(os.environ["COMFYUI_PATH"])
        (base / "input").mkdir()
        shutil.copy(comfyui / "input" / "example.png", base / "input")
        paths = base / "extra_model_paths.yaml"
        example = (root / "extra_model_paths.example.yaml").read_text(encoding="utf-8")
        assert "D:/models/" in example
        paths.write_text(example.replace("D:/models/", f"{second_root}/"), encoding="utf-8")
        venv = Path(os.environ["COMFYUI_VENV"])
        running.append(Server(comfyui, venv, base, "--extra-model-paths-config", str(paths)))
        return running[-1]

    yield start
    for server in running:
        server.stop()


def install_pack(root: Path, pack: Path, second_root: Path) -> None:
    """Copies the pack; a checkout without trained weights gets small random ones, of an MLLM of their own."""
    copy_pack(root, pack)
    if (pack / "weights" / "restorer.safetensors").exists():
        return
    mllm = shutil.copytree(second_root / "LLM" / "owner" / "tiny", pack / "weights" / "mllm", dirs_exist_ok=True)
    config = json.loads((mllm / "config.json").read_text(encoding="utf-8"))
    (mllm / "config.json").write_text(json.dumps({**config, "mofe_name": "another"}), encoding="utf-8")
    make_restorer_file(pack / "weights" / "restorer.safetensors", identity_of(mllm))


@pytest.fixture(scope="session")
def server(start: Callable[[str], Server]) -> Server:
    return start(PACK_NAME)
