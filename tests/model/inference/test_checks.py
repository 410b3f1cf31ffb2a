"""Masks and guidance that do not fit are refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from mofe_restore.model.errors import GuidanceError, RestorationError
from mofe_restore.model.guidance import Guidance
from mofe_restore.model.inference.checks import check_guidance, check_mask
from mofe_restore.model.restorer.network import Restorer

MakeGuidance = Callable[..., Guidance]


def test_guidance_of_another_mllm_is_refused_by_name(restorer: Restorer, make_guidance: MakeGuidance) -> None:
    check_guidance(make_guidance(identity="any"), restorer, 1)  # a network without a card
    restorer.mllm_identity = "mllm-a"
    assert "mllm_identity" not in restorer.state_dict()
    check_guidance(make_guidance(identity="mllm-a"), restorer, 1)
    with pytest.raises(GuidanceError, match=r"mllm-b.*mllm-a"):
        check_guidance(make_guidance(identity="mllm-b"), restorer, 1)


def test_guidance_fits_for_every_image_or_for_one_and_none_is_allowed(
    restorer: Restorer, make_guidance: MakeGuidance
) -> None:
    for guidance in (None, make_guidance(1), make_guidance(3)):
        check_guidance(guidance, restorer, 3)
    with pytest.raises(GuidanceError, match="describes 3 images but the batch has 2"):
        check_guidance(make_guidance(3), restorer, 2)


@pytest.mark.parametrize("name", ["tokens", "pooled"])
def test_guidance_that_is_not_finite_is_refused(restorer: Restorer, make_guidance: MakeGuidance, name: str) -> None:
    guidance = make_guidance()
    broken = replace(guidance, **{name: torch.full_like(getattr(guidance, name), float("nan"))})
    with pytest.raises(GuidanceError, match="not finite: describe the image again"):
        check_guidance(broken, restorer, 1)


@pytest.mark.parametrize("shape", [(1, 32, 40), (2, 32, 40)])
def test_a_mask_for_all_images_or_for_each_is_accepted(shape: tuple[int, ...]) -> None:
    check_mask(torch.rand(shape), torch.rand(2, 3, 32, 40))
    check_mask(None, torch.rand(2, 3, 32, 40))


@pytest.mark.field
@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((3, 32, 40), "There are 3 masks for 2 images: give one mask for all or 2 masks, one per image."),
        ((1, 40, 32), "The mask is 32 x 40 px but the image 40 x 32 px: resize the mask."),
        ((32, 40), "The mask has 2 dimensions: give masks [batch, height, width], here 2 or 1 of 40 x 32 px."),
        ((1, 1, 32, 40), "The mask has 4 dimensions: give masks [batch, height, width], here 2 or 1 of 40 x 32 px."),
    ],
)
def test_row4_a_mask_that_does_not_fit_is_refused_with_what_would(shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(RestorationError) as caught:
        check_mask(torch.rand(shape), torch.rand(2, 3, 32, 40))
    assert str(caught.value) == sentence


@pytest.mark.field
def test_row4_one_image_takes_one_mask() -> None:
    with pytest.raises(RestorationError, match="There are 2 masks for 1 image: give one mask."):
        check_mask(torch.rand(2, 32, 40), torch.rand(1, 3, 32, 40))


def test_strengths_that_nothing_can_follow_are_refused(restorer: Restorer, make_guidance: MakeGuidance) -> None:
    told = make_guidance().with_severities({"noise": 0.4})
    with pytest.raises(GuidanceError, match="Strengths cannot be set here"):
        check_guidance(told, restorer, 1)
    check_guidance(told, Restorer(replace(restorer.config, severity_width=8)), 1)
