"""Opening model folders, their identity, and refusing what cannot be used."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mofe_restore.model.errors import MllmError, WeightFileError
from mofe_restore.model.mllm.loading import HEAD_FILE, SECOND_LOOK_FILE, identity_of, load_mllm
from mofe_restore.model.mllm.second_look import SecondLook
from mofe_restore.model.weights import read_weights, write_weights
from mofe_restore.tests.factories import MLLM_WIDTH


@pytest.fixture
def copy(tiny_mllm_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_mllm_folder, tmp_path / "model"))


class TestIdentity:
    def test_it_follows_the_weights_and_not_the_place(self, copy: Path, tiny_mllm_folder: Path) -> None:
        assert identity_of(copy) == identity_of(tiny_mllm_folder)
        data = bytearray((copy / "model.safetensors").read_bytes())
        data[-1] ^= 1
        (copy / "model.safetensors").write_bytes(data)
        assert identity_of(copy) != identity_of(tiny_mllm_folder)

    @pytest.mark.parametrize("name", ["chat_template.jinja", "processor_config.json", "tokenizer.json"])
    def test_it_follows_what_decides_an_embedding(self, copy: Path, name: str) -> None:
        before = identity_of(copy)
        text = (copy / name).read_text(encoding="utf-8")
        changed = text + "x" if name.endswith("jinja") else json.dumps({**json.loads(text), "new": 1})
        (copy / name).write_text(changed, encoding="utf-8")
        assert identity_of(copy) != before

    def test_it_ignores_layout_line_ends_and_the_head(self, copy: Path) -> None:
        before = identity_of(copy)
        for name in ("config.json", "tokenizer.json"):
            values = json.loads((copy / name).read_text(encoding="utf-8"))
            (copy / name).write_text(json.dumps(values, indent=7, sort_keys=True), encoding="utf-8", newline="\r\n")
        template = (copy / "chat_template.jinja").read_text(encoding="utf-8")
        (copy / "chat_template.jinja").write_text(template, encoding="utf-8", newline="\r\n")
        (copy / HEAD_FILE).unlink()
        assert identity_of(copy) == before


class TestRefusals:
    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(MllmError, match="There is no MLLM folder"):
            load_mllm(tmp_path / "nothing")

    def test_folder_without_config(self, tmp_path: Path) -> None:
        with pytest.raises(MllmError, match="has no config.json"):
            load_mllm(tmp_path)

    def test_damaged_config(self, copy: Path) -> None:
        (copy / "config.json").write_text("{")
        with pytest.raises(MllmError, match="is damaged"):
            load_mllm(copy)

    def test_pickled_weights_only(self, copy: Path) -> None:
        (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
        with pytest.raises(MllmError, match="no .safetensors weights"):
            load_mllm(copy)

    def test_truncated_weights(self, copy: Path) -> None:
        path = copy / "model.safetensors"
        path.write_bytes(path.read_bytes()[:5000])
        with pytest.raises(MllmError, match="cannot be opened as a multimodal language model"):
            load_mllm(copy)

    def test_text_named_safetensors_as_head(self, copy: Path) -> None:
        (copy / HEAD_FILE).write_text("not weights")
        with pytest.raises(WeightFileError, match=HEAD_FILE):
            load_mllm(copy)

    def test_text_model_without_a_vision_encoder(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
        (tmp_path / "model.safetensors").write_bytes(b"\0" * 64)
        with pytest.raises(MllmError, match="cannot be opened"):
            load_mllm(tmp_path)

    def test_weights_of_another_network(self, copy: Path) -> None:
        save_file({"conv.weight": torch.zeros(2)}, copy / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(MllmError, match="lacks .* weights of its architecture"):
            load_mllm(copy)

    def test_a_single_missing_weight(self, copy: Path) -> None:
        state = load_file(copy / "model.safetensors")
        name = next(name for name in state if "q_proj" in name)
        save_file({k: v for k, v in state.items() if k != name}, copy / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(MllmError, match="lacks 1 weights"):
            load_mllm(copy)

    def test_weights_that_are_not_finite(self, copy: Path) -> None:
        state = load_file(copy / "model.safetensors")
        next(iter(state.values())).fill_(float("inf"))
        save_file(state, copy / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(MllmError, match="not finite"):
            load_mllm(copy)

    def test_a_head_of_another_model(self, copy: Path) -> None:
        state, card = read_weights(copy / HEAD_FILE, "mllm_head")
        write_weights(copy / HEAD_FILE, state, replace(card, mllm_identity="other:1"))
        with pytest.raises(MllmError, match="belongs to the MLLM other:1"):
            load_mllm(copy)

    def test_a_head_without_its_width(self, copy: Path) -> None:
        state, card = read_weights(copy / HEAD_FILE, "mllm_head")
        write_weights(copy / HEAD_FILE, state, replace(card, architecture={}))
        with pytest.raises(MllmError, match="does not hold a degradation head"):
            load_mllm(copy)

    def test_a_second_look_of_another_model(self, copy: Path) -> None:
        state, card = read_weights(copy / SECOND_LOOK_FILE, "second_look")
        write_weights(copy / SECOND_LOOK_FILE, state, replace(card, mllm_identity="other:1"))
        with pytest.raises(MllmError, match=r"second_look.safetensors belongs to the MLLM other:1"):
            load_mllm(copy)

    def test_a_second_look_of_another_width(self, copy: Path) -> None:
        _, card = read_weights(copy / SECOND_LOOK_FILE, "second_look")
        wide = SecondLook(2 * MLLM_WIDTH, 4)
        sizes = {"width": wide.width, "hidden": wide.hidden}
        write_weights(copy / SECOND_LOOK_FILE, wide.state_dict(), replace(card, architecture=sizes))
        with pytest.raises(MllmError, match="reads embeddings of width 128 but those of the model have 64"):
            load_mllm(copy)

    @pytest.mark.parametrize("sizes", [{}, {"width": 64, "hidden": 10**9}, {"width": 10**9, "hidden": 4}])
    def test_a_second_look_whose_card_does_not_fit(self, copy: Path, sizes: dict[str, int]) -> None:
        state, card = read_weights(copy / SECOND_LOOK_FILE, "second_look")
        write_weights(copy / SECOND_LOOK_FILE, state, replace(card, architecture=sizes))
        with pytest.raises(MllmError, match="does not hold the network of a second look"):
            load_mllm(copy)

    def test_a_model_without_a_chat_template(self, copy: Path) -> None:
        (copy / "chat_template.jinja").unlink()
        with pytest.raises(MllmError, match="without a chat template"):
            load_mllm(copy)

    def test_unknown_precision(self, tiny_mllm_folder: Path) -> None:
        with pytest.raises(MllmError, match="fp8"):
            load_mllm(tiny_mllm_folder, precision="fp8")
