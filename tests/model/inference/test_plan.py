"""The plan of a restoration: what it refuses, its tiles, and its estimate of memory against what is allocated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from mofe_restore.cli.memory_probe import allocated
from mofe_restore.model.blur_kernel import Blur
from mofe_restore.model.errors import GuidanceError, RestorationError
from mofe_restore.model.guidance import Guidance
from mofe_restore.model.inference.plan import bytes_per_pixel, plan_restoration
from mofe_restore.model.restorer import blocks
from mofe_restore.model.restorer.blur_estimator import BlurEstimator
from mofe_restore.model.restorer.config import RestorerConfig
from mofe_restore.model.restorer.network import Restorer
from mofe_restore.tests.factories import restore

MakeGuidance = Callable[..., Guidance]

SHALLOW = RestorerConfig(guidance_width=16, encoder_blocks=(1, 1, 1, 1), decoder_blocks=(1, 1, 1), global_blocks=1)
"""The shipped widths; more blocks one after the other take no more memory."""


def peak_bytes(work: Callable[[], object]) -> int:
    return allocated(work, torch.device("cpu"))


@pytest.fixture
def all_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No strips: as on a GPU, for which the estimate is made."""
    monkeypatch.setattr(blocks, "STRIP_VALUES", 2**60)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.rand(1, 3, 15, 64), "at least 16 px"),
        (torch.rand(1, 2, 64, 64), "1, 3 or 4 channels"),
        (torch.rand(3, 64, 64), "1, 3 or 4 channels"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "floating-point"),
        (torch.full((1, 3, 64, 64), float("nan")), "Image 0 .* not finite"),
        (torch.full((1, 3, 64, 64), float("inf")), "not finite"),
    ],
)
def test_an_image_that_cannot_be_restored_is_refused_in_words(
    restorer: Restorer, image: torch.Tensor, words: str
) -> None:
    with pytest.raises(RestorationError, match=words):
        plan_restoration(restorer, image)


def test_strength_mask_and_tile_are_checked(restorer: Restorer) -> None:
    image = torch.rand(1, 3, 64, 64)
    with pytest.raises(RestorationError, match="strength is 1.5"):
        plan_restoration(restorer, image, strength=1.5)
    with pytest.raises(RestorationError, match="mask is 64 x 32 px"):
        plan_restoration(restorer, image, mask=torch.ones(1, 32, 64))
    with pytest.raises(RestorationError, match="mask holds"):
        plan_restoration(restorer, image, mask=torch.full((1, 64, 64), float("nan")))
    with pytest.raises(RestorationError, match="tile size is -1"):
        plan_restoration(restorer, image, tile=-1)


def test_guidance_of_another_width_or_number_is_refused(restorer: Restorer, make_guidance: MakeGuidance) -> None:
    image = torch.rand(3, 3, 32, 32)
    with pytest.raises(GuidanceError, match="24 numbers wide"):
        plan_restoration(restorer, image, make_guidance(width=24))
    with pytest.raises(GuidanceError, match="2 images"):
        plan_restoration(restorer, image, make_guidance(2))


def test_a_plan_knows_whether_there_is_anything_to_restore(restorer: Restorer) -> None:
    image, nowhere = torch.rand(2, 3, 32, 32), torch.zeros(2, 32, 32)
    somewhere = nowhere.clone()
    somewhere[1, 3, 4] = 0.1
    assert plan_restoration(restorer, image).has_work
    assert plan_restoration(restorer, image, strength=0.1, mask=somewhere).has_work
    assert not plan_restoration(restorer, image, strength=0).has_work
    assert not plan_restoration(restorer, image, mask=nowhere).has_work


def test_a_plan_computes_nothing_and_runs_as_often_as_wanted(
    restorer: Restorer, monkeypatch: pytest.MonkeyPatch, make_guidance: MakeGuidance
) -> None:
    image = torch.rand(1, 3, 40, 50)
    with monkeypatch.context() as patch:
        patch.setattr(Restorer, "encode_context", lambda *_: pytest.fail("the network was run"))
        patch.setattr(Restorer, "restore_crop", lambda *_: pytest.fail("the network was run"))
        plan = plan_restoration(restorer, image, make_guidance())
    first, again = plan.run().image, plan.run(into=torch.empty_like(image)).image
    assert torch.equal(first, again) and not torch.equal(first, image)


def test_the_working_memory_is_that_of_one_tile_with_its_halo(restorer: Restorer) -> None:
    def memory_bytes(height: int, width: int, **settings: object) -> int:
        image = torch.zeros(1, 1, 1, 1).expand(3, 3, height, width)
        return plan_restoration(restorer, image, **settings).memory_bytes

    per_pixel = bytes_per_pixel(restorer.config)
    assert memory_bytes(600, 500) == per_pixel * 608 * 512
    assert memory_bytes(3000, 4000) == memory_bytes(6000, 8000) == per_pixel * (512 + 256) ** 2
    assert memory_bytes(3000, 4000, tile=64) == per_pixel * (64 + 256) ** 2
    assert memory_bytes(3000, 4000, precision=torch.bfloat16) < memory_bytes(3000, 4000)


