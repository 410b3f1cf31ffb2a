"""The network itself: identity at the start, bounded reach, pictures independent of each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from mofe_restore.model.guidance import Guidance, GuidanceError
from mofe_restore.model.overview import correct, sample, sampling_weights, with_logarithm
from mofe_restore.model.restorer import Position, Restorer, RestorerConfig, check_guidance, thumbnail_of
from mofe_restore.model.weights import Card


def test_an_untrained_network_is_the_identity(tiny_config: RestorerConfig) -> None:
    torch.manual_seed(0)
    network, crop = Restorer(tiny_config), torch.rand(2, 3, 64, 96)
    position = Position.of(0, 0, 64, 96, batch=2)
    with torch.no_grad():
        restored, routing, overview = network(
            crop, thumbnail_of(crop, 32), torch.randn(2, 5, 16), torch.randn(2, 16), None, position
        )
    assert torch.allclose(restored, crop, atol=1e-6)
    assert torch.allclose(overview, F.adaptive_avg_pool2d(thumbnail_of(crop, 32), 8), atol=1e-6)
    assert [weights.shape for weights in routing] == [(2, 4, 2, 3), (2, 4, 4, 6)]


def test_the_default_network_keeps_its_budgets() -> None:
    network = Restorer(RestorerConfig(guidance_width=256))
    assert sum(parameter.numel() for parameter in network.parameters()) <= 5_000_000
    assert network.halo <= 128 and network.multiple == 32


def test_a_halo_beyond_the_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="budget of 128 px"):
        RestorerConfig(guidance_width=8, encoder_blocks=(2, 2, 3, 4))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("widths", (8, 8, 8)),
        ("experts", 1),
        ("mofe_levels", (3,)),
        ("thumbnail", 100),
        ("thumbnail", 264),
        ("softness", 0.0),
        ("top_experts", 5),
        ("guidance_width", "16"),
        ("residual_init", float("nan")),
    ],
)
def test_a_config_that_makes_no_sense_is_refused_by_name(
    tiny_config: RestorerConfig, field: str, value: object
) -> None:
    with pytest.raises(ValueError, match=field):
        RestorerConfig.from_dict({**tiny_config.to_dict(), field: value})


def test_a_config_survives_its_dict(tiny_config: RestorerConfig) -> None:
    assert RestorerConfig.from_dict(tiny_config.to_dict()) == tiny_config
    with pytest.raises(ValueError, match="colour"):
        RestorerConfig.from_dict({**tiny_config.to_dict(), "colour": 1})


def test_a_card_may_state_halo_and_reach_and_they_are_checked(tiny_config: RestorerConfig) -> None:
    described = tiny_config.describe()
    assert set(described) - set(tiny_config.to_dict()) == {"halo", "reach"}
    assert RestorerConfig.from_dict(described) == tiny_config
    assert Restorer.from_config(described).halo == described["halo"]
    with pytest.raises(ValueError, match="says halo 32, but its halo is 128"):
        RestorerConfig.from_dict({**described, "halo": 32})


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
    picture = torch.rand(1, 3, size, 448)
    changed = picture.clone()
    changed[..., border:] = torch.rand(1, 3, size, 448 - border)
    with torch.no_grad():
        # the same overview: only the local branch may feel the change
        context = network.look(thumbnail_of(picture, 32), None, None)
        position = Position.of(0, 0, size, 448)
        before, _ = network.restore(picture, context, position)
        after, _ = network.restore(changed, context, position)
    felt = (before - after).abs().amax((0, 1, 2)) > 0
    first = int(felt.nonzero()[0])
    assert border - first <= config.reach <= config.halo
    # and the bound is not idle: the reach is really used, to within the rounding to windows
    assert border - first > config.reach - 32


def test_a_crop_at_its_position_equals_the_same_part_of_the_whole(
    restorer: Restorer, make_guidance: Callable[..., Guidance]
) -> None:
    picture, guidance = torch.rand(1, 3, 352, 416), make_guidance()
    with torch.no_grad():
        context = restorer.look(thumbnail_of(picture, 32), guidance.tokens, guidance.pooled)
        whole, maps = restorer.restore(picture, context, Position.of(0, 0, 352, 416))
        crop, parts = restorer.restore(picture[..., 32:, 64:], context, Position.of(32, 64, 352, 416))
    assert (whole - picture).abs().mean() > 0.01
    assert (whole[..., 160:, 192:] - crop[..., 128:, 128:]).abs().max() < 1e-4
    assert (maps[0][..., 5:, 6:] - parts[0][..., 4:, 4:]).abs().max() < 1e-4


def test_a_batch_gives_what_its_crops_give_one_by_one(restorer: Restorer) -> None:
    torch.manual_seed(0)
    crops, thumbnails = torch.rand(3, 3, 64, 64), torch.rand(3, 3, 32, 32)
    tokens, pooled = torch.randn(3, 5, 16), torch.randn(3, 16)
    position = Position(*(torch.tensor(v) for v in ([0, 32, 64], [64, 0, 32], [128, 200, 131], [128, 99, 300])))
    keep = torch.tensor([True, False, True])
    with torch.no_grad():
        together, routing, _ = restorer(crops, thumbnails, tokens, pooled, keep, position)
        for index in range(3):
            one = slice(index, index + 1)
            own = Position(position.top[one], position.left[one], position.height[one], position.width[one])
            alone, weights, _ = restorer(crops[one], thumbnails[one], tokens[one], pooled[one], keep[one], own)
            assert (together[one] - alone).abs().max() < 1e-5
            assert (routing[0][one] - weights[0]).abs().max() < 1e-5


def test_crops_of_one_picture_share_its_overview(restorer: Restorer) -> None:
    crops, thumbnails, places = torch.rand(3, 3, 64, 64), torch.rand(2, 3, 32, 32), Position.of(0, 0, 64, 64, batch=3)
    tokens, pooled, scene = torch.randn(2, 5, 16), torch.randn(2, 16), torch.tensor([1, 0, 1])
    with torch.no_grad():
        together, _, overview = restorer(crops, thumbnails, tokens, pooled, None, places, None, scene)
        apart, _, _ = restorer(crops, thumbnails[scene], tokens[scene], pooled[scene], None, places)
        longer = torch.cat([thumbnails, torch.rand(3, 3, 32, 32)]), tokens, torch.randn(5, 16)
        longer[2][:2] = pooled
        among, _, more = restorer(crops, *longer, None, places, None, scene)
    assert torch.allclose(together, apart, atol=1e-5)
    assert torch.allclose(together, among, atol=1e-5)
    assert (len(overview), len(more)) == (2, 5)


def test_a_mirrored_picture_has_the_mirrored_tone(restorer: Restorer) -> None:
    thumbnail, pooled = torch.rand(1, 3, 32, 32), torch.randn(1, 16)
    with torch.no_grad():
        both = (thumbnail, thumbnail.flip(3))
        tone, mirrored = (restorer.look(each, pooled[:, None], pooled).affine for each in both)
        single = restorer.tone(thumbnail, pooled, None, None)
    assert torch.allclose(tone, mirrored.flip(2), atol=1e-5)
    assert (tone - single).abs().max() > 1e-4


def test_guidance_changes_the_result_and_dropping_it_equals_giving_none(restorer: Restorer) -> None:
    crop, thumbnail = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 32, 32)
    tokens, pooled, position = torch.randn(1, 5, 16), torch.randn(1, 16), Position.of(0, 0, 64, 64)
    with torch.no_grad():
        guided, _, _ = restorer(crop, thumbnail, tokens, pooled, torch.tensor([True]), position)
        dropped, _, _ = restorer(crop, thumbnail, tokens, pooled, torch.tensor([False]), position)
        without, _, _ = restorer(crop, thumbnail, None, None, None, position)
    assert (guided - dropped).abs().max() > 1e-3
    assert torch.allclose(dropped, without, atol=1e-5)
    with pytest.raises(ValueError, match="belong together"):
        restorer(crop, thumbnail, tokens, None, None, position)


def test_steering_changes_nothing_where_all_is_removed_and_something_where_not(restorer: Restorer) -> None:
    torch.nn.init.normal_(restorer.guidance.steer.weight, std=0.2)
    crop, thumbnail, position = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 32, 32), Position.of(0, 0, 64, 64)

    def run(removal: torch.Tensor | None, guided: bool) -> torch.Tensor:
        embeddings = (torch.ones(1, 5, 16), torch.arange(16.0)[None]) if guided else (None, None)
        with torch.no_grad():
            return restorer(crop, thumbnail, *embeddings, None, position, removal)[0]

    keep_haze = torch.tensor([[1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]])
    for guided in (True, False):
        assert torch.equal(run(torch.ones(1, 7), guided), run(None, guided))
        assert (run(keep_haze, guided) - run(None, guided)).abs().max() > 1e-3


def test_what_the_tone_branch_is_told_reaches_no_other_branch(restorer: Restorer) -> None:
    torch.nn.init.normal_(restorer.tone.guidance.steer.weight, std=0.2)
    torch.nn.init.normal_(restorer.guidance.steer.weight, std=0.2)
    thumbnail, pooled = torch.rand(1, 3, 32, 32), torch.randn(1, 16)
    no_haze = torch.tensor([[1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]])
    with torch.no_grad():
        plain, told = (
            restorer.look(thumbnail, pooled[:, None], pooled, tone_removal=removal) for removal in (None, no_haze)
        )
    assert (plain.affine - told.affine).abs().max() > 1e-4
    assert torch.equal(plain.vector, told.vector)


def test_every_parameter_gets_a_gradient_in_every_step(restorer: Restorer) -> None:
    position = Position.of(0, 0, 64, 64, batch=2)
    for keep in (torch.tensor([True, True]), torch.tensor([False, False])):
        restorer.zero_grad(set_to_none=True)
        tokens, pooled = torch.randn(2, 5, 16), torch.randn(2, 16)
        crop, thumbnail, removal = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 32, 32), torch.ones(2, 7)
        restored, _, overview = restorer(crop, thumbnail, tokens, pooled, keep, position, removal)
        (restored.square().mean() + overview.square().mean()).backward()
        assert [name for name, parameter in restorer.named_parameters() if parameter.grad is None] == []


def test_bf16_autocast_stays_close_to_fp32(restorer: Restorer) -> None:
    crop, thumbnail, position = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 32, 32), Position.of(0, 0, 64, 64)
    with torch.no_grad():
        exact, _, _ = restorer(crop, thumbnail, None, None, None, position)
        with torch.autocast("cpu", torch.bfloat16):
            rough, routing, _ = restorer(crop, thumbnail, None, None, None, position)
    assert rough.dtype == torch.float32 and routing[0].dtype == torch.float32
    assert (exact - rough).abs().mean() < 0.02


def test_a_crop_off_the_grid_is_refused(restorer: Restorer) -> None:
    context = restorer.look(torch.rand(1, 3, 32, 32), None, None)
    with pytest.raises(ValueError, match="48 x 64"):
        restorer.restore(torch.rand(1, 3, 48, 64), context, Position.of(0, 0, 48, 64))


def test_sampling_is_bilinear_interpolation_of_the_whole_picture() -> None:
    grid = torch.randn(1, 16, 16, 3)
    whole = sample(grid, Position.of(0, 0, 128, 192), 128, 192, 1)
    expected = torch.nn.functional.interpolate(grid.permute(0, 3, 1, 2), (128, 192), mode="bilinear")
    assert torch.allclose(whole, expected.permute(0, 2, 3, 1), atol=1e-5)
    part = sample(grid, Position.of(64, 32, 128, 192), 32, 64, 1)
    assert torch.equal(part, whole[:, 64:96, 32:96]) or (part - whole[:, 64:96, 32:96]).abs().max() < 1e-6
    weights = sampling_weights(torch.tensor([64]), torch.tensor([517]), 100, 8, 16)
    assert torch.allclose(weights.sum(-1), torch.ones(1, 100)) and weights.min() >= 0


def test_the_affine_correction_starts_as_the_identity_and_its_gain_is_bounded() -> None:
    crop = torch.rand(1, 4, 4, 3)
    assert torch.equal(correct(crop, torch.zeros(1, 4, 4, 6)), crop)
    wild = torch.cat([torch.full((1, 4, 4, 3), 90.0), torch.zeros(1, 4, 4, 3)], -1)
    assert torch.allclose(correct(crop, wild), crop * torch.tensor(3.0).exp())


def test_guidance_of_another_mllm_is_refused_by_name(
    restorer: Restorer, card: Card, make_guidance: Callable[..., Guidance]
) -> None:
    check_guidance(restorer, make_guidance(identity="any"))  # a network without a card
    restorer.mllm_identity = "mllm-a"
    assert "mllm_identity" not in restorer.state_dict()
    for trained in (card, restorer):
        check_guidance(trained, make_guidance(identity="mllm-a"))
        with pytest.raises(GuidanceError, match=r"mllm-b.*mllm-a"):
            check_guidance(trained, make_guidance(identity="mllm-b"))


def test_the_overview_is_seen_as_it_is_and_in_logarithms() -> None:
    picture = torch.rand(1, 3, 8, 8) * 0.4 + 0.3
    seen, darker = with_logarithm(picture), with_logarithm(picture / 2)
    assert torch.equal(seen[:, :3], picture - 0.5)
    shift = (seen - darker)[:, 3:]
    assert shift.std() < 0.1 * shift.mean()  # a factor is an addition there
    assert with_logarithm(torch.tensor([-1.0, 0.0, 1.0, 2.0]).expand(1, 3, 1, 4))[:, 3:].abs().max() < 0.55
