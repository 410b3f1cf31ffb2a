"""Weight files are written whole or not at all, and every bad file is refused in one sentence."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from mofe_restore.model import weights
from mofe_restore.model.errors import WeightFileError
from mofe_restore.model.restorer.loading import load_restorer
from mofe_restore.model.restorer.network import Restorer
from mofe_restore.model.weights import METADATA_KEY, Card, read_card, read_weights, write_tensors, write_weights
from mofe_restore.tests.factories import full_disk


@pytest.fixture
def weight_file(tmp_path: Path, restorer: Restorer, card: Card) -> Path:
    path = tmp_path / "deep" / "restorer.safetensors"
    write_weights(path, restorer.state_dict(), card, torch.float32)
    return path


def test_what_is_written_is_read_back(weight_file: Path, restorer: Restorer, card: Card) -> None:
    state, read = read_weights(weight_file, "restorer")
    assert read == card == read_card(weight_file)
    assert state.keys() == restorer.state_dict().keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in restorer.state_dict().items())
    assert [path.name for path in weight_file.parent.iterdir()] == ["restorer.safetensors"]


def test_a_failed_write_leaves_the_old_file(weight_file: Path, card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    before = weight_file.read_bytes()
    with pytest.raises(OSError, match="disk full"):
        write_weights(weight_file, {"x": torch.zeros(3)}, card)
    assert weight_file.read_bytes() == before and len(list(weight_file.parent.iterdir())) == 1


@pytest.mark.parametrize(
    "message",
    [
        "Error while serializing: I/O error: No space left on device (os error 28)",
        'Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })',
    ],
)
def test_a_full_disk_is_an_error_of_the_operating_system(
    message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise SafetensorError(message)

    monkeypatch.setattr(weights, "save_file", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(3)})
    assert (caught.value.errno, caught.value.filename) == (28, str(tmp_path / "a.safetensors"))
    monkeypatch.undo()
    with full_disk(100), pytest.raises(OSError, match=r"a\.safetensors"):
        write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(300)})
    assert not list(tmp_path.iterdir())


def test_other_errors_of_safetensors_are_defects_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise SafetensorError("Error while serializing: InvalidTensorView")

    monkeypatch.setattr(weights, "save_file", wrong)
    with pytest.raises(SafetensorError):
        write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(3)})


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def cut_in_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("<!DOCTYPE html><title>404 Not Found</title>")


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": 1}))


def missing(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def foreign(path: Path) -> None:
    save_file({"conv.weight": torch.zeros(2)}, path)


def a_card_that_is_not_json(path: Path) -> None:
    save_file({"x": torch.zeros(2)}, path, metadata={METADATA_KEY: "{"})


def a_card_that_lacks_fields(path: Path) -> None:
    save_file({"x": torch.zeros(2)}, path, metadata={METADATA_KEY: json.dumps({"format_version": 1})})


def a_card_of_the_future(path: Path) -> None:
    save_file({"x": torch.zeros(2)}, path, metadata={METADATA_KEY: json.dumps({"format_version": 2})})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncated, "not a complete safetensors file"),
        (cut_in_the_header, "not a complete safetensors file"),
        (empty, "is empty"),
        (text, "not a complete safetensors file"),
        (pickled, "not a complete safetensors file"),
        (missing, "does not exist"),
        (a_folder, "is a folder"),
        (foreign, "no card"),
        (a_card_that_is_not_json, "cannot be read"),
        (a_card_that_lacks_fields, "missing or unknown"),
        (a_card_of_the_future, "format version 2"),
    ],
)
def test_a_bad_file_gets_one_sentence_that_names_it(
    weight_file: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(weight_file)
    for read in (read_card, lambda path: read_weights(path, "restorer"), load_restorer):
        with pytest.raises(WeightFileError, match=words) as caught:
            read(weight_file)
        message = str(caught.value)
        assert str(weight_file) in message and "\n" not in message and message.endswith(".")


def test_another_kind_is_refused(weight_file: Path) -> None:
    with pytest.raises(WeightFileError, match="holds a restorer, not a mllm_head"):
        read_weights(weight_file, "mllm_head")
    with pytest.raises(WeightFileError, match="holds a restorer"):
        read_card(weight_file, "mllm_head")


def test_a_card_of_wrong_types_is_refused(card: Card) -> None:
    with pytest.raises(ValueError, match="kind"):
        dataclasses.replace(card, kind="upscaler")
    with pytest.raises(ValueError, match="metrics"):
        Card.from_json(json.dumps({**json.loads(card.to_json()), "metrics": []}))
