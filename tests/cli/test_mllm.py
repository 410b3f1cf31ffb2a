"""`mofe mllm download` and `mofe publish`, against a server on the loopback that answers as the hub does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mofe_restore.cli.mllm import SOURCE_FILE, wanted
from mofe_restore.model.mllm.loading import identity_of, load_mllm
from mofe_restore.tests.cli.calls import run, sentence
from mofe_restore.tests.cli.hub import COMMIT, Hub
from mofe_restore.tests.factories import MLLM_WIDTH, write_restorer

REPO = "someone/tiny-vlm"

pytestmark = pytest.mark.usefixtures("real_mllm")


@pytest.fixture
def hub(tiny_mllm_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    files = {path.name: path.read_bytes() for path in tiny_mllm_folder.iterdir() if path.is_file()}
    files |= {"modeling_evil.py": b"raise SystemExit", "pytorch_model.bin": b"pickle", "README.md": b"# Tiny"}
    hub = Hub(REPO, files)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield hub
    hub.close()


def test_a_model_is_fetched_at_a_pinned_revision_and_opens(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("mllm", "download", REPO, "--to", tmp_path) == 0
    folder = tmp_path / REPO
    assert str(folder) in capsys.readouterr().out
    assert json.loads((folder / SOURCE_FILE).read_text()) == {"repository": REPO, "revision": COMMIT}
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not {"modeling_evil.py", "pytorch_model.bin", "README.md", ".cache"} & names
    assert load_mllm(folder).width == MLLM_WIDTH
    before = identity_of(folder)
    (folder / SOURCE_FILE).unlink()
    assert identity_of(folder) == before, "where it came from is no part of what it is"


def test_a_broken_download_is_no_model_and_goes_on(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.break_after = 2000
    if run("mllm", "download", REPO, "--to", tmp_path) != 0:  # some versions of the client go on by themselves
        assert "goes on from there" in sentence(capsys)
        assert not (tmp_path / REPO / "config.json").exists()
        assert run("mllm", "download", REPO, "--to", tmp_path) == 0
    assert hub.break_after is None, "the connection did break"
    assert (tmp_path / REPO / "model.safetensors").read_bytes() == hub.files["model.safetensors"]


def test_a_repository_without_safetensors_is_refused(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in hub.files if name.endswith(".safetensors")]:
        del hub.files[name]
    assert run("mllm", "download", REPO, "--to", tmp_path) == 1
    assert "holds no model with config.json and .safetensors weights" in sentence(capsys)


def test_what_is_not_there_is_said_in_one_sentence(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("mllm", "download", "someone/else", "--to", tmp_path) == 1
    assert "someone/else cannot be fetched" in sentence(capsys)
    assert run("mllm", "download", "https://somewhere/x", "--to", tmp_path) == 1
    assert "write it as owner/name" in sentence(capsys)


def test_the_configuration_comes_last_and_code_never() -> None:
    names = ["config.json", "a.py", "model-1.safetensors", "sub/model.safetensors", "tokenizer.json", "x.bin"]
    assert wanted(names) == ["model-1.safetensors", "tokenizer.json", "config.json"]


def test_the_weights_are_published_together(
    hub: Hub, tiny_mllm_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(tiny_mllm_folder, weights / "mllm")
    write_restorer(weights / "restorer" / "model.safetensors", MLLM_WIDTH, "another:1")
    assert run("publish", "--to", REPO, "--weights", weights) == 1
    assert "publish weights that belong together" in sentence(capsys)
    assert not hub.committed
    write_restorer(weights / "restorer" / "model.safetensors", MLLM_WIDTH, identity_of(weights / "mllm"))
    assert run("publish", "--to", REPO, "--weights", weights) == 0
    assert hub.created == ["tiny-vlm"]
    assert hub.committed["mllm/config.json"] == (weights / "mllm" / "config.json").read_bytes()
    assert "restorer/model.safetensors" in hub.committed
