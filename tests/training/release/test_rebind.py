"""A restorer is bound to another MLLM, and nothing but its card changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mofe_restore.model.mllm.loading import identity_of
from mofe_restore.model.weights import read_weights
from mofe_restore.tests.factories import write_restorer
from mofe_restore.training.release.rebind import main, rebind


def test_the_weights_stay_and_the_card_names_both_mllms(tiny_mllm_folder: Path, tmp_path: Path) -> None:
    first = write_restorer(tmp_path / "first.safetensors", 64, "old:0123")
    output = tmp_path / "runs" / "second.safetensors"
    main([str(first), "--mllm", str(tiny_mllm_folder), "-o", str(output)])
    (old, _), (new, card) = read_weights(first, "restorer"), read_weights(output, "restorer")
    assert all(new[name].dtype == tensor.dtype and torch.equal(new[name], tensor) for name, tensor in old.items())
    assert card.mllm_identity == identity_of(tiny_mllm_folder)
    assert card.training["trained_with"] == "old:0123"
    rebind(output, tiny_mllm_folder, tmp_path / "third.safetensors")
    assert read_weights(tmp_path / "third.safetensors", "restorer")[1].training["trained_with"] == "old:0123"


def test_embeddings_of_another_width_are_refused_and_nothing_written(tiny_mllm_folder: Path, tmp_path: Path) -> None:
    first = write_restorer(tmp_path / "first.safetensors", 8, "old:0123")
    with pytest.raises(ValueError, match="width 8, .* gives 64: train"):
        rebind(first, tiny_mllm_folder, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