@pytest.mark.usefixtures("all_rows_at_once")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"widths": (16, 32, 64, 128)},
        {"experts": 2},
        {"experts": 6},
        {"mofe_levels": (1,)},
    ],
)
def test_the_estimate_of_a_tile_is_what_is_allocated_and_a_little_more(changes: dict[str, object]) -> None:
    network = Restorer(replace(SHALLOW, **changes)).eval()
    image = torch.rand(1, 3, 128, 192)
    peak = peak_bytes(lambda: restore(network, image, None))
    assert peak < plan_restoration(network, image).memory_bytes < 1.25 * peak


@pytest.mark.usefixtures("all_rows_at_once")
@pytest.mark.parametrize(("fault", "estimator_width"), [(4, 0), (4, 8), (5, 0), (5, 8)])
def test_the_estimate_knows_the_camera_branch_where_it_works(
    make_guidance: MakeGuidance, monkeypatch: pytest.MonkeyPatch, fault: int, estimator_width: int
) -> None:
    """A branch that is wider than all else, for an image in which one fault of the camera is seen."""
    monkeypatch.setattr(BlurEstimator, "estimate", lambda *_: Blur(defocus_radius=3.0))
    sizes = {"camera_widths": (96, 16), "camera_encoder_blocks": (1, 1), "camera_decoder_blocks": (1,)}
    config = replace(SHALLOW, widths=(8, 8, 32, 32), **sizes, camera_estimator_width=estimator_width)
    network = Restorer(config).eval()
    image, scores = torch.rand(1, 3, 128, 192), torch.full((1, 7), 0.1)
    scores[:, fault] = 0.8  # noise or blur
    seen = replace(make_guidance(), scores=scores)
    peak = peak_bytes(lambda: restore(network, image, seen))
    assert peak < plan_restoration(network, image, seen).memory_bytes < 1.25 * peak
    clean = replace(seen, scores=torch.full((1, 7), 0.1))
    assert plan_restoration(network, image, clean).memory_bytes < 0.5 * peak


def test_strips_take_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    network, image = Restorer(SHALLOW).eval(), torch.rand(1, 3, 512, 512)
    in_strips = peak_bytes(lambda: restore(network, image, None))
    monkeypatch.setattr(blocks, "STRIP_VALUES", 2**60)
    assert in_strips < 0.7 * peak_bytes(lambda: restore(network, image, None))


@pytest.mark.usefixtures("all_rows_at_once")
def test_half_precision_takes_less_memory_and_the_estimate_knows() -> None:
    network = Restorer(SHALLOW).eval()
    image = torch.rand(1, 3, 64, 96)
    estimate = plan_restoration(network, image, precision=torch.bfloat16).memory_bytes
    peak = peak_bytes(lambda: restore(network, image, None, precision=torch.bfloat16))
    assert 0.7 * peak < estimate < 1.25 * peak  # so small an image does not hide the weights' copies in bf16
    assert bytes_per_pixel(SHALLOW, torch.bfloat16) < 0.6 * bytes_per_pixel(SHALLOW)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("is_masked", [False, True])
def test_memory_does_not_grow_with_the_number_of_images(restorer: Restorer, channels: int, is_masked: bool) -> None:
    def beside_the_images(frames: int) -> int:
        images, mask = torch.rand(frames, channels, 96, 96), torch.ones(frames, 96, 96) if is_masked else None
        images[:, 3:, :40] = 0  # transparent
        return peak_bytes(lambda: restore(restorer, images, None, into=result[:frames], mask=mask))

    result = torch.empty(12, channels, 96, 96)
    few, many = beside_the_images(2), beside_the_images(12)
    routing_of_ten = 10 * 4 * (6 * 6 + 3 * 3) * 4
    assert many <= few + 2 * routing_of_ten


def test_memory_does_not_grow_with_the_size_of_an_image_in_tiles(restorer: Restorer) -> None:
    def beside_the_image(side: int) -> int:
        image, mask, result = torch.rand(1, 3, side, side), torch.zeros(1, side, side), torch.empty(1, 3, side, side)
        mask[:, 130:250, 130:180] = 1  # two tiles, as the others would be
        return peak_bytes(lambda: restore(restorer, image, None, tile=64, mask=mask, into=result))

    small, large = beside_the_image(512), beside_the_image(1024)
    copy_for_the_thumbnail = 3 * 4 * (1024**2 - 512**2)
    assert large < small + 1.1 * copy_for_the_thumbnail
