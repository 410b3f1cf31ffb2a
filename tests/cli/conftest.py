"""The commands with a stand-in for the language model, a tiny restorer and a photo."""

from __future__ import annotations

from pathlib import Path

import pytest

from mofe_restore.model.pipeline import RestorationPipeline
from mofe_restore.tests.cli.calls import noise, save
from mofe_restore.tests.factories import FakeMllm, write_restorer


@pytest.fixture(scope="session")
def restorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A restorer for `FakeMllm`."""
    return write_restorer(tmp_path_factory.mktemp("restorer") / "tiny.safetensors")


@pytest.fixture
def real_mllm() -> None:
    """Asking for it keeps `FakeMllm` away."""


@pytest.fixture(autouse=True)
def tiny_mllm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "real_mllm" not in request.fixturenames:
        monkeypatch.setattr(RestorationPipeline, "mllm", property(lambda self: FakeMllm()))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save(tmp_path / "in" / "photo.png", noise(40, 50, 3))
