"""Guidance for training: of the MLLM, of another picture, or the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mofe_restore.model.imaging.degradations import Severities, degrade
from mofe_restore.model.mllm import Mllm
from mofe_restore.model.mllm_folder import load_mllm
from mofe_restore.training.config import TrainingError
from mofe_restore.training.guides import OracleGuide, guide_of


@pytest.fixture(scope="module")
def mllm(tiny_mllm_folder: Path) -> Mllm:
    return load_mllm(tiny_mllm_folder)


def test_another_pictures_guide_gives_what_the_mllm_sees_in_the_picture_before(mllm: Mllm) -> None:
    truth = degrade(np.zeros((32, 32, 3), dtype=np.float32), Severities(), np.random.default_rng(0)).truth
    own, other = guide_of("mllm", mllm), guide_of("other", mllm)
    looks = torch.stack([own.prepare(torch.rand(3, 100, 110), truth) for _ in range(3)])
    (tokens, pooled), (their_tokens, their_pooled) = own.embed(looks), other.embed(looks)
    assert torch.equal(their_pooled, pooled[[2, 0, 1]]) and torch.equal(their_tokens, tokens[[2, 0, 1]])
    assert own.identity == other.identity == mllm.identity


def test_the_mllms_guide_gives_the_mllms_embeddings(mllm: Mllm) -> None:
    truth = degrade(np.zeros((32, 32, 3), dtype=np.float32), Severities(), np.random.default_rng(0)).truth
    pictures, guide = [torch.rand(3, 100, 110) for _ in range(2)], guide_of("mllm", mllm)
    looks = torch.stack([mllm.looks(picture) for picture in pictures])
    prepared = torch.stack([guide.prepare(picture, truth) for picture in pictures])
    for given, expected in zip(guide.embed(prepared), mllm.embed(looks), strict=True):
        assert torch.allclose(given, expected, atol=1e-4)


def test_of_several_looks_it_gives_the_first_ones_tokens_and_the_mean_of_what_they_tell(mllm: Mllm) -> None:
    truth = degrade(np.zeros((32, 32, 3), dtype=np.float32), Severities(), np.random.default_rng(0)).truth
    pictures, guide = [torch.rand(3, 224, 250) for _ in range(2)], guide_of("mllm", mllm)
    tokens, pooled = guide.embed(torch.stack([guide.prepare(picture, truth, 3) for picture in pictures]))
    for number, picture in enumerate(pictures):
        around = mllm.look_around(picture)
        around = around[torch.arange(3) % len(around)]
        their_tokens, their_pooled = mllm.embed(around)
        assert torch.allclose(tokens[number], their_tokens[0], atol=1e-4)
        assert torch.allclose(pooled[number], their_pooled.mean(0), atol=1e-4)


def test_the_oracle_tells_different_amounts_apart(mllm: Mllm) -> None:
    oracle = guide_of("oracle", mllm)
    clean, rng = np.full((32, 32, 3), 0.5, dtype=np.float32), np.random.default_rng(0)
    told = [
        oracle.prepare(torch.empty(0), degrade(clean, Severities(noise_sigma=sigma), rng).truth)
        for sigma in (0.05, 0.1)
    ]
    tokens, pooled = oracle.embed(torch.stack(told))
    assert pooled.shape == (2, OracleGuide.width) and tokens.shape == (2, 1, OracleGuide.width)
    assert float((pooled[1] - pooled[0]).abs().max()) > 0.1
    assert oracle.identity == ""


def test_an_unknown_guide_is_refused_by_name(mllm: Mllm) -> None:
    with pytest.raises(TrainingError, match="mllm, other or oracle, not 'tarot'"):
        guide_of("tarot", mllm)
