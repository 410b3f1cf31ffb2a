"""Maps of where and how strongly a degradation is repaired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mofe_restore.model.errors import GuidanceError
from mofe_restore.model.guidance import Guidance
from mofe_restore.model.inference.degradation_map import DegradationMapper, cell_means
from mofe_restore.model.pipeline import RestorationPipeline
from mofe_restore.model.restorer.network import Restorer
from mofe_restore.model.synthesis.degrade import degrade
from mofe_restore.model.synthesis.severities import Severities
from mofe_restore.model.weights import SHIPPED_RESTORER

MakeGuidance = Callable[..., Guidance]

pytestmark = pytest.mark.field


def with_scores(guidance: Guidance, score: float) -> Guidance:
    return replace(guidance, scores=torch.full_like(guidance.scores, score))


def test_row8_a_map_is_at_most_the_score_and_black_for_what_is_kept(
    restorer: Restorer, make_guidance: MakeGuidance
) -> None:
    image, guidance = torch.rand(2, 3, 50, 70), with_scores(make_guidance(1), 0.6)
    maps = DegradationMapper(restorer, image, guidance, "rain").run()
    assert maps.shape == (2, 50, 70) and 0 < maps.max() <= 0.6
    kept = DegradationMapper(restorer, image, guidance.with_removal({"rain": 0.0}), "rain").run()
    assert not kept.any()
    unseen = DegradationMapper(restorer, image, with_scores(guidance, 0.0), "rain").run()
    assert not unseen.any()


def test_row8_a_batch_has_the_maps_of_its_images(restorer: Restorer, make_guidance: MakeGuidance) -> None:
    images, guidance = torch.rand(2, 3, 40, 40), with_scores(make_guidance(2), 0.7)
    together = DegradationMapper(restorer, images, guidance, "noise").run()
    alone = DegradationMapper(restorer, images[1:], guidance[1], "noise").run()
    assert torch.allclose(together[1:], alone, atol=1e-5)


def test_row8_progress_rises_to_the_end(restorer: Restorer, make_guidance: MakeGuidance) -> None:
    seen: list[tuple[int, int]] = []
    mapper = DegradationMapper(restorer, torch.rand(2, 3, 40, 40), with_scores(make_guidance(2), 0.7), "noise")
    mapper.run(on_tile=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_row8_an_unknown_degradation_and_foreign_guidance_are_refused(
    restorer: Restorer, make_guidance: MakeGuidance
) -> None:
    with pytest.raises(GuidanceError, match="no degradation 'smoke'"):
        DegradationMapper(restorer, torch.rand(1, 3, 40, 40), make_guidance(), "smoke")
    with pytest.raises(GuidanceError, match="describes 3 images"):
        DegradationMapper(restorer, torch.rand(2, 3, 40, 40), make_guidance(3), "rain")


def test_cells_at_the_border_are_means_of_what_is_there() -> None:
    values = torch.ones(20, 35)
    values[16:, 32:] = 3
    means = cell_means(values, 16)
    assert means.shape == (2, 3)
    assert means[0, 0] == 1 and means[1, 2] == 3


@pytest.mark.weights
@pytest.mark.skipif(not SHIPPED_RESTORER.exists(), reason="no trained weights in this checkout")
@pytest.mark.parametrize("name", ["noise", "snow"])
def test_row8_noise_and_snow_are_found_where_they_are(name: str) -> None:
    clean = scene()
    spoilt = clean.clone()
    spoilt[..., 96:] = degrade(clean, Severities.from_strengths({name: 0.7}), seed=1)[..., 96:]
    pipe = RestorationPipeline.from_pretrained(precision="fp32")
    guidance = pipe.describe(spoilt, with_text=False).with_severities({name: 0.7})
    (found,) = DegradationMapper(pipe.restorer, spoilt, guidance, name).run()
    assert found[:, 112:].mean() > 3 * found[:, :80].mean()


def scene() -> Tensor:
    """[1, 3, 128, 192]: a smooth landscape of slow waves."""
    rows, columns = torch.meshgrid(torch.linspace(0, 6, 128), torch.linspace(0, 9, 192), indexing="ij")
    waves = [(rows * a + columns * b).sin() for a, b in ((1.0, 0.3), (0.4, 1.0), (0.8, -0.7))]
    return (0.5 + 0.2 * torch.stack(waves))[None]
