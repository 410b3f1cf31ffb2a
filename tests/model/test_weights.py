"""Weight files: whole or not at all, and every bad file gets one sentence."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mofe_restore.model.restorer import Restorer, RestorerConfig, load_restorer
from mofe_restore.model.weights import METADATA_KEY, Card, WeightFileError, read_card, read_weights, write_weights


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


def test_a_restorer_loads_in_fp32_for_evaluation(tmp_path: Path, restorer: Restorer, card: Card) -> None:
    write_weights(tmp_path / "half.safetensors", restorer.state_dict(), card)
    assert read_weights(tmp_path / "half.safetensors", "restorer")[0]["outro.weight"].dtype == torch.bfloat16
    network, _ = load_restorer(tmp_path / "half.safetensors")
    assert not network.training and network.config == restorer.config
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    assert torch.allclose(network.outro.weight, restorer.outro.weight, atol=1e-2)


def test_a_failed_write_leaves_the_old_file(weight_file: Path, card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    before = weight_file.read_bytes()
    with pytest.raises(OSError, match="disk full"):
        write_weights(weight_file, {"x": torch.zeros(3)}, card)
    assert weight_file.read_bytes() == before and len(list(weight_file.parent.iterdir())) == 1


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


def test_a_loaded_network_knows_its_mllm_and_its_card_may_state_the_halo(
    tmp_path: Path, restorer: Restorer, card: Card, tiny_config: RestorerConfig
) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, restorer.state_dict(), dataclasses.replace(card, architecture=tiny_config.describe()))
    network, loaded = load_restorer(path)
    assert network.mllm_identity == "mllm-a" and loaded.architecture["halo"] == network.halo


def test_tensors_that_do_not_fit_the_architecture_are_refused(
    tmp_path: Path, restorer: Restorer, card: Card, tiny_config: RestorerConfig
) -> None:
    state, path = restorer.state_dict(), tmp_path / "w.safetensors"

    def refused(state: dict[str, torch.Tensor], card: Card, words: str) -> None:
        write_weights(path, state, card)
        with pytest.raises(WeightFileError, match=words):
            load_restorer(path)

    refused({k: v for k, v in state.items() if k != "outro.weight"}, card, r"lacks tensors \(outro.weight\)")
    refused({**state, "extra": torch.zeros(1)}, card, r"unknown tensors \(extra\)")
    refused({**state, "outro.bias": torch.zeros(3)}, card, r"wrongly sized tensors \(outro.bias\)")
    refused({**state, "outro.bias": torch.full((12,), torch.nan)}, card, "not finite")
    wider = dataclasses.replace(tiny_config, guidance_width=24).to_dict()
    refused(state, dataclasses.replace(card, architecture=wider), "wrongly sized")
    refused(state, dataclasses.replace(card, architecture={"depth": 3}), "cannot build")
    boasting = {**tiny_config.describe(), "reach": 16}
    refused(state, dataclasses.replace(card, architecture=boasting), "says reach 16")
    refused(state, dataclasses.replace(card, architecture={"guidance_width": "x"}), "cannot build")


def test_a_card_of_wrong_types_is_refused(card: Card) -> None:
    with pytest.raises(ValueError, match="kind"):
        dataclasses.replace(card, kind="upscaler")
    with pytest.raises(ValueError, match="metrics"):
        Card.from_json(json.dumps({**json.loads(card.to_json()), "metrics": []}))
