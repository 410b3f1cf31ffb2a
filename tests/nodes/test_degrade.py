"""Degrade Image over a stand-in host."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.tests.nodes.standins import Host, Interrupted, run

NONE = dict.fromkeys(DEGRADATIONS, 0.0)


@pytest.fixture
def degrade(nodes: ModuleType) -> Callable[..., torch.Tensor]:
    def degrade(image: torch.Tensor, seed: int = 0, **strengths: Any) -> torch.Tensor:
        return run(nodes.DegradeImage, image=image, seed=seed, **{**NONE, **strengths}).args[0]

    return degrade


def random_image(batch: int = 1, channels: int = 3) -> torch.Tensor:
    values = torch.rand(batch, 40, 56, channels, generator=torch.Generator().manual_seed(3))
    return (values * 255).round() / 255


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_every_slider_changes_the_image_and_none_leaves_it(degrade: Callable[..., torch.Tensor], name: str) -> None:
    image = random_image()
    assert (degrade(image, **{name: 0.6}) - image).abs().max() > 2 / 255
    assert torch.allclose(degrade(image), image, atol=1e-6)


def test_the_seed_decides_and_each_frame_gets_its_own_weather(degrade: Callable[..., torch.Tensor]) -> None:
    image = random_image().expand(2, -1, -1, -1)
    first, again, other = (degrade(image, seed, rain=0.7) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_size_and_channels_stay_and_alpha_is_kept(degrade: Callable[..., torch.Tensor], channels: int) -> None:
    image = random_image(channels=channels)
    result = degrade(image, snow=0.5)
    assert result.shape == image.shape
    if channels == 4:
        assert torch.equal(result[..., 3], image[..., 3])


def test_cancel_works_between_frames(degrade: Callable[..., torch.Tensor], host: Host) -> None:
    host.cancel_after = 2
    with pytest.raises(Interrupted):
        degrade(random_image(3), noise=0.5)
    assert len(degrade(random_image(3), noise=0.5)) == 3


@pytest.mark.parametrize(
    ("image", "sentence"),
    [(torch.rand(1, 8, 8, 3), "at least 16 px"), (torch.full((1, 32, 32, 3), torch.nan), "not finite")],
)
def test_images_that_make_no_sense_get_one_sentence(
    degrade: Callable[..., torch.Tensor], image: torch.Tensor, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        degrade(image)


def test_grey_images_get_as_much_noise_as_a_color_and_whole_steps(degrade: Callable[..., torch.Tensor]) -> None:
    grey, color = (degrade(torch.full((1, 64, 64, channels), 0.5), noise=0.7) for channels in (1, 3))
    assert float(grey.std()) == pytest.approx(float(color[..., 0].std()), rel=0.1)
    assert torch.allclose(grey * 255, (grey * 255).round(), atol=1e-4)
