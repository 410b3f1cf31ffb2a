"""The camera branch: the identity at the start, a bounded reach, and strengths that count."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mofe_restore.model.restorer.camera_branch import CameraBranch, ResidualBlock, camera_reach, noise_variance
from mofe_restore.model.restorer.deconvolution import CAUTION
from mofe_restore.model.synthesis.degrade import degrade
from mofe_restore.model.synthesis.severities import Severities

DEPTHS = ((1, 2, 3), (2, 2))


def branch(*depths: tuple[int, ...]) -> CameraBranch:
    """With random weights everywhere."""
    torch.manual_seed(0)
    made = CameraBranch((8, 8, 16), *(depths or ((1, 1, 1), (1, 1)))).eval()
    nn.init.normal_(made.outro.weight, std=0.2)
    return made


def test_an_untrained_branch_is_the_identity() -> None:
    crop = torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        assert torch.equal(CameraBranch((8, 8, 16), (1, 1, 1), (1, 1))(crop, torch.rand(2, 3)), crop)


def reach_of(made: CameraBranch, strengths: torch.Tensor) -> int:
    """Return how far from a changed half of an image something changes in the other half, in px."""
    border = 256
    image = torch.rand(1, 3, 16, 512)
    changed = image.clone()
    changed[..., border:] = torch.rand(1, 3, 16, 512 - border)
    with torch.no_grad():
        felt = (made(image, strengths) - made(changed, strengths)).abs().amax((0, 1, 2)) > 0
    return border - int(felt.nonzero()[0])


@pytest.mark.parametrize("depths", [DEPTHS, ((1, 1, 1), (1, 1)), ((2, 0, 1), (0, 3))])
def test_nothing_beyond_the_stated_reach_is_felt(depths: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    assert camera_reach(*depths) - 8 < reach_of(branch(*depths), torch.rand(1, 3)) <= camera_reach(*depths)


def test_strengths_change_the_result_and_images_of_a_batch_have_their_own() -> None:
    made, crop = branch(), torch.rand(1, 3, 32, 32).repeat(2, 1, 1, 1)
    with torch.no_grad():
        both = made(crop, torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.0, 0.9]]))
        first = made(crop[:1], torch.tensor([[0.5, 0.0, 0.0]]))
    assert (both[0] - both[1]).abs().max() > 1e-3
    assert torch.allclose(both[:1], first, atol=1e-5)


def test_clean_crops_have_one_strength_and_stay_within_the_range() -> None:
    made, crops, strengths = branch(), torch.rand(3, 3, 32, 32), torch.tensor([[0.5, 0.0, 0.9]])
    with torch.no_grad():
        expected = made(crops, strengths.expand(3, -1)).clamp(0, 1)
    cleaned = made.clean(crops.half(), strengths)
    assert cleaned.dtype == torch.float16 and torch.allclose(cleaned.float(), expected, atol=2e-3)
    assert not torch.equal(cleaned, crops.half())


def test_weights_of_its_own_undo_a_jpeg_alone_and_nothing_else() -> None:
    torch.manual_seed(0)
    made = CameraBranch((8, 8, 16), (1, 1, 1), (1, 1), 0, (2, 1, 0), (1, 2)).eval()
    assert made.jpeg is not None
    crop = torch.rand(3, 3, 32, 32)
    strengths = torch.tensor([[0.0, 0.0, 0.6], [0.4, 0.0, 0.6], [0.0, 0.0, 0.6]])
    nn.init.normal_(made.jpeg.outro.weight, std=0.2)
    with torch.no_grad():
        both, alone = made(crop, strengths), made(crop[[0, 2]], strengths[[0, 2]])
        assert torch.equal(both[1], crop[1]) and torch.equal(made(crop, torch.zeros(3, 3)), crop)
        assert torch.allclose(both[[0, 2]], alone, atol=1e-6)
        assert not torch.equal(alone, crop[[0, 2]])
        assert not torch.equal(made(crop[:1], 0.5 * strengths[:1]), alone[:1]), "it is told how strong the JPEG is"


def test_weights_of_its_own_feel_nothing_beyond_the_stated_reach() -> None:
    torch.manual_seed(0)
    depths = ((3, 1, 1), (2, 1))
    made = CameraBranch((8, 8, 16), (1, 1, 2), (1, 1), 0, *depths).eval()
    assert made.jpeg is not None
    nn.init.normal_(made.jpeg.outro.weight, std=0.2)
    assert camera_reach(*depths) - 8 < reach_of(made, torch.tensor([[0.0, 0.0, 0.5]])) <= camera_reach(*depths)


def test_a_crop_off_the_multiple_is_refused() -> None:
    with pytest.raises(ValueError, match="36 x 32 px is not a multiple of 8"):
        branch()(torch.rand(1, 3, 36, 32), torch.rand(1, 3))


def test_only_a_branch_with_an_estimator_sees_the_deconvolved_image() -> None:
    crop, strengths = torch.rand(1, 3, 32, 32), torch.tensor([[0.0, 0.5, 0.0]])
    same, sharper = crop.repeat(1, len(CAUTION), 1, 1), torch.rand(1, 3 * len(CAUTION), 32, 32)
    torch.manual_seed(0)
    seeing = CameraBranch((8, 8, 16), (1, 1, 1), (1, 1), estimator_width=8).eval()
    nn.init.normal_(seeing.outro.weight, std=0.2)
    with torch.no_grad():
        assert torch.equal(seeing(crop, strengths), seeing(crop, strengths, same)), "none is what changes nothing"
        assert (seeing(crop, strengths, sharper) - seeing(crop, strengths)).abs().mean() > 1e-3
    with pytest.raises(ValueError, match="without an estimator sees no deconvolved image"):
        branch()(crop, strengths, sharper)


@pytest.mark.parametrize(
    ("severities", "strengths"),
    [
        (Severities(noise_sigma=25 / 255), [(25 / 55) ** 0.5, 0.0, 0.0]),
        (Severities(jpeg_quality=20), [0.0, 0.0, 80 / 90]),
    ],
)
def test_the_variance_of_what_was_added_is_about_right(severities: Severities, strengths: list[float]) -> None:
    torch.manual_seed(0)
    coarse = torch.rand(1, 1, 40, 40).expand(1, 3, 40, 40)
    scene = nn.functional.interpolate(coarse, (192, 192), mode="bicubic").clamp(0.2, 0.8)
    measured = float((degrade(scene, severities) - scene).square().mean())
    assert measured / 3 < noise_variance(torch.tensor(strengths)) < measured * 3


def test_a_block_whose_channels_are_all_below_0_goes_on_learning() -> None:
    block = ResidualBlock(8)
    with torch.no_grad():
        block.first.bias.fill_(-10.0)  # type: ignore[union-attr]
    block(torch.rand(1, 6, 6, 8)).square().sum().backward()
    assert block.first.weight.grad.abs().max() > 1e-3  # type: ignore[union-attr]
