"""The head is fitted anew; the embeddings and the identity stay."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from mofe_restore.model.head import ABSENT, OWNER, SPAN
from mofe_restore.model.mllm_folder import HEAD_FILE, load_mllm
from mofe_restore.model.weights import read_card
from mofe_restore.training.config import TrainingError
from mofe_restore.training.refit import Seen, fit_head, refit
from mofe_restore.training.samples import PhotoStore


def seen(scenes: int = 600) -> Seen:
    """Embeddings in which everything stands linearly, with a little noise."""
    generator = torch.Generator().manual_seed(0)
    strength = torch.rand(scenes, 7, generator=generator)
    presence = (torch.rand(scenes, 7, generator=generator) < 0.4).float()
    strength = strength * presence
    parameters = ABSENT + SPAN * (strength * 0.8)[:, OWNER]
    mixed = torch.cat([presence, strength], dim=1) @ torch.randn(14, 32, generator=generator)
    return Seen(mixed * 5 + 2 + 0.01 * torch.randn(scenes, 32, generator=generator), presence, strength, parameters)


def test_what_stands_in_the_embedding_is_read() -> None:
    case = seen()
    with torch.no_grad():
        reading = fit_head(case)(case.pooled)
    there = case.presence > 0
    assert bool(((reading.presence > 0) == there).all())
    assert float((reading.strength - case.strength)[there].abs().mean()) < 0.02
    span = SPAN.abs()
    assert float(((reading.physical() - case.parameters).abs() / span)[there[:, OWNER]].mean()) < 0.02


def test_a_degradation_that_was_never_seen_cannot_be_fitted() -> None:
    case = seen()
    with pytest.raises(TrainingError, match="take more scenes"):
        fit_head(case._replace(presence=case.presence * torch.tensor([1.0, 1, 1, 0, 1, 1, 1])))


def test_only_the_head_changes(tiny_mllm_folder: Path, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "refit" / "mllm"
    refit(tiny_mllm_folder, PhotoStore.read(photos, limit=2), 64, output)
    before, after = load_mllm(tiny_mllm_folder), load_mllm(output)
    picture = torch.rand(1, 3, 100, 120, generator=torch.Generator().manual_seed(1))
    first, second = (each.describe(picture, with_text=False) for each in (before, after))
    assert after.identity == before.identity
    assert torch.equal(first.pooled, second.pooled)
    assert not torch.equal(first.scores, second.scores)
    assert read_card(output / HEAD_FILE).training["refit"]["scenes"] == 64


def test_a_model_without_a_head_is_refused(tiny_mllm_folder: Path, photos: Path, tmp_path: Path) -> None:
    bare = shutil.copytree(tiny_mllm_folder, tmp_path / "bare")
    (bare / HEAD_FILE).unlink()
    with pytest.raises(TrainingError, match="mofe train mllm"):
        refit(bare, PhotoStore.read(photos, limit=2), 64, tmp_path / "out")
    assert not (tmp_path / "out").exists()
