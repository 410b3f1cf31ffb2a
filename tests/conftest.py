"""Settings and fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

# Before anything loads torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest

ROOT = Path(__file__).resolve().parent.parent


class RootIsAFolder:
    """Keeps pytest from importing the repository root as a package of the checkout folder's name.

    ComfyUI wants an `__init__.py` at the root, and pytest would import it under the folder's name, a second copy beside
    `mofe_restore`; in a folder such as `mofe-restore`, which is no valid name, its relative imports would fail.
    """

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(RootIsAFolder(), "root-is-a-folder")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository root."""
    return ROOT


@pytest.fixture(scope="session")
def tiny_mllm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of the shipped MLLM's architecture, tiny and with random weights."""
    import torch

    from mofe_restore.model.guidance import PARAMETERS
    from mofe_restore.model.head import DegradationHead
    from mofe_restore.model.mllm_folder import HEAD_FILE
    from mofe_restore.model.weights import Card, write_weights
    from mofe_restore.model.wording import DESCRIBE
    from mofe_restore.training.mllm_model import MllmConfig, build_model, build_processor, build_tokenizer

    folder = tmp_path_factory.mktemp("tiny-mllm")
    config = MllmConfig(vision_width=64, vision_layers=1, text_width=64, text_layers=1, vocabulary=300)
    tokenizer = build_tokenizer([DESCRIBE, "Answer yes or no: is there haze?"] * 3, config.vocabulary)
    processor = build_processor(tokenizer, config, tmp_path_factory.mktemp("scratch"))
    torch.manual_seed(0)
    build_model(config, tokenizer).save_pretrained(folder)
    processor.save_pretrained(folder)
    head = DegradationHead(config.text_width)
    card = Card("mllm_head", "tiny", "0", {"width": 64, "parameters": list(PARAMETERS)}, {}, {}, "", "", "", "")
    write_weights(folder / HEAD_FILE, head.state_dict(), card, torch.float32)
    return folder
