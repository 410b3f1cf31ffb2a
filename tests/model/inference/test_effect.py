"""Orders that change next to nothing, and orders that act."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mofe_restore.model.inference.effect import NEXT_TO_NOTHING, note_on_order
from mofe_restore.model.pipeline import RestorationPipeline
from mofe_restore.tests.factories import make_guidance

pytestmark = pytest.mark.field

SAID = "The order to remove noise changed next to nothing (by 0.0 of 255 on average): there is too little of it, or"


def image(count: int = 1) -> Tensor:
    return torch.rand(count, 3, 24, 32, generator=torch.Generator().manual_seed(1)) * 0.8


def test_row13_an_order_that_changes_nothing_says_so() -> None:
    guidance = make_guidance().removing_only({"noise": 1.0})
    assert note_on_order(guidance, image(), image()).startswith(SAID)
    assert note_on_order(guidance, image(), image() + 2 * NEXT_TO_NOTHING) == ""


def test_row13_nothing_is_said_where_nothing_was_ordered() -> None:
    for guidance in (make_guidance(), make_guidance().with_removal({"noise": 0.0}), make_guidance().removing_only({})):
        assert note_on_order(guidance, image(), image()) == ""
    assert note_on_order(make_guidance().removing_only({"noise": 1.0}), image(), image(), strength=0.0) == ""


def test_row13_a_small_strength_and_a_small_mask_are_taken_into_account() -> None:
    guidance = make_guidance().removing_only({"noise": 1.0})
    changed = image() + 0.2 * NEXT_TO_NOTHING
    mask = torch.zeros(1, 24, 32)
    mask[:, :2] = 1
    assert note_on_order(guidance, image(), changed)
    assert note_on_order(guidance, image(), changed, strength=0.1) == ""
    assert note_on_order(guidance, image(), changed, mask=mask) == ""


def test_row13_of_a_batch_it_is_said_where_no_image_changed() -> None:
    guidance, before = make_guidance(2).removing_only({"noise": 1.0}), image(2)
    after = before.clone()
    assert note_on_order(guidance, before, after).startswith(SAID)
    after[1] += 0.1
    assert note_on_order(guidance, before, after) == ""


def test_of_a_batch_each_image_is_judged_by_its_own_mask() -> None:
    guidance, before, masks = make_guidance(1).removing_only({"noise": 1.0}), image(2), torch.zeros(2, 24, 32)
    after = before.clone()
    masks[0] = 1
    assert note_on_order(guidance, before, after, mask=masks).startswith(SAID), "of the second nothing is expected"
    masks[1, :2] = 1
    after[1, :, :2] += 2 * NEXT_TO_NOTHING
    assert note_on_order(guidance, before, after, mask=masks) == ""
    assert note_on_order(guidance, before, before, mask=torch.zeros(1, 24, 32)) == ""


def paper(height: int = 160, width: int = 192) -> np.ndarray:
    """A scan: lines of dark words on light paper, with a margin of 40 px on the left."""
    rng, page = np.random.default_rng(0), np.full((height, width), 0.93)
    for top in range(12, height - 12, 14):
        left = 40
        while left < width - 12:
            letters = int(rng.integers(2, 9))
            page[top : top + 7, left : left + letters] = 0.15
            left += letters + int(rng.integers(1, 5))
    return page


def chest(height: int = 160, width: int = 192) -> np.ndarray:
    """An X-ray: soft light shapes with ribs on black."""
    y, x = np.mgrid[0:height, 0:width]
    picture = 0.12 + 0.5 * np.exp(-(((x - width / 2) / 60) ** 2 + ((y - height / 2) / 50) ** 2))
    for rib in range(6):
        picture += 0.12 * np.exp(-(((y - 20 - rib * 22 - 8 * np.sin(x / 40)) / 5) ** 2))
    return picture.clip(0, 0.95)


@pytest.fixture(scope="module")
def pipe() -> RestorationPipeline:
    return RestorationPipeline.from_pretrained(device="cpu", precision="fp32")


@pytest.mark.weights
@pytest.mark.parametrize(("kind", "sigma", "left"), [("paper", 0.04, 0.6), ("paper", 0.08, 0.6), ("chest", 0.02, 0.5)])
def test_row13_an_order_removes_the_noise_of_scans_and_x_rays(
    pipe: RestorationPipeline, kind: str, sigma: float, left: float
) -> None:
    clean = paper() if kind == "paper" else chest()
    noise = np.random.default_rng(1).normal(0, sigma, clean.shape)
    noisy = torch.from_numpy((clean + noise).clip(0, 1)).float()[None, None].expand(1, 3, -1, -1)
    told = pipe.describe(noisy, instruction="remove the noise", with_text=False)
    result = pipe(noisy, told).image
    width = 36 if kind == "paper" else None  # the margin of the scan

    def noise_in(picture: Tensor) -> float:
        return float((picture.mean(1) - torch.from_numpy(clean).float())[..., 4:width].std())

    assert noise_in(result) < left * noise_in(noisy)
    assert note_on_order(told, noisy, result) == ""
