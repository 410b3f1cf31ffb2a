"""Guidance for training: of the MLLM, of another image, or the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mofe_restore.model.mllm.describer import Mllm
from mofe_restore.model.mllm.loading import load_mllm
from mofe_restore.model.synthesis.degrade import synthesize
from mofe_restore.model.synthesis.severities import Severities
from mofe_restore.training.restorer.guidance_sources import OracleGuidance, make_guidance_source


@pytest.fixture(scope="module")
def mllm(tiny_mllm_folder: Path) -> Mllm:
    return load_mllm(tiny_mllm_folder)


def test_another_images_guide_gives_what_the_mllm_sees_in_the_image_before(mllm: Mllm) -> None:
    truth = synthesize(np.zeros((32, 32, 3), dtype=np.float32), Severities(), np.random.default_rng(0)).truth
    own, other = make_guidance_source("mllm", mllm), make_guidance_source("other", mllm)
    views = torch.stack([own.prepare(torch.rand(3, 100, 110), truth) for _ in range(3)])
    (tokens, pooled), (their_tokens, their_pooled) = own.embed(views), other.embed(views)
    assert torch.equal(their_pooled, pooled[[2, 0, 1]]) and torch.equal(their_tokens, tokens[[2, 0, 1]])
    assert own.identity == other.identity == mllm.identity


def test_the_mllms_guide_gives_the_mllms_embeddings(mllm: Mllm) -> None:
    truth = synthesize(np.zeros((32, 32, 3), dtype=np.float32), Severities(), np.random.default_rng(0)).truth
    images, guide = [torch.rand(3, 100, 110) for _ in range(2)], make_guidance_source("mllm", mllm)
    views = torch.stack([mllm.views(image) for image in images])
    prepared = torch.stack([guide.prepare(image, truth) for image in images])
    for given, expected in zip(guide.embed(prepared), mllm.embed(views), strict=True):
        assert torch.allclose(given, expected, atol=1e-4)


def test_of_several_views_it_gives_the_first_ones_tokens_and_the_mean_of_what_they_tell(mllm: Mllm) -> None:
    truth = synthesize(np.zeros((32, 32, 3), dtype=np.float32), Severities(), np.random.default_rng(0)).truth
    images, guide = [torch.rand(3, 224, 250) for _ in range(2)], make_guidance_source("mllm", mllm)
    tokens, pooled = guide.embed(torch.stack([guide.prepare(image, truth, 3) for image in images]))
    for number, image in enumerate(images):
        around = mllm.view_sets(image)
        around = around[torch.arange(3) % len(around)]
        their_tokens, their_pooled = mllm.embed(around)
        assert torch.allclose(tokens[number], their_tokens[0], atol=1e-4)
        assert torch.allclose(pooled[number], their_pooled.mean(0), atol=1e-4)


def test_the_oracle_tells_different_amounts_apart(mllm: Mllm) -> None:
    oracle = make_guidance_source("oracle", mllm)
    clean, rng = np.full((32, 32, 3), 0.5, dtype=np.float32), np.random.default_rng(0)
    told = [
        oracle.prepare(torch.empty(0), synthesize(clean, Severities(noise_sigma=sigma), rng).truth)
        for sigma in (0.05, 0.1)
    ]
    tokens, pooled = oracle.embed(torch.stack(told))
    assert pooled.shape == (2, OracleGuidance.width) and tokens.shape == (2, 1, OracleGuidance.width)
    assert float((pooled[1] - pooled[0]).abs().max()) > 0.1
    assert oracle.identity == ""
