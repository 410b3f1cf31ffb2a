"""Restore and Show Routing over a stand-in host, with a tiny random network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from mofe_restore.cli.memory_probe import allocated
from mofe_restore.model.errors import GuidanceError, WeightFileError
from mofe_restore.tests.nodes.standins import Host, Interrupted, Patcher, run


@pytest.fixture
def restore(nodes: ModuleType, restorer: Any) -> Callable[..., Any]:
    def restore(image: torch.Tensor, **settings: Any) -> Any:
        return run(nodes.Restore, **{"restorer": restorer, "image": image, "strength": 1.0, "tile_size": 0, **settings})

    return restore


def random_image(batch: int = 1, height: int = 40, width: int = 56, channels: int = 3) -> torch.Tensor:
    return torch.rand(batch, height, width, channels, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_any_image_comes_back_in_its_shape(restore: Callable[..., Any], channels: int, dtype: torch.dtype) -> None:
    image = random_image(2, 33, 47, channels).to(dtype)
    result, _ = restore(image).args
    assert result.shape == image.shape
    assert result.dtype == torch.float32  # as the host keeps its images
    assert not torch.equal(result[..., :3], image[..., :3].float())
    if channels == 4:
        assert torch.equal(result[..., 3], image[..., 3].float())


def test_no_strength_gives_the_input_bit_by_bit(restore: Callable[..., Any]) -> None:
    image = random_image()
    assert torch.equal(restore(image, strength=0.0).args[0], image)


def test_outside_the_mask_nothing_changes(restore: Callable[..., Any]) -> None:
    image, mask = random_image(), torch.zeros(40, 56)
    mask[10:30, 20:40] = 1
    for feather in (0, 6):
        result = restore(image, mask=mask, feather=feather).args[0]
        assert torch.equal(result[0][mask == 0], image[0][mask == 0])
        assert not torch.equal(result[0][mask == 1], image[0][mask == 1])


def test_the_empty_mask_of_load_image_is_no_mask(restore: Callable[..., Any]) -> None:
    image = random_image()
    assert torch.equal(restore(image, mask=torch.zeros(1, 64, 64)).args[0], restore(image).args[0])


def test_an_empty_mask_of_the_images_size_is_obeyed(restore: Callable[..., Any], host: Host) -> None:
    for size in (40, 64):
        image = random_image(height=size, width=size)
        output = restore(image, mask=torch.zeros(1, size, size))
        assert torch.equal(output.args[0], image)
        assert "the mask is black everywhere" in host.texts[-1][0]
        assert output.ui == {"text": (host.texts[-1][0],)}


def test_a_mask_of_another_size_is_fitted(restore: Callable[..., Any]) -> None:
    image, mask = random_image(height=64, width=64), torch.zeros(1, 32, 32)
    mask[:, :, 16:] = 1
    result = restore(image, mask=mask).args[0]
    assert torch.equal(result[:, :, :31], image[:, :, :31])
    assert not torch.equal(result[:, :, 33:], image[:, :, 33:])


def test_a_feather_keeps_thin_strokes_and_grey_masks(nodes: ModuleType) -> None:
    from mofe_restore.nodes.masks import apply_feather

    stroke = torch.zeros(1, 40, 60)
    stroke[:, 18:22, :] = 1
    soft = apply_feather(stroke, 32)
    assert bool((soft[stroke > 0] > 0).all()) and bool((soft[stroke == 0] == 0).all())
    grey = torch.full((2, 30, 50), 0.5)
    assert torch.equal(apply_feather(grey, 7), grey) and torch.equal(apply_feather(grey, 300), grey)


@pytest.mark.parametrize("feather", [1, 5, 32, 33, 100])
def test_a_feather_is_as_wide_as_asked(nodes: ModuleType, feather: int) -> None:
    from mofe_restore.nodes.masks import apply_feather

    mask = torch.zeros(1, 3, 300)
    mask[:, :, 50:] = 1
    full = int((apply_feather(mask, feather)[0, 1] < 0.999).sum()) - 50
    assert feather <= full <= feather + feather // 32 + 1


@pytest.mark.parametrize("reach", [1, 2, 5])
def test_erosion_takes_the_smallest_neighbor(nodes: ModuleType, reach: int) -> None:
    from mofe_restore.nodes.masks import erode

    mask = torch.rand(2, 20, 30)
    expected = -torch.nn.functional.max_pool2d(-mask, (1, 2 * reach + 1), 1, (0, reach))
    assert torch.equal(erode(mask, reach, -1), expected)
    assert torch.equal(erode(mask.mT, reach, -2), expected.mT)


def test_a_feathered_mask_fades_in_inwards(nodes: ModuleType) -> None:
    from mofe_restore.nodes.masks import apply_feather

    mask = torch.zeros(1, 40, 100)
    mask[:, :, 30:] = 1
    soft = apply_feather(mask, 12)[0, 20]
    assert bool((soft[:30] == 0).all())
    assert bool((soft.diff() >= -1e-6).all())
    assert soft[30] < 0.2
    assert bool((soft[45:] > 0.999).all()), "the image's border is no edge"


def test_guidance_reaches_the_network(restore: Callable[..., Any], make_guidance: Callable[..., Any]) -> None:
    image = random_image(2)
    guided, routing = restore(image, guidance=make_guidance(2)).args
    assert not torch.equal(guided, restore(image).args[0])
    assert routing.routing.descriptions == ("image 0 is hazy", "image 1 is hazy")


def test_guidance_of_one_image_serves_a_batch(restore: Callable[..., Any], make_guidance: Callable[..., Any]) -> None:
    assert restore(random_image(3), guidance=make_guidance(1)).args[0].shape[0] == 3


def test_guidance_of_another_mllm_is_refused(restore: Callable[..., Any], make_guidance: Callable[..., Any]) -> None:
    with pytest.raises(GuidanceError, match="mllm-b.*mllm-a"):
        restore(random_image(), guidance=make_guidance(identity="mllm-b"))


def test_guidance_of_another_batch_is_refused(restore: Callable[..., Any], make_guidance: Callable[..., Any]) -> None:
    with pytest.raises(GuidanceError, match="describes 2 images but the batch has 3"):
        restore(random_image(3), guidance=make_guidance(2))


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (torch.rand(1, 8, 8, 3), "8 x 8 px: it must be at least 16"),
        (torch.rand(1, 1, 1, 3), "1 x 1 px: it must be at least 16"),
        (torch.full((1, 32, 32, 3), torch.nan), "not finite"),
        (torch.rand(1, 32, 32, 2), "1, 3 or 4 channels"),
        (torch.rand(0, 32, 32, 3), "empty"),
        (torch.rand(32, 32, 3), "3 dimensions"),
    ],
)
def test_an_image_that_makes_no_sense_gets_one_sentence(
    restore: Callable[..., Any], image: torch.Tensor, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        restore(image)
    assert "\n" not in str(caught.value)


def test_the_network_is_loaded_by_the_host(restore: Callable[..., Any], restorer: Any, host: Host) -> None:
    restore(random_image())
    assert [patcher for patcher, _ in host.loaded] == [restorer.patcher]
    assert host.loaded[0][1] > 0


def test_the_patcher_is_the_one_that_the_host_has_when_a_model_is_loaded(
    nodes: ModuleType, restorer: Any, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    patchers = host.modules["comfy.model_patcher"]
    rebound = type("Rebound", (Patcher,), {})
    monkeypatch.setattr(patchers, "CoreModelPatcher", rebound)  # as ComfyUI does while it starts
    assert type(nodes.LoadRestorer.execute("tiny.safetensors", "fp32").args[0].patcher) is rebound
    monkeypatch.delattr(patchers, "CoreModelPatcher")  # older ones have none
    assert type(nodes.LoadRestorer.execute("tiny.safetensors", "fp32").args[0].patcher) is Patcher


def test_the_network_is_loaded_whole(
    nodes: ModuleType, restorer: Any, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mofe_restore.nodes import host as bridge

    asked = []

    def today(models: list[Any], memory_required: int = 0, force_full_load: bool = False) -> None:
        asked.append((memory_required, force_full_load))

    def older(models: list[Any], memory_required: int = 0) -> None:
        asked.append((memory_required, None))

    for load_models_gpu in (today, older):
        monkeypatch.setattr(host.modules["comfy.model_management"], "load_models_gpu", load_models_gpu)
        restorer.patcher.load_device = torch.device("meta")  # stands in for a GPU to which nothing was brought
        bridge.load_to_device(restorer.patcher, 7)
        assert {parameter.device.type for parameter in restorer.network.parameters()} == {"meta"}
    assert asked == [(7, True), (7, None)]


def test_nothing_is_loaded_where_there_is_nothing_to_do(restore: Callable[..., Any], host: Host) -> None:
    for settings in ({"strength": 0.0}, {"mask": torch.zeros(2, 40, 56)}):
        restore(random_image(2), **settings)
    assert host.loaded == []


def test_inputs_are_checked_before_the_network_is_loaded(
    restore: Callable[..., Any], make_guidance: Callable[..., Any], host: Host
) -> None:
    holed = random_image(2)
    holed[1, 0, 0, 0] = torch.nan
    for image, settings in (
        (holed, {}),
        (random_image(height=8), {}),
        (random_image(), {"guidance": make_guidance(identity="mllm-b")}),
        (random_image(3), {"guidance": make_guidance(2)}),
        (random_image(3), {"mask": torch.ones(2, 40, 56)}),
        (random_image(), {"mask": torch.full((40, 56), torch.nan)}),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            restore(image, **settings)
    assert host.loaded == []


def test_a_video_takes_the_memory_of_its_frames_and_of_one_tile(
    restore: Callable[..., Any], make_guidance: Callable[..., Any]
) -> None:
    def beside_the_frames(frames: int) -> int:
        image, mask = random_image(frames, 96, 128), torch.rand(frames, 96, 128)
        settings = {"mask": mask, "feather": 4, "guidance": make_guidance(frames)}
        peak = allocated(lambda: restore(image, **settings), torch.device("cpu"))
        return peak - image.nbytes - mask.nbytes  # the result, and the feathered mask

    few, many = beside_the_frames(3), beside_the_frames(18)
    thumbnails = 15 * 3 * 96 * 128
    assert many < few + 1.1 * thumbnails


def test_progress_ends_with_the_last_tile(restore: Callable[..., Any], host: Host) -> None:
    restore(random_image(2, 128, 128), tile_size=64)
    assert host.progress[-1] == (8, 8)
    assert [done for done, _ in host.progress] == list(range(1, 9))


def test_cancel_ends_the_run_at_the_next_tile_and_the_run_after_it_works(
    restore: Callable[..., Any], host: Host
) -> None:
    image = random_image(1, 128, 128)
    host.cancel_after = 2
    with pytest.raises(Interrupted):
        restore(image, tile_size=64)
    assert len(host.progress) == 1
    assert restore(image, tile_size=64).args[0].shape == image.shape


def test_cancel_ends_the_run_at_the_next_mask_to_feather(restore: Callable[..., Any], host: Host) -> None:
    host.cancel_after = 2
    with pytest.raises(Interrupted):
        restore(random_image(3, 32, 32), mask=torch.ones(3, 32, 32), feather=4)
    assert not host.progress


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("not enough memory: you tried")]
)
def test_out_of_memory_takes_smaller_tiles(
    restore: Callable[..., Any], restorer: Any, host: Host, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    image = random_image(1, 128, 128)
    expected = restore(image).args[0]
    original, attempts = restorer.network.restore_crop, []

    def restore_small_crops(crop: torch.Tensor, *rest: Any) -> Any:
        attempts.append(crop.shape)
        if len(attempts) == 1:
            raise error
        return original(crop, *rest)

    monkeypatch.setattr(restorer.network, "restore_crop", restore_small_crops)
    assert (restore(image).args[0] - expected).abs().max() < 1e-4
    assert len(attempts) == 5
    assert host.cache_emptied == 1


def test_another_error_is_not_taken_for_a_lack_of_memory(
    restore: Callable[..., Any], restorer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("a shape does not fit")

    monkeypatch.setattr(restorer.network, "restore_crop", fail)
    with pytest.raises(RuntimeError, match="a shape does not fit"):
        restore(random_image())


def test_a_damaged_restorer_gets_one_sentence(nodes: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "models" / "mofe" / "broken.safetensors"
    path.parent.mkdir(parents=True)
    path.write_text("not weights")
    with pytest.raises(WeightFileError, match="broken.safetensors") as caught:
        nodes.LoadRestorer.execute("broken.safetensors", "auto")
    assert "\n" not in str(caught.value)


def test_an_unknown_precision_gets_one_sentence(nodes: ModuleType, restorer: Any) -> None:
    with pytest.raises(ValueError, match="Precision 'fp8' is not known"):
        nodes.LoadRestorer.execute("tiny.safetensors", "fp8")


def test_the_chart_is_an_image_and_is_shown_on_the_node(
    nodes: ModuleType, restore: Callable[..., Any], make_guidance: Callable[..., Any]
) -> None:
    routing = restore(random_image(2), guidance=make_guidance(2)).args[1]
    output = run(nodes.ShowRouting, routing=routing, frame=1)
    chart, text = output.args
    assert chart.ndim == 4
    assert chart.shape[0] == 1
    assert chart.shape[3] == 3
    assert 0 <= chart.min() < chart.max() <= 1
    assert output.ui.image is chart
    report = json.loads(text)
    assert (report["height"], report["width"]) == (40, 56)
    assert report["description"] == "image 1 is hazy"
    assert all(len(block["experts"]) == 4 for block in report["blocks"])


def test_a_frame_that_is_not_there_gets_one_sentence(nodes: ModuleType, restore: Callable[..., Any]) -> None:
    routing = restore(random_image(2)).args[1]
    with pytest.raises(IndexError, match="holds 2 images"):
        run(nodes.ShowRouting, routing=routing, frame=2)


def test_an_image_that_was_not_touched_has_a_chart_too(nodes: ModuleType, restore: Callable[..., Any]) -> None:
    routing = restore(random_image(), strength=0.0).args[1]
    assert run(nodes.ShowRouting, routing=routing, frame=0).args[0].shape[3] == 3


@pytest.mark.field
def test_row13_an_order_that_changes_next_to_nothing_says_so_on_the_node(
    restore: Callable[..., Any], make_guidance: Callable[..., Any], host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = make_guidance().with_removal({"noise": 1.0}, ["noise"])
    note = "The order to remove noise changed next to nothing"
    restore(random_image(), guidance=told)
    assert not any(note in text for text, _ in host.texts)
    monkeypatch.setattr("mofe_restore.model.inference.effect.NEXT_TO_NOTHING", 1.0)
    restore(random_image(), guidance=make_guidance())
    assert not any(note in text for text, _ in host.texts)
    restore(random_image(), guidance=told)
    assert any(note in text for text, _ in host.texts)
