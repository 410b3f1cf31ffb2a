"""The promises a user relies on when a picture is restored."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from mofe_restore.model.guidance import Guidance, GuidanceError
from mofe_restore.model.memory import bytes_per_pixel
from mofe_restore.model.pipeline import RestorationError, is_out_of_memory, restore_picture, working_bytes
from mofe_restore.model.restorer import Restorer

MakeGuidance = Callable[..., Guidance]


class Mishap:
    """Wraps `restore` of a network so that something happens at chosen calls."""

    def __init__(self, network: Restorer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[tuple[int, ...], torch.dtype]] = []
        self.fail_at: set[int] = set()
        self.nan_at: set[int] = set()
        self.error: Exception = MemoryError("no room")
        original = network.restore

        def restore(crop, context, position):  # type: ignore[no-untyped-def]
            precision = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
            self.calls.append((tuple(crop.shape[-2:]), precision))
            if len(self.calls) in self.fail_at:
                raise self.error
            restored, routing = original(crop, context, position)
            if len(self.calls) in self.nan_at:
                restored = restored.clone()
                restored[0, 0] = float("nan")
            return restored, routing

        monkeypatch.setattr(network, "restore", restore)


@pytest.fixture
def mishap(restorer: Restorer, monkeypatch: pytest.MonkeyPatch) -> Mishap:
    return Mishap(restorer, monkeypatch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_strength_zero_is_bit_exact(restorer: Restorer, dtype: torch.dtype) -> None:
    picture = (torch.rand(2, 4, 40, 50) * 1.2 - 0.1).to(dtype)
    restored = restore_picture(restorer, picture, None, strength=0).picture
    assert restored.dtype == dtype and torch.equal(restored, picture)
    assert restored.data_ptr() != picture.data_ptr()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_pixels_outside_the_mask_and_the_alpha_channel_are_bit_exact(restorer: Restorer, dtype: torch.dtype) -> None:
    picture = (torch.rand(2, 4, 70, 50) * 1.2 - 0.1).to(dtype)
    mask = (torch.rand(1, 70, 50) > 0.5).float()
    before = picture.clone()
    restored = restore_picture(restorer, picture, None, strength=0.7, mask=mask, tile=64).picture
    outside = (mask == 0).expand(2, -1, -1)
    assert torch.equal(picture, before), "the input is left alone"
    for channel in range(3):
        assert torch.equal(restored[:, channel][outside], picture[:, channel][outside])
    assert torch.equal(restored[:, 3], picture[:, 3])
    assert (restored[:, :3] != picture[:, :3])[:, :, mask[0] > 0].float().mean() > 0.8
    inside = restored[:, :3][(mask > 0)[:, None].expand(2, 3, -1, -1)]
    assert inside.min() >= 0 and inside.max() <= 1


def test_an_empty_mask_does_no_work(restorer: Restorer, mishap: Mishap) -> None:
    picture = torch.rand(1, 3, 64, 64)
    result = restore_picture(restorer, picture, None, mask=torch.zeros(1, 64, 64))
    assert torch.equal(result.picture, picture) and result.routing.frames == ((),) and not mishap.calls


def test_a_small_mask_costs_a_tile_and_gives_what_the_whole_would(restorer: Restorer, mishap: Mishap) -> None:
    picture, mask = torch.rand(1, 3, 250, 190), torch.zeros(1, 250, 190)
    mask[:, 70:90, 130:150] = 1
    whole = restore_picture(restorer, picture, None, tile=64)
    mishap.calls.clear()
    part = restore_picture(restorer, picture, None, tile=64, mask=mask)
    assert len(mishap.calls) == 1
    inside = (mask > 0).expand(3, -1, -1)
    assert torch.equal(part.picture[0][inside], whole.picture[0][inside])
    for one, other in zip(part.routing.frames[0], whole.routing.frames[0], strict=True):
        assert int(one.seen.sum()) == (64 // one.window_px) ** 2 and bool(other.seen.all())
        assert torch.equal(one.map[:, one.seen], other.map[:, one.seen])
        assert not one.map[:, ~one.seen].any()
        assert float(one.weights.sum()) == pytest.approx(1, abs=1e-5)


def test_progress_counts_only_pictures_and_tiles_with_work(restorer: Restorer, mishap: Mishap) -> None:
    mask = torch.zeros(3, 128, 128)
    mask[0] = 1
    mask[2, 0, 0] = 1
    mishap.fail_at = {2}
    progress: list[tuple[int, int]] = []
    restore_picture(
        restorer,
        torch.rand(3, 3, 128, 128),
        None,
        mask=mask,
        tile=128,
        on_tile=lambda done, total: progress.append((done, total)),
    )
    assert progress == [(1, 2), (2, 2)]  # out of memory at the last picture, of which a quarter has work


def test_half_strength_lies_halfway(restorer: Restorer) -> None:
    picture = torch.rand(1, 3, 64, 64) * 0.2 + 0.4
    full = restore_picture(restorer, picture, None).picture
    half = restore_picture(restorer, picture, None, strength=0.5).picture
    unclamped = (full > 0) & (full < 1)
    assert torch.allclose(half[unclamped], ((picture + full) / 2)[unclamped], atol=1e-6)


@pytest.mark.parametrize("tile", [64, 128, 256])
def test_tiled_equals_untiled(restorer: Restorer, make_guidance: MakeGuidance, tile: int) -> None:
    torch.manual_seed(3)
    picture = torch.rand(1, 3, 517, 389) * 0.3 + 0.35
    guidance = make_guidance()
    whole = restore_picture(restorer, picture, guidance, tile=1024)
    tiled = restore_picture(restorer, picture, guidance, tile=tile)
    assert (whole.picture - picture).abs().mean() > 0.01
    assert ((whole.picture > 0) & (whole.picture < 1)).float().mean() > 0.5, "the comparison is not hidden by clamping"
    assert (whole.picture - tiled.picture).abs().max() < 1e-4
    for one, other in zip(whole.routing.frames[0], tiled.routing.frames[0], strict=True):
        assert one.map.shape == (4, -(-517 // one.window_px), -(-389 // one.window_px))
        assert (one.map - other.map).abs().max() < 1e-4
        assert torch.allclose(one.map.sum(0), torch.ones(one.map.shape[1:]))


def test_without_its_halo_tiles_would_differ(
    restorer: Restorer, monkeypatch: pytest.MonkeyPatch, make_guidance: MakeGuidance
) -> None:
    picture, guidance = torch.rand(1, 3, 256, 256) * 0.3 + 0.35, make_guidance()
    whole = restore_picture(restorer, picture, guidance).picture
    monkeypatch.setattr(Restorer, "halo", 0)
    assert (restore_picture(restorer, picture, guidance, tile=128).picture - whole).abs().max() > 1e-4


def test_a_batch_gives_what_its_pictures_give_one_by_one(restorer: Restorer, make_guidance: MakeGuidance) -> None:
    pictures, guidance = torch.rand(3, 3, 48, 80), make_guidance(3)
    together = restore_picture(restorer, pictures, guidance)
    for index in range(3):
        alone = restore_picture(restorer, pictures[index : index + 1], guidance[index])
        assert torch.equal(together.picture[index], alone.picture[0])
        assert torch.equal(together.routing.frames[index][0].map, alone.routing.frames[0][0].map)
        assert together.routing.descriptions[index] == f"picture {index} is hazy"


def test_one_wish_steers_every_picture_of_a_batch(restorer: Restorer, make_guidance: MakeGuidance) -> None:
    torch.nn.init.normal_(restorer.guidance.steer.weight, std=0.2)
    pictures, steered = torch.rand(3, 3, 40, 50), make_guidance(1).steered({"haze": 0.0})
    together = restore_picture(restorer, pictures, steered).picture
    for picture, restored in zip(pictures, together, strict=True):
        assert torch.allclose(restore_picture(restorer, picture[None], steered).picture[0], restored, atol=1e-5)
    assert (together - restore_picture(restorer, pictures, make_guidance(1)).picture).abs().max() > 1e-3


def test_what_the_mllm_does_not_see_is_not_asked_of_the_tone(restorer: Restorer, make_guidance: MakeGuidance) -> None:
    torch.nn.init.normal_(restorer.tone.guidance.steer.weight, std=0.5)
    picture, guidance = torch.rand(1, 3, 64, 64), make_guidance(1)
    seen, unseen = (replace(guidance, scores=torch.full((1, 7), score)) for score in (0.9, 0.01))
    told = unseen.steered({"rain": 1.0})
    whole, spared, again = (restore_picture(restorer, picture, each).picture for each in (seen, unseen, told))
    assert (whole - spared).abs().max() > 1e-3
    assert torch.equal(spared, again)


def test_the_same_call_gives_the_same_result(restorer: Restorer, make_guidance: MakeGuidance) -> None:
    picture = torch.rand(1, 3, 100, 70)
    runs = [restore_picture(restorer, picture, make_guidance()).picture for _ in range(2)]
    assert torch.equal(runs[0], runs[1])


def test_black_and_white_photographs_get_no_tint(restorer: Restorer) -> None:
    grey = torch.rand(1, 1, 80, 96)
    colour = torch.rand(1, 3, 80, 96)
    batch = torch.cat([grey.expand(-1, 3, -1, -1), colour])
    restored = restore_picture(restorer, batch, None, tile=64).picture
    assert not torch.equal(restored, batch)
    assert torch.equal(restored[0, 0], restored[0, 1]) and torch.equal(restored[0, 1], restored[0, 2])
    assert torch.allclose(restored[:1, :1], restore_picture(restorer, grey, None, tile=64).picture, atol=1e-6)
    assert torch.equal(restored[1:], restore_picture(restorer, colour, None, tile=64).picture)


@pytest.mark.parametrize("size", [(16, 16), (17, 300), (33, 31), (16, 129)])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_any_size_channels_and_type_come_back_as_they_went_in(
    restorer: Restorer, size: tuple[int, int], channels: int, dtype: torch.dtype
) -> None:
    picture = torch.rand(2, channels, *size).to(dtype)
    result = restore_picture(restorer, picture, None, tile=64)
    assert result.picture.shape == picture.shape and result.picture.dtype == dtype
    assert bool(torch.isfinite(result.picture).all()) and not torch.equal(result.picture, picture)
    assert result.routing.sizes == (size, size)


def test_the_result_is_an_ordinary_tensor(restorer: Restorer) -> None:
    result = restore_picture(restorer, torch.rand(1, 3, 32, 32), None)
    result.picture.add_(1)
    result.routing.frames[0][0].map.add_(1)
    assert not result.picture.is_inference() and not result.picture.requires_grad


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (torch.rand(1, 3, 15, 64), "at least 16 px"),
        (torch.rand(1, 2, 64, 64), "1, 3 or 4 channels"),
        (torch.rand(3, 64, 64), "1, 3 or 4 channels"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "floating-point"),
        (torch.full((1, 3, 64, 64), float("nan")), "Picture 0 .* not finite"),
        (torch.full((1, 3, 64, 64), float("inf")), "not finite"),
    ],
)
def test_a_picture_that_cannot_be_restored_is_refused_in_words(
    restorer: Restorer, picture: torch.Tensor, words: str
) -> None:
    with pytest.raises(RestorationError, match=words):
        restore_picture(restorer, picture, None)


def test_strength_mask_and_tile_are_checked(restorer: Restorer) -> None:
    picture = torch.rand(1, 3, 64, 64)
    with pytest.raises(RestorationError, match="strength is 1.5"):
        restore_picture(restorer, picture, None, strength=1.5)
    with pytest.raises(RestorationError, match="mask has shape"):
        restore_picture(restorer, picture, None, mask=torch.ones(1, 32, 64))
    with pytest.raises(RestorationError, match="mask holds"):
        restore_picture(restorer, picture, None, mask=torch.full((1, 64, 64), float("nan")))
    with pytest.raises(RestorationError, match="tile size is -1"):
        restore_picture(restorer, picture, None, tile=-1)


def test_guidance_of_another_width_or_number_is_refused(restorer: Restorer, make_guidance: MakeGuidance) -> None:
    picture = torch.rand(3, 3, 32, 32)
    with pytest.raises(GuidanceError, match="24 numbers wide"):
        restore_picture(restorer, picture, make_guidance(width=24))
    with pytest.raises(GuidanceError, match="2 pictures"):
        restore_picture(restorer, picture, make_guidance(2))


def test_guidance_of_another_mllm_never_drives_a_restorer(
    restorer: Restorer, mishap: Mishap, make_guidance: MakeGuidance
) -> None:
    restorer.mllm_identity = "mllm-a"
    restore_picture(restorer, torch.rand(1, 3, 32, 32), make_guidance(identity="mllm-a"))
    with pytest.raises(GuidanceError, match=r"mllm-b.*mllm-a"):
        restore_picture(restorer, torch.rand(1, 3, 32, 32), make_guidance(identity="mllm-b"))
    assert len(mishap.calls) == 1


@pytest.mark.parametrize("k", [1, 2, 5])
def test_out_of_memory_at_the_kth_tile_halves_the_tile_and_goes_on(
    restorer: Restorer, mishap: Mishap, make_guidance: MakeGuidance, k: int
) -> None:
    pictures, guidance = torch.rand(2, 3, 256, 256) * 0.3 + 0.35, make_guidance()
    expected = restore_picture(restorer, pictures, guidance)
    mishap.calls.clear()
    mishap.fail_at = {k}
    progress: list[tuple[int, int]] = []
    result = restore_picture(
        restorer,
        pictures,
        guidance,
        tile=128,
        on_tile=lambda done, total: progress.append((done, total)),
    )
    assert (result.picture - expected.picture).abs().max() < 1e-4
    assert (result.routing.frames[1][1].map - expected.routing.frames[1][1].map).abs().max() < 1e-4
    # done tiles are not done again, and the tile stays small for the pictures that follow
    first = 4 if k == 5 else (k - 1) + (4 - (k - 1)) * 4
    assert len(mishap.calls) == 1 + first + 16
    assert [done for done, _ in progress] == list(range(1, first + 17))
    assert progress[-1][0] == progress[-1][1]


def test_out_of_memory_with_the_smallest_tile_is_final(restorer: Restorer, mishap: Mishap) -> None:
    mishap.fail_at = set(range(1, 100))
    with pytest.raises(MemoryError):
        restore_picture(restorer, torch.rand(1, 3, 300, 200), None)
    assert len(mishap.calls) <= 4


def test_errors_that_are_not_about_memory_are_not_swallowed(restorer: Restorer, mishap: Mishap) -> None:
    mishap.fail_at = {1}
    mishap.error = RuntimeError("a shape does not fit")
    with pytest.raises(RuntimeError, match="a shape does not fit"):
        restore_picture(restorer, torch.rand(1, 3, 128, 128), None)
    assert len(mishap.calls) == 1


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
        RuntimeError("MPS backend out of memory"),
    ],
)
def test_a_lack_of_memory_is_known_on_every_device(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_a_host_may_know_more_about_memory_and_what_the_attempt_held_is_let_go() -> None:
    class Thing:
        pass

    def attempt() -> None:
        held = Thing()
        alive.append(weakref.ref(held))
        raise OSError("device lost")

    alive: list[weakref.ref[Thing]] = []
    try:
        attempt()
    except OSError as error:
        assert not is_out_of_memory(error) and alive[0]() is not None
        assert is_out_of_memory(error, also=lambda error: isinstance(error, OSError)) and alive[0]() is None


def test_the_working_memory_is_that_of_one_tile_with_its_halo(restorer: Restorer) -> None:
    per_pixel = bytes_per_pixel(restorer.config)
    assert working_bytes(restorer, 600, 500) == per_pixel * 608 * 512
    assert working_bytes(restorer, 3000, 4000) == working_bytes(restorer, 6000, 8000) == per_pixel * (512 + 256) ** 2
    assert working_bytes(restorer, 3000, 4000, tile=64) == per_pixel * (64 + 256) ** 2
    assert working_bytes(restorer, 3000, 4000, precision=torch.bfloat16) < working_bytes(restorer, 3000, 4000)


@pytest.mark.parametrize("k", [1, 3])
def test_a_tile_that_is_not_finite_is_redone_in_fp32(restorer: Restorer, mishap: Mishap, k: int) -> None:
    mishap.nan_at = {k}
    result = restore_picture(restorer, torch.rand(1, 3, 128, 128), None, tile=64, precision=torch.bfloat16)
    assert bool(torch.isfinite(result.picture).all())
    precisions = [precision for _, precision in mishap.calls]
    assert precisions.count(torch.float32) == 1 and precisions[k] == torch.float32 and len(precisions) == 5


def test_a_tile_that_is_not_finite_in_fp32_either_ends_the_run(restorer: Restorer, mishap: Mishap) -> None:
    mishap.nan_at = {2, 3}
    with pytest.raises(RestorationError, match="not finite at row 0, column 64"):
        restore_picture(restorer, torch.rand(1, 3, 128, 128), None, tile=64, precision=torch.bfloat16)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_cancel_at_the_kth_tile_ends_the_run_there(restorer: Restorer, mishap: Mishap, k: int) -> None:
    class Cancelled(Exception):
        pass

    def cancel(done: int, total: int) -> None:
        assert total == 8
        if done == k:
            raise Cancelled

    with pytest.raises(Cancelled):
        restore_picture(restorer, torch.rand(2, 3, 128, 128), None, tile=64, on_tile=cancel, is_oom=lambda error: True)
    assert len(mishap.calls) == k


def test_large_pictures_are_tiled_and_small_ones_are_not(restorer: Restorer, mishap: Mishap) -> None:
    restore_picture(restorer, torch.rand(1, 3, 1024, 1056), None)
    assert len(mishap.calls) == 6 and max(max(size) for size, _ in mishap.calls) <= 512 + 2 * 128
    mishap.calls.clear()
    restore_picture(restorer, torch.rand(1, 3, 600, 500), None)
    assert mishap.calls == [((608, 512), torch.float32)]
