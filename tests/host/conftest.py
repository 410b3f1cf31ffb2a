"""A real ComfyUI with the pack in a folder whose name has a space, and a second root of models."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mofe_restore.model.mllm.loading import identity_of
from mofe_restore.tests.factories import MLLM_WIDTH, write_restorer
from mofe_restore.tests.host.foreign import make_checkpoint, make_upscaler
from mofe_restore.tests.host.server import Server, copy_pack

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
    write_restorer(root / "mofe" / "tiny.safetensors", MLLM_WIDTH, identity_of(mllm))
    return root


@pytest.fixture(scope="session")
def foreign_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with tiny ones under the names that the chained workflows ask for."""
    models = tmp_path_factory.mktemp("foreign")
    make_upscaler(models / "upscale_models" / "RealESRGAN_x4plus.safetensors")
    make_checkpoint(models / "checkpoints" / "v1-5-pruned-emaonly-fp16.safetensors")
    return models


@pytest.fixture(scope="session")
def start(
    root: Path, second_root: Path, foreign_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Server]]:
    """Starts a ComfyUI with the pack in a folder of the given name; its connections are noted in `base/connections`."""
    running: list[Server] = []

    def start(pack_name: str) -> Server:
        base = tmp_path_factory.mktemp("comfyui")
        install_pack(root, base / "custom_nodes" / pack_name, second_root)
        comfyui = Path(os.environ["COMFYUI_PATH"])
        (base / "input").mkdir()
        shutil.copy(comfyui / "input" / "example.png", base / "input")
        small = Image.open(comfyui / "input" / "example.png").convert("RGB").resize((160, 128))
        small.save(base / "input" / "small.png")
        make_photo(comfyui / "input" / "example.png").save(base / "input" / "photo.png")
        shutil.copy(HERE / "tiny_clips.py", base / "custom_nodes")
        paths = base / "extra_model_paths.yaml"
        example = (root / "extra_model_paths.example.yaml").read_text(encoding="utf-8")
        assert "D:/models/" in example
        folders = "".join(f"    {name}: {name}/\n" for name in ("checkpoints", "upscale_models", "text_encoders"))
        foreign = f"foreign:\n    base_path: {foreign_models}/\n{folders}"
        paths.write_text(example.replace("D:/models/", f"{second_root}/") + foreign, encoding="utf-8")
        venv = Path(os.environ["COMFYUI_VENV"])
        watcher = Path(shutil.copytree(HERE / "watcher", base / "watcher"))
        environment = {
            "PYTHONPATH": str(watcher),
            "MOFE_CONNECTIONS": str(base / "connections"),
            "MOFE_TINY_CLIPS": str(foreign_models / "text_encoders"),
        }
        where = ("--extra-model-paths-config", str(paths))
        running.append(Server(comfyui, venv, base, *where, environment=environment))
        return running[-1]

    yield start
    for server in running:
        server.stop()


def make_photo(drawing: Path) -> Image.Image:
    """ComfyUI's drawing, 384 x 384, with grain: flat graphics are left alone, this is taken for a photograph."""
    image = np.asarray(Image.open(drawing).convert("RGB").resize((384, 384))).astype(float)
    grain = np.random.default_rng(0).normal(0, 25, image.shape)
    return Image.fromarray((image * 0.7 + 30 + grain).clip(0, 255).astype(np.uint8))


def install_pack(root: Path, pack: Path, second_root: Path) -> None:
    """Copies the pack; a checkout without trained weights gets small random ones, of an MLLM of their own."""
    copy_pack(root, pack)
    if (pack / "weights" / "restorer" / "model.safetensors").exists():
        return
    mllm = shutil.copytree(second_root / "LLM" / "owner" / "tiny", pack / "weights" / "mllm", dirs_exist_ok=True)
    config = json.loads((mllm / "config.json").read_text(encoding="utf-8"))
    (mllm / "config.json").write_text(json.dumps({**config, "mofe_name": "another"}), encoding="utf-8")
    write_restorer(pack / "weights" / "restorer" / "model.safetensors", MLLM_WIDTH, identity_of(mllm))


@pytest.fixture(scope="session")
def video(server: Server) -> str:
    """The name of a small video in the input folder, made by ComfyUI's own nodes: six frames, 160 x 128, with rain."""
    wishes = dict.fromkeys(("low_light", "haze", "snow", "noise", "blur", "jpeg"), 0.0)
    outputs = server.run(
        {
            "photo": {"class_type": "LoadImage", "inputs": {"image": "small.png"}},
            "still": {"class_type": "RepeatImageBatch", "inputs": {"image": ["photo", 0], "amount": 6}},
            "rain": {
                "class_type": "MoFE_DegradeImage",
                "inputs": {"image": ["still", 0], **wishes, "rain": 0.5, "seed": 1},
            },
            "video": {"class_type": "CreateVideo", "inputs": {"images": ["rain", 0], "fps": 12.0}},
            "save": {
                "class_type": "SaveVideo",
                "inputs": {"video": ["video", 0], "filename_prefix": "made", "format": "mp4", "codec": "h264"},
            },
        }
    )
    (server.base / "input" / "example.mp4").write_bytes(server.image(outputs["save"]["images"][0]))
    return "example.mp4"


@pytest.fixture(scope="session")
def server(start: Callable[[str], Server]) -> Server:
    return start(PACK_NAME)


@pytest.fixture(scope="session")
def plain_server(start: Callable[[str], Server]) -> Server:
    """With the pack in a folder whose name needs no quoting: aiohttp finds no static files in another."""
    return start("mofe-restore")
