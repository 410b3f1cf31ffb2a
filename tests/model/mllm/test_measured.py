"""What is measured in an image outranks what an MLLM reads in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mofe_restore.model.guidance import Directions, Guidance
from mofe_restore.model.mllm.measured import measured, with_measured_jpeg
from mofe_restore.model.synthesis.degrade import degrade
from mofe_restore.model.synthesis.severities import Severities
from mofe_restore.model.vocabulary import DEGRADATIONS, PARAMETERS

JPEG, QUALITY = DEGRADATIONS.index("jpeg"), PARAMETERS.index("jpeg_quality")

MakeGuidance = Callable[..., Guidance]


def photo(quality: int) -> Tensor:
    """Return patches and some noise [3, H, W] after a JPEG of this quality; 100 is none."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 20, 27, generator=generator) * 0.6 + 0.2
    scene = torch.nn.functional.interpolate(coarse, (220, 297), mode="nearest")
    scene = (scene + 0.02 * torch.randn(scene.shape, generator=generator)).clamp(0, 1)
    return degrade(scene, Severities(jpeg_quality=quality))[0]


@pytest.fixture
def seen(make_guidance: MakeGuidance) -> Guidance:
    made = make_guidance()
    return replace(made, scores=torch.full((1, 7), 0.3), certainty=torch.full((1, 7), 0.3))


@pytest.mark.parametrize(("quality", "score"), [(10, 1.0), (40, 0.5 + 0.5 * 60 / 90), (75, 0.5 + 0.5 * 25 / 90)])
def test_a_jpeg_that_an_mllm_missed_is_seen_at_its_quality(seen: Guidance, quality: int, score: float) -> None:
    known = with_measured_jpeg(seen, photo(quality))
    assert float(known.scores[0, JPEG]) == pytest.approx(score, abs=0.01)
    assert float(known.parameters[0, QUALITY]) == pytest.approx(quality, abs=0.6)
    assert known.certainty is not None and float(known.certainty[0, JPEG]) == 1.0
    assert known.scores[0, :JPEG].tolist() == pytest.approx([0.3] * JPEG)
    assert known.removal is None and known.forced is None and known.severities is None


def test_a_jpeg_of_good_quality_is_none_whatever_an_mllm_says(seen: Guidance) -> None:
    mistaken = replace(seen, scores=torch.full((1, 7), 0.7), certainty=torch.full((1, 7), 0.8))
    known = with_measured_jpeg(mistaken, photo(88))
    assert float(known.scores[0, JPEG]) == 0 and float(known.parameters[0, QUALITY]) == 100
    assert known.certainty is not None and float(known.certainty[0, JPEG]) == 0


def test_without_traces_the_mllm_is_believed(seen: Guidance) -> None:
    assert with_measured_jpeg(seen, photo(100)) is seen


def test_the_embedding_follows(seen: Guidance) -> None:
    width = seen.pooled.shape[1]
    directions = Directions(torch.ones(7, 2, seen.tokens.shape[1], width), torch.ones(7, 2, width))
    known = with_measured_jpeg(replace(seen, directions=directions), photo(10))
    assert torch.allclose(known.pooled, seen.pooled + 1)
    gone = known.after_camera_branch()
    assert torch.allclose(gone.pooled, seen.pooled, atol=1e-5)


def test_an_mllm_without_parameters_gets_none(seen: Guidance) -> None:
    unknown = replace(seen, parameters=torch.full((1, len(PARAMETERS)), torch.nan), certainty=None)
    known = with_measured_jpeg(unknown, photo(30))
    assert bool(known.parameters.isnan().all()) and known.certainty is None and float(known.scores[0, JPEG]) > 0.8


def test_nothing_is_seen_in_a_drawing(seen: Guidance) -> None:
    drawing = torch.ones(3, 128, 128)
    drawing[:, 30:60, 20:90] = torch.tensor([0.8, 0.1, 0.1])[:, None, None]
    known, content = measured(replace(seen, scores=torch.full((1, 7), 0.9)), drawing)
    assert content and not bool(known.scores.any()) and known.protected is not None and bool(known.protected[0])
    kept, content = measured(seen, photo(30))
    assert not content and kept.protected is not None and not bool(kept.protected[0])
