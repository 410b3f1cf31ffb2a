"""The network itself: identity at the start, bounded reach, images independent of each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mofe_restore.model.guidance import Conditioning, Guidance
from mofe_restore.model.restorer.config import RestorerConfig
from mofe_restore.model.restorer.network import PREVIEW_AREA, Restorer
from mofe_restore.model.restorer.thumbnail_branches import Position, affine_preview
from mofe_restore.model.whole_image import preview_statistics, thumbnail_of
from mofe_restore.tests import factories

NO_HAZE = torch.tensor([[1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]])
"""Remove everything but haze."""


def test_an_untrained_network_is_the_identity(tiny_config: RestorerConfig) -> None:
    torch.manual_seed(0)
    network, crop = Restorer(tiny_config), torch.rand(2, 3, 64, 96)
    thumbnail, position = thumbnail_of(crop, 32), Position.of(0, 0, 64, 96, batch=2)
    conditioning = Conditioning(torch.randn(2, 5, 16), torch.randn(2, 16))
    with torch.no_grad():
        restored, routing = network(crop, position, thumbnail, conditioning)
        preview = affine_preview(thumbnail, network.forward_tone(thumbnail, conditioning))
    assert torch.allclose(restored, crop, atol=1e-6)
    assert torch.allclose(preview, F.adaptive_avg_pool2d(thumbnail, 8), atol=1e-6)
    assert [weights.shape for weights in routing] == [(2, 4, 2, 3), (2, 4, 4, 6)]


def test_the_default_network_keeps_its_budgets() -> None:
    network = Restorer(RestorerConfig(guidance_width=256))
    assert sum(parameter.numel() for parameter in network.parameters()) <= 5_000_000
    assert network.halo <= 128 and network.multiple == 32


@pytest.mark.parametrize("depths", [((2, 4, 3, 2), (2, 2, 2)), ((1, 1, 1, 1), (1, 1, 1))])
def test_nothing_beyond_the_stated_reach_is_felt(
    tiny_config: RestorerConfig, depths: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    config = dataclasses.replace(tiny_config, encoder_blocks=depths[0], decoder_blocks=depths[1])
    torch.manual_seed(1)
    network = Restorer(config).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.add_(1.0 if "residual" in name else 0.3 * torch.randn_like(parameter))
    size, border = 32, 224
    image = torch.rand(1, 3, size, 448)
    changed = image.clone()
    changed[..., border:] = torch.rand(1, 3, size, 448 - border)
    with torch.no_grad():
        # the same thumbnail: only the local branch may feel the change
        context = network.encode_context(thumbnail_of(image, 32), Conditioning())
        position = Position.of(0, 0, size, 448)
        before, _ = network.restore_crop(image, context, position)
        after, _ = network.restore_crop(changed, context, position)
    felt = (before - after).abs().amax((0, 1, 2)) > 0
    first = int(felt.nonzero()[0])
    assert border - first <= config.reach <= config.halo
    # and the bound is tight: the reach is really used, to within the rounding to windows
    assert border - first > config.reach - 32


def test_a_crop_at_its_position_equals_the_same_part_of_the_whole(
    restorer: Restorer, make_guidance: Callable[..., Guidance]
) -> None:
    image, guidance = torch.rand(1, 3, 352, 416), make_guidance()
    conditioning = Conditioning(guidance.tokens, guidance.pooled)
    with torch.no_grad():
        context = restorer.encode_context(thumbnail_of(image, 32), conditioning)
        whole, maps = restorer.restore_crop(image, context, Position.of(0, 0, 352, 416))
        crop, parts = restorer.restore_crop(image[..., 32:, 64:], context, Position.of(32, 64, 352, 416))
    assert (whole - image).abs().mean() > 0.01
    assert (whole[..., 160:, 192:] - crop[..., 128:, 128:]).abs().max() < 1e-4
    assert (maps[0][..., 5:, 6:] - parts[0][..., 4:, 4:]).abs().max() < 1e-4


def test_a_batch_gives_what_its_crops_give_one_by_one(restorer: Restorer) -> None:
    torch.manual_seed(0)
    crops, thumbnails = torch.rand(3, 3, 64, 64), torch.rand(3, 3, 32, 32)
    tokens, pooled = torch.randn(3, 5, 16), torch.randn(3, 16)
    position = Position(*(torch.tensor(v) for v in ([0, 32, 64], [64, 0, 32], [128, 200, 131], [128, 99, 300])))
    mask = torch.tensor([True, False, True])
    with torch.no_grad():
        together, routing = restorer(crops, position, thumbnails, Conditioning(tokens, pooled, mask))
        for index in range(3):
            one = slice(index, index + 1)
            own = Position(position.top[one], position.left[one], position.height[one], position.width[one])
            conditioning = Conditioning(tokens[one], pooled[one], mask[one])
            alone, weights = restorer(crops[one], own, thumbnails[one], conditioning)
            assert (together[one] - alone).abs().max() < 1e-5
            assert (routing[0][one] - weights[0]).abs().max() < 1e-5


def test_crops_of_one_image_share_its_context(restorer: Restorer) -> None:
    crops, thumbnails, places = torch.rand(3, 3, 64, 64), torch.rand(2, 3, 32, 32), Position.of(0, 0, 64, 64, batch=3)
    conditioning, scene = Conditioning(torch.randn(2, 5, 16), torch.randn(2, 16)), torch.tensor([1, 0, 1])
    with torch.no_grad():
        context = restorer.encode_context(thumbnails, conditioning)
        together, _ = restorer.restore_crop(crops, context.select(scene), places)
        repeated = Conditioning(conditioning.tokens[scene], conditioning.pooled[scene])
        apart, _ = restorer(crops, places, thumbnails[scene], repeated)
    assert torch.allclose(together, apart, atol=1e-5)


def test_the_tone_of_more_images_than_have_crops_is_found_in_one_call(restorer: Restorer) -> None:
    crops, thumbnails, places = torch.rand(3, 3, 64, 64), torch.rand(5, 3, 32, 32), Position.of(0, 0, 64, 64, batch=3)
    tokens, pooled, scene = torch.randn(2, 5, 16), torch.randn(5, 16), torch.tensor([1, 0, 1])
    first = Conditioning(tokens, pooled[:2])
    with torch.no_grad():
        context = restorer.encode_context(thumbnails[:2], first)
        together, _ = restorer.restore_crop(crops, context.select(scene), places)
        affine = restorer.forward_tone(thumbnails, Conditioning(pooled=pooled))
        tone = restorer.mirrored_tone(affine[:2], thumbnails[:2], first)
        context_among = restorer.encode_context(thumbnails[:2], first, affine=tone)
        among, _ = restorer.restore_crop(crops, context_among.select(scene), places)
    assert torch.allclose(context_among.affine, context.affine, atol=1e-5)
    assert torch.allclose(together, among, atol=1e-5)
    assert len(affine_preview(thumbnails, affine)) == 5


def test_a_mirrored_image_has_the_mirrored_tone(restorer: Restorer) -> None:
    thumbnail, pooled = torch.rand(1, 3, 32, 32), torch.randn(1, 16)
    conditioning = Conditioning(pooled[:, None], pooled)
    with torch.no_grad():
        both = (thumbnail, thumbnail.flip(3))
        tone, mirrored = (restorer.encode_context(each, conditioning).affine for each in both)
        single = restorer.forward_tone(thumbnail, conditioning)
    assert torch.allclose(tone, mirrored.flip(2), atol=1e-5)
    assert (tone - single).abs().max() > 1e-4


def test_a_preview_is_of_what_the_tone_branch_makes_of_the_whole_image(restorer: Restorer) -> None:
    image, pooled = torch.rand(1, 3, 64, 80), torch.randn(1, restorer.config.guidance_width)
    thumbnail, statistics = restorer.look_at(image)
    affine = restorer.forward_tone(thumbnail, Conditioning(pooled=pooled), statistics)
    before = F.adaptive_avg_pool2d(thumbnail, affine.shape[1])
    expected = preview_statistics(before, affine_preview(thumbnail, affine))
    assert torch.allclose(restorer.preview(image, pooled), expected, atol=1e-5)
    assert not torch.allclose(restorer.preview(image, -pooled), expected, atol=1e-3), "it reads the embedding"


def test_a_preview_of_an_image_with_noise_is_of_a_small_one_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    restorer = factories.make_restorer(8, with_camera=True)
    cleaned: list[tuple[Tensor, Tensor]] = []

    def clean(crops: Tensor, strengths: Tensor) -> Tensor:
        cleaned.append((crops, strengths))
        return torch.full_like(crops, 0.3)

    monkeypatch.setattr(restorer, "clean", clean)
    pooled, faults = torch.randn(1, 8), torch.tensor([[0.4, 0.0, 0.6]])
    large, small = torch.rand(1, 3, 600, 500), torch.rand(1, 3, 50, 2)
    seen = [restorer.preview(image, pooled, faults) for image in (large, small)]
    sizes, strengths = zip(*((tuple(crop.shape[2:]), told[0].tolist()) for crop, told in cleaned), strict=True)
    assert sizes == ((280, 232), (48, 8)), "at most 256 x 256 px, of the same shape, and a multiple of 8 px"
    factor = (600 * 500 / PREVIEW_AREA) ** 0.5
    assert strengths[0] == pytest.approx([0.4, 0.0, 0.6 / factor]) and strengths[1] == pytest.approx([0.4, 0.0, 0.6])
    assert faults.tolist()[0] == pytest.approx([0.4, 0.0, 0.6]), "they are not changed"
    assert torch.allclose(cleaned[0][0].mean(), large.mean(), atol=0.01)
    expected = restorer.preview(torch.full((1, 3, 64, 64), 0.3), pooled)
    assert all(torch.allclose(each, expected, atol=1e-4) for each in seen)


def test_only_a_restorer_with_a_camera_branch_helps_an_mllm(restorer: Restorer) -> None:
    assert restorer.helper is None
    with_camera = factories.make_restorer(8, with_camera=True)
    crops, strengths = torch.rand(2, 3, 32, 32), torch.tensor([[0.5, 0.0, 0.0]])
    assert with_camera.helper is with_camera and with_camera.camera is not None
    assert torch.equal(with_camera.clean(crops, strengths), with_camera.camera.clean(crops, strengths))


def test_statistics_change_the_tone_once_they_are_read(tiny_config: RestorerConfig) -> None:
    torch.manual_seed(0)
    network, image = Restorer(dataclasses.replace(tiny_config, tone_statistics_width=8)), torch.rand(2, 3, 64, 96)
    thumbnail, statistics = network.look_at(image)
    assert statistics is not None and statistics.shape[2:] == (8, 8)
    with torch.no_grad():
        network.tone.to_affine.weight.normal_()
        seen = network.forward_tone(thumbnail, Conditioning(), statistics)
        assert torch.equal(seen, network.forward_tone(thumbnail, Conditioning()))  # untrained
        assert network.tone.statistics is not None
        network.tone.statistics.project.weight.normal_()
        seen = network.forward_tone(thumbnail, Conditioning(), statistics)
        assert (seen - network.forward_tone(thumbnail, Conditioning())).abs().mean() > 0.01
        tone = network.encode_context(thumbnail, Conditioning(), statistics).affine
        flipped = network.look_at(image.flip(3))
        mirrored = network.encode_context(flipped[0], Conditioning(), flipped[1]).affine
    assert torch.allclose(tone, mirrored.flip(2), atol=1e-4)


def test_a_network_without_that_layer_reads_no_statistics(restorer: Restorer) -> None:
    assert restorer.look_at(torch.rand(1, 3, 64, 64))[1] is None


def test_guidance_changes_the_result_and_masking_it_equals_giving_none(restorer: Restorer) -> None:
    crop, thumbnail = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 32, 32)
    tokens, pooled, position = torch.randn(1, 5, 16), torch.randn(1, 16), Position.of(0, 0, 64, 64)
    with torch.no_grad():
        guided, _ = restorer(crop, position, thumbnail, Conditioning(tokens, pooled, torch.tensor([True])))
        masked, _ = restorer(crop, position, thumbnail, Conditioning(tokens, pooled, torch.tensor([False])))
        without, _ = restorer(crop, position, thumbnail, Conditioning())
    assert (guided - masked).abs().max() > 1e-3
    assert torch.allclose(masked, without, atol=1e-5)
    for half in (Conditioning(tokens, None), Conditioning(None, pooled)):
        with pytest.raises(ValueError, match="belong together"):
            restorer(crop, position, thumbnail, half)


def test_steering_changes_nothing_where_all_is_removed_and_something_where_not(restorer: Restorer) -> None:
    torch.nn.init.normal_(restorer.guidance.steer.weight, std=0.2)
    crop, thumbnail, position = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 32, 32), Position.of(0, 0, 64, 64)

    def run(removal: torch.Tensor | None, guided: bool) -> torch.Tensor:
        embeddings = (torch.ones(1, 5, 16), torch.arange(16.0)[None]) if guided else (None, None)
        with torch.no_grad():
            return restorer(crop, position, thumbnail, Conditioning(*embeddings, removal=removal))[0]

    for guided in (True, False):
        assert torch.equal(run(torch.ones(1, 7), guided), run(None, guided))
        assert (run(NO_HAZE, guided) - run(None, guided)).abs().max() > 1e-3


def test_the_removal_of_the_tone_branch_reaches_no_other_branch(restorer: Restorer) -> None:
    torch.nn.init.normal_(restorer.tone.guidance.steer.weight, std=0.2)
    torch.nn.init.normal_(restorer.guidance.steer.weight, std=0.2)
    thumbnail, pooled = torch.rand(1, 3, 32, 32), torch.randn(1, 16)
    with torch.no_grad():
        plain, told = (
            restorer.encode_context(thumbnail, Conditioning(pooled[:, None], pooled, tone_removal=removal))
            for removal in (None, NO_HAZE)
        )
    assert (plain.affine - told.affine).abs().max() > 1e-4
    assert torch.equal(plain.vector, told.vector)


def test_the_tone_branch_removes_as_the_others_do_unless_it_is_told_otherwise(restorer: Restorer) -> None:
    torch.nn.init.normal_(restorer.tone.guidance.steer.weight, std=0.2)
    thumbnail, pooled = torch.rand(1, 3, 32, 32), torch.randn(1, 16)
    with torch.no_grad():
        plain, steered, told = (
            restorer.forward_tone(thumbnail, Conditioning(pooled[:, None], pooled, removal=removal, tone_removal=tone))
            for removal, tone in ((None, None), (NO_HAZE, None), (NO_HAZE, torch.ones(1, 7)))
        )
    assert (plain - steered).abs().max() > 1e-4
    assert torch.equal(plain, told)


def test_every_parameter_gets_a_gradient_in_every_step(restorer: Restorer) -> None:
    position = Position.of(0, 0, 64, 64, batch=2)
    for mask in (torch.tensor([True, True]), torch.tensor([False, False])):
        restorer.zero_grad(set_to_none=True)
        conditioning = Conditioning(torch.randn(2, 5, 16), torch.randn(2, 16), mask, torch.ones(2, 7))
        crop, thumbnail = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 32, 32)
        restored, _ = restorer(crop, position, thumbnail, conditioning)
        preview = affine_preview(thumbnail, restorer.forward_tone(thumbnail, conditioning))
        (restored.square().mean() + preview.square().mean()).backward()
        assert [name for name, parameter in restorer.named_parameters() if parameter.grad is None] == []


def test_bf16_autocast_stays_close_to_fp32(restorer: Restorer) -> None:
    crop, thumbnail, position = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 32, 32), Position.of(0, 0, 64, 64)
    with torch.no_grad():
        exact, _ = restorer(crop, position, thumbnail, Conditioning())
        with torch.autocast("cpu", torch.bfloat16):
            rough, routing = restorer(crop, position, thumbnail, Conditioning())
    assert rough.dtype == torch.float32 and routing[0].dtype == torch.float32
    assert (exact - rough).abs().mean() < 0.02


def test_a_crop_off_the_grid_is_refused(restorer: Restorer) -> None:
    context = restorer.encode_context(torch.rand(1, 3, 32, 32), Conditioning())
    with pytest.raises(ValueError, match="48 x 64"):
        restorer.restore_crop(torch.rand(1, 3, 48, 64), context, Position.of(0, 0, 48, 64))
