"""A blend lies between two models and is a whole model itself."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mofe_restore.model.mllm.loading import DIRECTION_POOLED, DIRECTION_TOKENS, HEAD_FILE, identity_of, load_mllm
from mofe_restore.model.weights import read_weights, write_weights
from mofe_restore.tests.factories import write_restorer
from mofe_restore.training.mllm.export import MODEL_FILE
from mofe_restore.training.release.blend import blend, main


@pytest.fixture
def other(tiny_mllm_folder: Path, tmp_path: Path) -> Path:
    """The tiny model with all weights of the language model raised by one."""
    folder = shutil.copytree(tiny_mllm_folder, tmp_path / "other")
    state = {name: tensor + 1 for name, tensor in load_file(folder / MODEL_FILE).items()}
    save_file(state, folder / MODEL_FILE, metadata={"format": "pt"})
    return folder


def test_a_blend_lies_between_and_loads(tiny_mllm_folder: Path, other: Path, tmp_path: Path) -> None:
    output = tmp_path / "runs" / "blend"
    blend(tiny_mllm_folder, other, 0.25, output)
    first, mean = load_file(tiny_mllm_folder / MODEL_FILE), load_file(output / MODEL_FILE)
    assert all(torch.allclose(mean[name].float(), first[name].float() + 0.25, atol=0.02) for name in first)
    mllm = load_mllm(output)
    assert mllm.identity == identity_of(output) not in (identity_of(tiny_mllm_folder), identity_of(other))
    assert mllm.describe(torch.rand(1, 3, 100, 100), with_text=False).pooled.isfinite().all()


def test_none_of_the_second_is_the_first(tiny_mllm_folder: Path, other: Path, tmp_path: Path) -> None:
    blend(tiny_mllm_folder, other, 0.0, tmp_path / "same")
    first, same = load_file(tiny_mllm_folder / MODEL_FILE), load_file(tmp_path / "same" / MODEL_FILE)
    assert all(torch.equal(first[name], same[name]) for name in first)


def test_directions_are_left_out_whichever_of_the_two_has_them(
    tiny_mllm_folder: Path, other: Path, tmp_path: Path
) -> None:
    first = shutil.copytree(tiny_mllm_folder, tmp_path / "first")
    state, card = read_weights(first / HEAD_FILE, "mllm_head")
    state |= {DIRECTION_TOKENS: torch.zeros(7, 2, 20, 64), DIRECTION_POOLED: torch.zeros(7, 2, 64)}
    write_weights(first / HEAD_FILE, state, card)
    for number, pair in enumerate(((first, other), (other, first), (first, first))):
        blend(*pair, 0.5, tmp_path / str(number))
        assert load_mllm(tmp_path / str(number)).directions is None, "they are those of neither"


def test_what_does_not_fit_is_refused_and_nothing_written(tiny_mllm_folder: Path, other: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="between 0 and 1, not 1.5"):
        blend(tiny_mllm_folder, other, 1.5, tmp_path / "out")
    (other / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="different tokenizers"):
        blend(tiny_mllm_folder, other, 0.5, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_restorers_of_one_mllm_are_blended(tmp_path: Path) -> None:
    write_restorer(tmp_path / "first.safetensors", 8, "tiny")
    state, card = read_weights(tmp_path / "first.safetensors", "restorer")
    raised = {name: tensor.float() + 1 for name, tensor in state.items()}
    write_weights(tmp_path / "second.safetensors", raised, replace(card, metrics={"psnr": 20.0}))
    paths = [str(tmp_path / f"{name}.safetensors") for name in ("first", "second")]
    main([*paths, "--share", "0.25", "-o", str(tmp_path / "runs" / "mean.safetensors")])
    mean, told = read_weights(tmp_path / "runs" / "mean.safetensors", "restorer")
    assert all(torch.allclose(mean[name].float(), state[name].float() + 0.25, atol=0.02) for name in state)
    assert told.training["blend"]["share"] == 0.25 and told.architecture == card.architecture
    assert told.metrics == {}, "the blend has not been measured"
    write_weights(tmp_path / "second.safetensors", raised, replace(card, mllm_identity="another"))
    with pytest.raises(ValueError, match="different MLLMs"):
        main([*paths, "--share", "0.25", "-o", str(tmp_path / "other.safetensors")])
    main([*paths, "--share", "0.25", "-o", str(tmp_path / "other.safetensors"), "--other-mllm"])
    assert read_weights(tmp_path / "other.safetensors", "restorer")[1].mllm_identity == "another"
