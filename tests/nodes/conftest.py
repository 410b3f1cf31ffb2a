"""The nodes over stand-ins for ComfyUI, and models small enough for tests."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from mofe_restore.model.guidance import Guidance
from mofe_restore.tests import factories
from mofe_restore.tests.nodes.standins import Host


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Stand-ins in the place of ComfyUI, for one test; models go into `tmp_path / "models"`."""
    stand_in = Host(tmp_path / "models")
    for name, content in stand_in.modules.items():
        monkeypatch.setitem(sys.modules, name, content)
    forget_nodes()
    yield stand_in
    forget_nodes()


def forget_nodes() -> None:
    """The nodes hold on to the host they were imported with."""
    for name in [name for name in sys.modules if name.startswith("mofe_restore.nodes")]:
        del sys.modules[name]


@pytest.fixture
def nodes(host: Host) -> ModuleType:
    """The package of nodes, with its folders registered."""
    package = importlib.import_module("mofe_restore.nodes")
    importlib.import_module("mofe_restore.nodes.model_paths").register_folders()
    return package


@pytest.fixture
def make_guidance() -> Callable[..., Guidance]:
    return partial(factories.make_guidance, width=factories.MLLM_WIDTH)


@pytest.fixture
def restorer(nodes: ModuleType, tmp_path: Path) -> object:
    """MOFE_RESTORER of a tiny random network, through its loader node."""
    factories.write_restorer(tmp_path / "models" / "mofe" / "tiny.safetensors", factories.MLLM_WIDTH)
    (loaded,) = nodes.LoadRestorer.execute("tiny.safetensors", "fp32").args
    return loaded
