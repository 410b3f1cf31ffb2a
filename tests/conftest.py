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
    from mofe_restore.tests.factories import write_mllm_folder

    return write_mllm_folder(tmp_path_factory.mktemp("tiny-mllm"), tmp_path_factory.mktemp("scratch"))
