"""Opening a restorer's weight file, and refusing one that does not fit its card."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from mofe_restore.model.errors import WeightFileError
from mofe_restore.model.restorer.config import RestorerConfig
from mofe_restore.model.restorer.loading import load_restorer
from mofe_restore.model.restorer.network import Restorer
from mofe_restore.model.weights import Card, read_weights, write_weights


def test_a_restorer_loads_in_fp32_for_evaluation(tmp_path: Path, restorer: Restorer, card: Card) -> None:
    write_weights(tmp_path / "half.safetensors", restorer.state_dict(), card)
    assert read_weights(tmp_path / "half.safetensors", "restorer")[0]["outro.weight"].dtype == torch.bfloat16
    network, _ = load_restorer(tmp_path / "half.safetensors")
    assert not network.training and network.config == restorer.config
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    assert torch.allclose(network.outro.weight, restorer.outro.weight, atol=1e-2)


def test_a_loaded_network_knows_its_mllm_and_its_card_may_state_the_halo(
    tmp_path: Path, restorer: Restorer, card: Card, tiny_config: RestorerConfig
) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, restorer.state_dict(), dataclasses.replace(card, architecture=tiny_config.to_card()))
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
    boasting = {**tiny_config.to_card(), "reach": 16}
    refused(state, dataclasses.replace(card, architecture=boasting), "says reach 16")
    refused(state, dataclasses.replace(card, architecture={"guidance_width": "x"}), "cannot build")
