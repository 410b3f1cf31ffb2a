"""The run of a restoration: exact where nothing is to be done, seamless, and safe from errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from mofe_restore.model.blur_kernel import Blur
from mofe_restore.model.errors import GuidanceError, RestorationError
from mofe_restore.model.guidance import Guidance
from mofe_restore.model.inference import tiled
from mofe_restore.model.jpeg_grid import find_grid
from mofe_restore.model.restorer.blur_estimator import BlurEstimator
from mofe_restore.model.restorer.deconvolution import deconvolve
from mofe_restore.model.restorer.network import Restorer
from mofe_restore.model.synthesis.degrade import degrade
from mofe_restore.model.synthesis.severities import Severities
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.tests.factories import restore
from mofe_restore.training.camera.branch import Sharpener

MakeGuidance = Callable[..., Guidance]


class Fault:
    """Wraps `restore_crop` of a network so that something happens at chosen calls."""

    def __init__(self, network: Restorer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[tuple[int, ...], torch.dtype]] = []
        self.fail_at: set[int] = set()
        self.nan_at: set[int] = set()
        self.error: Exception = MemoryError("no room")
        original = network.restore_crop

        def restore_crop(crop, context, position):  # type: ignore[no-untyped-def]
            precision = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
            self.calls.append((tuple(crop.shape[-2:]), precision))
            if len(self.calls) in self.fail_at:
                raise self.error
            restored, routing = original(crop, context, position)
            if len(self.calls) in self.nan_at:
                restored = restored.clone()
                restored[0, 0] = float("nan")
            return restored, routing

        monkeypatch.setattr(network, "restore_crop", restore_crop)


@pytest.fixture
def fault(restorer: Restorer, monkeypatch: pytest.MonkeyPatch) -> Fault:
    return Fault(restorer, monkeypatch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_strength_zero_is_bit_exact(restorer: Restorer, dtype: torch.dtype) -> None:
    image = (torch.rand(2, 4, 40, 50) * 1.2 - 0.1).to(dtype)
    restored = restore(restorer, image, None, strength=0).image
    assert restored.dtype == dtype and torch.equal(restored, image)
    assert restored.data_ptr() != image.data_ptr()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_pixels_outside_the_mask_and_the_alpha_channel_are_bit_exact(restorer: Restorer, dtype: torch.dtype) -> None:
    image = (torch.rand(2, 4, 70, 50) * 1.2 - 0.1).to(dtype)
    mask = (torch.rand(1, 70, 50) > 0.5).float()
    before = image.clone()
    restored = restore(restorer, image, None, strength=0.7, mask=mask, tile=64).image
    outside = (mask == 0).expand(2, -1, -1)
    assert torch.equal(image, before), "the input is left alone"
    for channel in range(3):
        assert torch.equal(restored[:, channel][outside], image[:, channel][outside])
    assert torch.equal(restored[:, 3], image[:, 3])
    assert (restored[:, :3] != image[:, :3])[:, :, mask[0] > 0].float().mean() > 0.8
    inside = restored[:, :3][((mask > 0) & (image[:, 3] > 0))[:, None].expand(2, 3, -1, -1)]
    assert inside.min() >= 0 and inside.max() <= 1


def test_an_empty_mask_does_no_work(restorer: Restorer, fault: Fault) -> None:
    image = torch.rand(1, 3, 64, 64)
    result = restore(restorer, image, None, mask=torch.zeros(1, 64, 64))
    assert torch.equal(result.image, image) and result.routing.frames == ((),) and not fault.calls


def test_a_small_mask_costs_a_tile_and_gives_what_the_whole_would(restorer: Restorer, fault: Fault) -> None:
    image, mask = torch.rand(1, 3, 250, 190), torch.zeros(1, 250, 190)
    mask[:, 70:90, 130:150] = 1
    whole = restore(restorer, image, None, tile=64)
    fault.calls.clear()
    part = restore(restorer, image, None, tile=64, mask=mask)
    assert len(fault.calls) == 1
    inside = (mask > 0).expand(3, -1, -1)
    assert torch.equal(part.image[0][inside], whole.image[0][inside])
    for one, other in zip(part.routing.frames[0], whole.routing.frames[0], strict=True):
        assert int(one.seen.sum()) == (64 // one.info.window_px) ** 2 and bool(other.seen.all())
        assert torch.equal(one.map[:, one.seen], other.map[:, one.seen])
        assert not one.map[:, ~one.seen].any()
        assert float(one.weights.sum()) == pytest.approx(1, abs=1e-5)


def test_progress_counts_only_images_and_tiles_with_work(restorer: Restorer, fault: Fault) -> None:
    mask = torch.zeros(3, 128, 128)
    mask[0] = 1
    mask[2, 0, 0] = 1
    fault.fail_at = {2}
    progress: list[tuple[int, int]] = []
    restore(
        restorer,
        torch.rand(3, 3, 128, 128),
        None,
        mask=mask,
        tile=128,
        on_tile=lambda done, total: progress.append((done, total)),
    )
    assert progress == [(1, 2), (2, 2)]  # out of memory at the last image, of which a quarter has work


def test_half_strength_lies_halfway(restorer: Restorer) -> None:
    image = torch.rand(1, 3, 64, 64) * 0.2 + 0.4
    full = restore(restorer, image, None).image
    half = restore(restorer, image, None, strength=0.5).image
    unclamped = (full > 0) & (full < 1)
    assert torch.allclose(half[unclamped], ((image + full) / 2)[unclamped], atol=1e-6)


@pytest.mark.parametrize("tile", [64, 128, 256])
def test_tiled_equals_untiled(restorer: Restorer, make_guidance: MakeGuidance, tile: int) -> None:
    torch.manual_seed(3)
    image = torch.rand(1, 3, 517, 389) * 0.3 + 0.35
    guidance = make_guidance()
    whole = restore(restorer, image, guidance, tile=1024)
    tiled = restore(restorer, image, guidance, tile=tile)
    assert (whole.image - image).abs().mean() > 0.01
    assert ((whole.image > 0) & (whole.image < 1)).float().mean() > 0.5, "the comparison is not hidden by clamping"
    assert (whole.image - tiled.image).abs().max() < 1e-4
    for one, other in zip(whole.routing.frames[0], tiled.routing.frames[0], strict=True):
        assert one.map.shape == (4, -(-517 // one.info.window_px), -(-389 // one.info.window_px))
        assert (one.map - other.map).abs().max() < 1e-4
        assert torch.allclose(one.map.sum(0), torch.ones(one.map.shape[1:]))


def test_without_its_halo_tiles_would_differ(
    restorer: Restorer, monkeypatch: pytest.MonkeyPatch, make_guidance: MakeGuidance
) -> None:
    image, guidance = torch.rand(1, 3, 256, 256) * 0.3 + 0.35, make_guidance()
    whole = restore(restorer, image, guidance).image
    monkeypatch.setattr(Restorer, "halo", 0)
    assert (restore(restorer, image, guidance, tile=128).image - whole).abs().max() > 1e-4


def test_a_batch_gives_what_its_images_give_one_by_one(restorer: Restorer, make_guidance: MakeGuidance) -> None:
    images, guidance = torch.rand(3, 3, 48, 80), make_guidance(3)
    together = restore(restorer, images, guidance)
    for index in range(3):
        alone = restore(restorer, images[index : index + 1], guidance[index])
        assert torch.equal(together.image[index], alone.image[0])
        assert torch.equal(together.routing.frames[index][0].map, alone.routing.frames[0][0].map)
        assert together.routing.descriptions[index] == f"image {index} is hazy"


def test_guidance_of_one_image_steers_every_image_of_a_batch(restorer: Restorer, make_guidance: MakeGuidance) -> None:
    torch.nn.init.normal_(restorer.guidance.steer.weight, std=0.2)
    images, steered = torch.rand(3, 3, 40, 50), make_guidance(1).with_removal({"haze": 0.0})
    together = restore(restorer, images, steered).image
    for image, restored in zip(images, together, strict=True):
        assert torch.allclose(restore(restorer, image[None], steered).image[0], restored, atol=1e-5)
    assert (together - restore(restorer, images, make_guidance(1)).image).abs().max() > 1e-3


def test_the_tone_branch_does_not_remove_what_the_mllm_does_not_see(
    restorer: Restorer, make_guidance: MakeGuidance
) -> None:
    torch.nn.init.normal_(restorer.tone.guidance.steer.weight, std=0.5)
    image, guidance = torch.rand(1, 3, 64, 64), make_guidance(1)
    seen, unseen = (replace(guidance, scores=torch.full((1, 7), score)) for score in (0.9, 0.01))
    told = unseen.with_removal({"rain": 1.0})
    whole, spared, again = (restore(restorer, image, each).image for each in (seen, unseen, told))
    assert (whole - spared).abs().max() > 1e-3
    assert torch.equal(spared, again)


def test_the_same_call_gives_the_same_result(restorer: Restorer, make_guidance: MakeGuidance) -> None:
    image = torch.rand(1, 3, 100, 70)
    runs = [restore(restorer, image, make_guidance()).image for _ in range(2)]
    assert torch.equal(runs[0], runs[1])


def test_black_and_white_photographs_get_no_tint(restorer: Restorer) -> None:
    grey = torch.rand(1, 1, 80, 96)
    color = torch.rand(1, 3, 80, 96)
    batch = torch.cat([grey.expand(-1, 3, -1, -1), color])
    restored = restore(restorer, batch, None, tile=64).image
    assert not torch.equal(restored, batch)
    assert torch.equal(restored[0, 0], restored[0, 1]) and torch.equal(restored[0, 1], restored[0, 2])
    assert torch.allclose(restored[:1, :1], restore(restorer, grey, None, tile=64).image, atol=1e-6)
    assert torch.equal(restored[1:], restore(restorer, color, None, tile=64).image)


@pytest.mark.parametrize("size", [(16, 16), (17, 300), (33, 31), (16, 129)])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_any_size_channels_and_type_come_back_as_they_went_in(
    restorer: Restorer, size: tuple[int, int], channels: int, dtype: torch.dtype
) -> None:
    image = torch.rand(2, channels, *size).to(dtype)
    result = restore(restorer, image, None, tile=64)
    assert result.image.shape == image.shape and result.image.dtype == dtype
    assert bool(torch.isfinite(result.image).all()) and not torch.equal(result.image, image)
    assert result.routing.sizes == (size, size)


def test_the_result_is_an_ordinary_tensor(restorer: Restorer) -> None:
    result = restore(restorer, torch.rand(1, 3, 32, 32), None)
    result.image.add_(1)
    result.routing.frames[0][0].map.add_(1)
    assert not result.image.is_inference() and not result.image.requires_grad


def test_guidance_of_another_mllm_never_drives_a_restorer(
    restorer: Restorer, fault: Fault, make_guidance: MakeGuidance
) -> None:
    restorer.mllm_identity = "mllm-a"
    restore(restorer, torch.rand(1, 3, 32, 32), make_guidance(identity="mllm-a"))
    with pytest.raises(GuidanceError, match=r"mllm-b.*mllm-a"):
        restore(restorer, torch.rand(1, 3, 32, 32), make_guidance(identity="mllm-b"))
    assert len(fault.calls) == 1


@pytest.mark.parametrize("k", [1, 2, 5])
def test_out_of_memory_at_the_kth_tile_halves_the_tile_and_goes_on(
    restorer: Restorer, fault: Fault, make_guidance: MakeGuidance, k: int
) -> None:
    images, guidance = torch.rand(2, 3, 256, 256) * 0.3 + 0.35, make_guidance()
    expected = restore(restorer, images, guidance)
    fault.calls.clear()
    fault.fail_at = {k}
    progress: list[tuple[int, int]] = []
    result = restore(
        restorer,
        images,
        guidance,
        tile=128,
        on_tile=lambda done, total: progress.append((done, total)),
    )
    assert (result.image - expected.image).abs().max() < 1e-4
    assert (result.routing.frames[1][1].map - expected.routing.frames[1][1].map).abs().max() < 1e-4
    # done tiles are not done again, and the tile stays small for the images that follow
    first = 4 if k == 5 else (k - 1) + (4 - (k - 1)) * 4
    assert len(fault.calls) == 1 + first + 16
    assert [done for done, _ in progress] == list(range(1, first + 17))
    assert progress[-1][0] == progress[-1][1]


def test_out_of_memory_with_the_smallest_tile_is_final(restorer: Restorer, fault: Fault) -> None:
    fault.fail_at = set(range(1, 100))
    with pytest.raises(MemoryError):
        restore(restorer, torch.rand(1, 3, 300, 200), None)
    assert len(fault.calls) <= 4


def test_errors_that_are_not_about_memory_are_raised(restorer: Restorer, fault: Fault) -> None:
    fault.fail_at = {1}
    fault.error = RuntimeError("a shape does not fit")
    with pytest.raises(RuntimeError, match="a shape does not fit"):
        restore(restorer, torch.rand(1, 3, 128, 128), None)
    assert len(fault.calls) == 1


@pytest.mark.parametrize("k", [1, 3])
def test_a_tile_that_is_not_finite_is_redone_in_fp32(restorer: Restorer, fault: Fault, k: int) -> None:
    fault.nan_at = {k}
    result = restore(restorer, torch.rand(1, 3, 128, 128), None, tile=64, precision=torch.bfloat16)
    assert bool(torch.isfinite(result.image).all())
    precisions = [precision for _, precision in fault.calls]
    assert precisions.count(torch.float32) == 1 and precisions[k] == torch.float32 and len(precisions) == 5


def test_a_tile_that_is_not_finite_in_fp32_either_ends_the_run(restorer: Restorer, fault: Fault) -> None:
    fault.nan_at = {2, 3}
    with pytest.raises(RestorationError, match="not finite at row 0, column 64"):
        restore(restorer, torch.rand(1, 3, 128, 128), None, tile=64, precision=torch.bfloat16)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_cancel_at_the_kth_tile_ends_the_run_there(restorer: Restorer, fault: Fault, k: int) -> None:
    class Cancelled(Exception):
        pass

    def cancel(done: int, total: int) -> None:
        assert total == 8
        if done == k:
            raise Cancelled

    with pytest.raises(Cancelled):
        restore(restorer, torch.rand(2, 3, 128, 128), None, tile=64, on_tile=cancel, is_oom=lambda error: True)
    assert len(fault.calls) == k


def test_large_images_are_tiled_and_small_ones_are_not(restorer: Restorer, fault: Fault) -> None:
    restore(restorer, torch.rand(1, 3, 1024, 1056), None)
    assert len(fault.calls) == 6 and max(max(size) for size, _ in fault.calls) <= 512 + 2 * 128
    fault.calls.clear()
    restore(restorer, torch.rand(1, 3, 600, 500), None)
    assert fault.calls == [((608, 512), torch.float32)]


def seeing(guidance: Guidance, **scores: float) -> Guidance:
    """The guidance with these scores, and 0.1 of everything else."""
    values = [scores.get(name, 0.1) for name in DEGRADATIONS]
    return replace(guidance, scores=torch.tensor([values]))


def camera_alone(network: Restorer, image: torch.Tensor, strengths: list[float]) -> torch.Tensor:
    """What the camera branch makes of an image whose sides are multiples of its own."""
    assert network.camera is not None
    with torch.no_grad():
        undone: torch.Tensor = network.camera(image, torch.tensor([strengths]))
    return undone.clamp(0, 1)


@pytest.mark.parametrize("tile", [64, 128])
@pytest.mark.parametrize("scores", [{"noise": 0.7}, {"noise": 0.7, "haze": 0.8}, {"jpeg": 0.9, "rain": 0.6}])
def test_tiles_of_the_camera_branch_equal_the_whole(
    camera_restorer: Restorer, make_guidance: MakeGuidance, scores: dict[str, float], tile: int
) -> None:
    torch.manual_seed(3)
    image, guidance = torch.rand(1, 3, 517, 389) * 0.3 + 0.35, seeing(make_guidance(), **scores)
    whole = restore(camera_restorer, image, guidance, tile=1024)
    assert (whole.image - image).abs().mean() > 0.01
    assert (whole.image - restore(camera_restorer, image, guidance, tile=tile).image).abs().max() < 1e-4


@pytest.mark.parametrize("tile", [64, 128])
def test_tiles_with_a_deconvolved_image_equal_the_whole(
    sharpening_restorer: Restorer, make_guidance: MakeGuidance, monkeypatch: pytest.MonkeyPatch, tile: int
) -> None:
    torch.manual_seed(3)
    image, guidance = torch.rand(1, 3, 517, 389) * 0.3 + 0.35, seeing(make_guidance(), blur=0.7)
    whole = restore(sharpening_restorer, image, guidance, tile=1024)
    assert (whole.image - restore(sharpening_restorer, image, guidance, tile=tile).image).abs().max() < 1e-4
    monkeypatch.setattr(BlurEstimator, "estimate", lambda *_: None)
    assert (whole.image - restore(sharpening_restorer, image, guidance, tile=1024).image).abs().mean() > 1e-3


def test_tiles_equal_the_whole_where_the_blocks_of_a_blurred_jpeg_start_elsewhere(
    sharpening_restorer: Restorer, make_guidance: MakeGuidance
) -> None:
    torch.manual_seed(0)
    coarse = torch.nn.functional.interpolate(torch.rand(1, 3, 40, 40), (320, 320), mode="bicubic").clamp(0, 1)
    cropped = degrade(coarse, Severities(jpeg_quality=12))[..., 3:, 5:]
    assert find_grid(cropped[0]) == (5, 3)
    guidance = seeing(make_guidance(), blur=0.7, jpeg=0.9)
    whole = restore(sharpening_restorer, cropped, guidance, tile=1024).image
    assert (whole - restore(sharpening_restorer, cropped, guidance, tile=64).image).abs().max() < 1e-4


def test_the_network_is_shown_in_use_what_it_is_shown_in_training(
    sharpening_restorer: Restorer, make_guidance: MakeGuidance
) -> None:
    image, strengths = torch.rand(1, 3, 96, 128) * 0.3 + 0.35, torch.tensor([0.4, 0.6, 0.0])
    camera = sharpening_restorer.camera
    assert camera is not None
    deconvolved = Sharpener(camera).deconvolved(image[0], strengths)
    assert deconvolved is not None
    with torch.no_grad():
        expected = camera(image, strengths[None], deconvolved[None]).clamp(0, 1)
    result = restore(sharpening_restorer, image, seeing(make_guidance(), noise=0.7, blur=0.8)).image
    assert torch.allclose(result, expected, atol=1e-4)


def test_noise_that_is_kept_is_noise_for_the_filters(
    sharpening_restorer: Restorer, make_guidance: MakeGuidance, monkeypatch: pytest.MonkeyPatch
) -> None:
    variances: list[float] = []

    def noted(pixels: torch.Tensor, blur: Blur, variance: float) -> torch.Tensor:
        variances.append(variance)
        return deconvolve(pixels, blur, variance)

    monkeypatch.setattr(tiled, "deconvolve", noted)
    guidance, image = seeing(make_guidance(), blur=0.7, noise=0.8), torch.rand(1, 3, 96, 128)
    for removal in ({}, {"noise": 0.0}, {"noise": 0.3}):
        restore(sharpening_restorer, image, guidance.with_removal(removal))
    assert variances == [pytest.approx((55 / 255 * 0.6**2) ** 2, rel=0.01)] * 3


def test_no_kernel_is_looked_for_where_blur_is_kept(
    sharpening_restorer: Restorer, make_guidance: MakeGuidance, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[tuple[int, ...]] = []
    estimate = BlurEstimator.estimate
    monkeypatch.setattr(
        BlurEstimator, "estimate", lambda self, image: looked.append(tuple(image.shape)) or estimate(self, image)
    )
    guidance, image = seeing(make_guidance(), blur=0.7, noise=0.7), torch.rand(1, 4, 96, 128)
    restore(sharpening_restorer, image, guidance.with_removal({"blur": 0.0}))
    assert looked == []
    result = restore(sharpening_restorer, image, guidance, tile=64)
    assert looked == [(3, 96, 128)], "once for all tiles"
    found = result.routing.blur(0)
    assert found is not None and found.words() == "defocus of 3.0 px"
    assert json.loads(result.routing.to_json(0))["blur"]["defocus_radius"] == 3.0


def test_where_only_the_camera_is_at_fault_the_experts_do_not_work(
    camera_restorer: Restorer, make_guidance: MakeGuidance
) -> None:
    image = torch.rand(1, 3, 96, 64) * 0.3 + 0.35
    result = restore(camera_restorer, image, seeing(make_guidance(), noise=0.7, blur=0.8))
    assert torch.allclose(result.image, camera_alone(camera_restorer, image, [0.4, 0.6, 0.0]), atol=1e-5)
    assert result.routing.frames == ((),) and result.routing.undone(0) == ("noise", "blur")


def test_the_other_branches_restore_what_the_camera_branch_returns(
    camera_restorer: Restorer, make_guidance: MakeGuidance
) -> None:
    image = torch.rand(1, 3, 96, 64) * 0.3 + 0.35
    guidance = seeing(make_guidance(), noise=0.7, haze=0.8)
    result = restore(camera_restorer, image, guidance)
    undone = camera_alone(camera_restorer, image, [0.4, 0.0, 0.0])
    rest = replace(guidance.after_camera_branch(), severities=None)  # this restorer knows none
    tone_of_the_undone = restore(camera_restorer, undone, rest).image
    assert (result.image - tone_of_the_undone).abs().mean() < 0.2 * (result.image - undone).abs().mean()
    assert result.routing.undone(0) == ("noise",) and len(result.routing.frames[0]) == 2


def test_half_of_the_noise_is_half_of_what_the_camera_branch_changes(
    camera_restorer: Restorer, make_guidance: MakeGuidance
) -> None:
    image = torch.rand(1, 3, 96, 64) * 0.3 + 0.35
    half = restore(camera_restorer, image, seeing(make_guidance(), noise=0.7).with_removal({"noise": 0.5})).image
    undone = camera_alone(camera_restorer, image, [0.4, 0.0, 0.0])
    unclamped = (undone > 0) & (undone < 1)
    assert torch.allclose(half[unclamped], ((image + undone) / 2)[unclamped], atol=1e-4)


def test_of_what_is_not_certain_so_much_is_changed_as_it_is_certain(
    camera_restorer: Restorer, make_guidance: MakeGuidance
) -> None:
    image = torch.rand(1, 3, 96, 64) * 0.3 + 0.35
    certain = seeing(make_guidance(), haze=0.8)
    doubted = replace(certain, certainty=torch.full((1, 7), 0.6))
    whole, part = (restore(camera_restorer, image, each).image for each in (certain, doubted))
    unclamped = (whole > 0) & (whole < 1)
    assert (whole - image).abs().mean() > 0.01
    assert torch.allclose(part[unclamped], torch.lerp(image, whole, 0.6)[unclamped], atol=1e-5)
    ordered = doubted.with_removal({}, ["haze"])
    assert torch.allclose(restore(camera_restorer, image, ordered).image, whole, atol=1e-5)


def test_the_camera_branch_does_its_whole_work_beside_what_is_not_certain(
    camera_restorer: Restorer, make_guidance: MakeGuidance
) -> None:
    image = torch.rand(1, 3, 96, 64) * 0.3 + 0.35
    guidance = seeing(make_guidance(), noise=0.7, haze=0.8)
    doubted = replace(guidance, certainty=torch.full((1, 7), 0.6))
    undone = camera_alone(camera_restorer, image, [0.4, 0.0, 0.0]).clamp(0, 1)
    whole, part = (restore(camera_restorer, image, each).image for each in (guidance, doubted))
    unclamped = (whole > 0) & (whole < 1)
    assert torch.allclose(part[unclamped], torch.lerp(undone, whole, 0.6)[unclamped], atol=1e-4)


def test_weather_alone_leaves_the_camera_branch_out(
    camera_restorer: Restorer, restorer: Restorer, make_guidance: MakeGuidance
) -> None:
    image, guidance = torch.rand(1, 3, 96, 64), seeing(make_guidance(), haze=0.8, noise=0.49)
    before = {name: value for name, value in camera_restorer.state_dict().items() if not name.startswith("camera.")}
    restorer.load_state_dict(before)
    result = restore(camera_restorer, image, guidance)
    assert torch.equal(result.image, restore(restorer, image, guidance).image)
    assert result.routing.undone(0) == ()


def test_the_camera_branch_starts_where_the_blocks_of_a_cropped_jpeg_do(
    camera_restorer: Restorer, make_guidance: MakeGuidance
) -> None:
    torch.manual_seed(0)
    coarse = torch.nn.functional.interpolate(torch.rand(1, 3, 40, 40), (320, 320), mode="bicubic").clamp(0, 1)
    saved = degrade(coarse, Severities(jpeg_quality=12))
    cropped, guidance = saved[..., 3:, 5:], seeing(make_guidance(), jpeg=0.9)
    result = restore(camera_restorer, cropped, guidance).image
    uncropped = restore(camera_restorer, saved, guidance).image[..., 3:, 5:]
    inner = (..., slice(110, 200), slice(110, 200))
    assert (result[inner] - uncropped[inner]).abs().max() < 1e-4
    assert (uncropped[inner] - cropped[inner]).abs().mean() > 1e-3
