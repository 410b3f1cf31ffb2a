"""The training of the camera branch: what it is told, what it learns, and what stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mofe_restore.model.errors import TrainingError
from mofe_restore.model.restorer.camera_branch import ResidualBlock
from mofe_restore.model.restorer.loading import load_restorer
from mofe_restore.model.weights import write_weights
from mofe_restore.tests.factories import IDENTITY, make_card, make_restorer, write_restorer
from mofe_restore.training.camera.branch import load_with_branch
from mofe_restore.training.camera.config import CameraBatch, CameraData, CameraRun
from mofe_restore.training.camera.task import CameraTask, run
from mofe_restore.training.data.mix import Mix
from mofe_restore.training.data.scenes import sample_generator
from mofe_restore.training.engine.config import LoopConfig

MODEL = {"camera_widths": [8, 8, 8], "camera_encoder_blocks": [1, 1, 1], "camera_decoder_blocks": [1, 1]}

CONFIG = """
[loop]
output = "{folder}/run"
steps = {steps}
precision = "fp32"
workers = 0
log_every = 1
validate_every = 0
warmup_steps = 1
learning_rate = 4e-3
ema = 0.9
[data]
photos = "{photos}"
validation = "{photos}"
restorer = "{restorer}"
[batch]
scenes = 2
crops = 2
crop = 64
sides = [96, 112]
validation_photos = 1
[mix]
noise_share = 1.0
[model]
camera_widths = [8, 8, 8]
camera_encoder_blocks = [1, 1, 1]
camera_decoder_blocks = [1, 1]
"""


@pytest.fixture
def restorer(tmp_path: Path) -> Path:
    return write_restorer(tmp_path / "restorer.safetensors")


def make_task(photos: Path, restorer: Path, mix: Mix, **batch: float) -> CameraTask:
    settings = CameraRun(
        data=CameraData(str(photos), str(photos), str(restorer)),
        batch=replace(CameraBatch(scenes=4, crops=1, crop=64, sides=(96, 112)), **batch),
        mix=mix,
        model=MODEL,
    )
    return CameraTask(settings, LoopConfig("", 1), {})


def test_a_run_adds_a_branch_and_leaves_all_else_as_it_is(photos: Path, restorer: Path, tmp_path: Path) -> None:
    paths = {"folder": tmp_path.as_posix(), "photos": photos.as_posix(), "restorer": restorer.as_posix()}
    (tmp_path / "run.toml").write_text(CONFIG.format(steps=150, **paths))
    run(tmp_path / "run.toml")
    (before, _), (after, card) = (
        load_restorer(path) for path in (restorer, tmp_path / "run" / "export" / "restorer.safetensors")
    )
    assert after.camera is not None and after.config.camera_widths == (8, 8, 8)
    state = after.state_dict()
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor.bfloat16(), state[name].bfloat16())
    assert card.mllm_identity == IDENTITY and card.training["camera"]["step"] == 150
    assert card.training["camera"]["metrics"]["noise50"] > 15.2, "14.9 dB as it is"


def test_a_branch_goes_on_learning_and_another_one_is_refused(photos: Path, restorer: Path, tmp_path: Path) -> None:
    paths = {"folder": tmp_path.as_posix(), "photos": photos.as_posix(), "restorer": restorer.as_posix()}
    (tmp_path / "run.toml").write_text(CONFIG.format(steps=1, **paths))
    run(tmp_path / "run.toml")
    trained = tmp_path / "run" / "export" / "restorer.safetensors"
    task = make_task(photos, trained, Mix())
    assert torch.equal(task.network.intro.weight, load_restorer(trained)[0].camera.intro.weight)  # type: ignore[union-attr]
    other = replace(task.run, model={**MODEL, "camera_widths": [8, 8, 16]})
    with pytest.raises(TrainingError, match="differs from the camera branch"):
        CameraTask(other, LoopConfig("", 1), {})


def test_a_restorer_without_sizes_of_a_branch_is_refused(photos: Path, restorer: Path) -> None:
    settings = CameraRun(CameraData(str(photos), str(photos), str(restorer)))
    with pytest.raises(TrainingError, match="must give camera_widths"):
        CameraTask(settings, LoopConfig("", 1), {})


def test_the_branch_is_told_about_what_is_there(photos: Path, restorer: Path) -> None:
    task = make_task(photos, restorer, Mix(noise_share=1.0), error=0.0, kept_share=0.0)
    batch = task.batch(0)
    assert (batch["strengths"][:, 0] > 0.2).all() and not batch["strengths"][:, 1:].any()
    assert (batch["crop"].float() - batch["target"].float()).std() > 0.01
    wrong = make_task(photos, restorer, Mix(noise_share=1.0), error=0.1, kept_share=0.0).batch(0)
    assert torch.equal(wrong["crop"], batch["crop"])
    assert 0 < (wrong["strengths"][:, 0] - batch["strengths"][:, 0]).abs().max() < 0.9


def test_what_is_told_to_be_absent_stays(photos: Path, restorer: Path) -> None:
    task = make_task(photos, restorer, Mix(noise_share=1.0), kept_share=1.0)
    draws = [task._draw(np.random.default_rng(seed)) for seed in range(12)]
    assert {bool(kept[0]) for _, _, kept in draws} == {True, False}
    for target, degraded, kept in draws:
        assert np.array_equal(target, degraded.image) == kept[0]


def test_weather_stays_and_nothing_is_told_of_it(photos: Path, restorer: Path) -> None:
    task = make_task(photos, restorer, Mix(rain_share=1.0), kept_share=0.0)
    batch = task.batch(0)
    assert torch.equal(batch["crop"], batch["target"]) and not batch["strengths"].any()


def test_a_blur_that_is_invented_is_told_and_the_scene_stays(photos: Path, restorer: Path) -> None:
    batch = make_task(photos, restorer, Mix(clean_share=1.0), invented_blur_share=1.0).batch(0)
    assert (batch["strengths"][:, 1] > 0).all() and not batch["strengths"][:, [0, 2]].any()
    assert (batch["crop"] - batch["target"]).abs().max() < 2 / 255
    blurred = make_task(photos, restorer, Mix(blur_share=1.0), invented_blur_share=1.0, error=0.0, kept_share=0.0)
    told, truth = blurred.batch(0)["strengths"][:, 1], [blurred._draw(sample_generator(0, 0, n))[1] for n in range(4)]
    assert told.tolist() == pytest.approx([float(each.truth.strength[5]) for each in truth], abs=1e-6)


def test_a_branch_with_an_estimator_is_shown_what_it_finds(photos: Path, tmp_path: Path) -> None:
    network = make_restorer(with_camera=True, with_estimator=True)
    card = replace(make_card(), architecture=network.config.to_dict())
    write_weights(tmp_path / "r.safetensors", network.state_dict(), card, torch.float32)
    mix = Mix(blur_share=0.5, noise_share=0.5)
    settings = CameraRun(
        CameraData(str(photos), str(photos), str(tmp_path / "r.safetensors")),
        CameraBatch(scenes=10, crops=1, crop=64, sides=(96, 112), kept_share=0.0, validation_photos=1),
        mix,
    )
    task = CameraTask(settings, LoopConfig("", 1), {})
    batch = task.batch(0)
    is_sharpened = (batch["deconvolved"] != batch["crop"].repeat(1, 2, 1, 1)).any(3).any(2).any(1)
    assert torch.equal(is_sharpened, batch["strengths"][:, 1] > 0) and is_sharpened.any() and not is_sharpened.all()
    assert not any(parameter.requires_grad for parameter in task.network.estimator.parameters())  # type: ignore[union-attr]
    with torch.no_grad():
        network.camera.estimator.answer.bias += 1  # type: ignore[union-attr]
    write_weights(tmp_path / "r.safetensors", network.state_dict(), card, torch.float32)
    other = CameraTask(settings, LoopConfig("", 1), {})
    assert task.recipe["estimator"] != other.recipe["estimator"], "a run must not be resumed with another estimator"
    task.loss(task.network, batch, 0)["loss"].backward()
    assert task.network.intro.weight.grad[:, 15:].abs().max() > 0  # type: ignore[index]


def test_a_branch_that_gets_an_estimator_does_what_it_did(photos: Path, restorer: Path, tmp_path: Path) -> None:
    network = make_restorer(with_camera=True)
    card = replace(make_card(), architecture=network.config.to_dict())
    write_weights(tmp_path / "r.safetensors", network.state_dict(), card, torch.float32)
    wider, _ = load_with_branch(tmp_path / "r.safetensors", {"camera_estimator_width": 8}, 0)
    image, strengths = torch.rand(1, 3, 64, 64), torch.tensor([[0.3, 0.4, 0.0]])
    assert wider.camera is not None and network.camera is not None
    with torch.no_grad():
        before = network.camera(image, strengths)
        assert torch.allclose(wider.camera(image, strengths, torch.rand(1, 6, 64, 64)), before, atol=1e-5)


def test_a_branch_that_gets_more_blocks_does_what_it_did_and_all_of_it_learns(tmp_path: Path, photos: Path) -> None:
    network = make_restorer(with_camera=True, with_estimator=True)
    card = replace(make_card(), architecture=network.config.to_dict())
    write_weights(tmp_path / "r.safetensors", network.state_dict(), card, torch.float32)
    encoder, decoder = network.config.camera_encoder_blocks, network.config.camera_decoder_blocks
    more = {
        "camera_encoder_blocks": [*encoder[:-1], encoder[-1] + 1],
        "camera_decoder_blocks": [decoder[0] + 2, *decoder[1:]],
    }
    deeper, _ = load_with_branch(tmp_path / "r.safetensors", more, 0)
    image, strengths = torch.rand(1, 3, 64, 64), torch.tensor([[0.3, 0.4, 0.0]])
    assert deeper.camera is not None and network.camera is not None
    before, after = (
        sum(isinstance(module, ResidualBlock) for module in each.modules()) for each in (network.camera, deeper.camera)
    )
    assert after == before + 3
    with torch.no_grad():
        assert torch.equal(deeper.camera(image, strengths), network.camera(image, strengths))
    deeper.camera(image, strengths).square().mean().backward()
    new = deeper.camera.encoder[-1][-1]
    assert new.second.weight.grad.abs().max() > 0 and new.first.weight.abs().max() > 0  # type: ignore[union-attr,operator]
    fewer = {"camera_encoder_blocks": [*encoder[:-1], encoder[-1] - 1]}
    with pytest.raises(TrainingError, match="can only get more blocks"):
        load_with_branch(tmp_path / "r.safetensors", fewer, 0)


def test_a_branch_that_gets_weights_for_a_jpeg_does_what_it_did_and_they_learn(photos: Path, tmp_path: Path) -> None:
    network = make_restorer(with_camera=True, with_estimator=True)
    card = replace(make_card(), architecture=network.config.to_dict())
    write_weights(tmp_path / "r.safetensors", network.state_dict(), card, torch.float32)
    data = CameraData(str(photos), str(photos), str(tmp_path / "r.safetensors"))
    batch = CameraBatch(scenes=2, crops=1, crop=64, sides=(96, 112), kept_share=0.0, validation_photos=1, own_jpeg=True)
    with pytest.raises(TrainingError, match="give their camera_jpeg_encoder_blocks"):
        CameraTask(CameraRun(data, batch, Mix(jpeg_share=1.0)), LoopConfig("", 1), {})
    blocks = {"camera_jpeg_encoder_blocks": [1, 1, 1], "camera_jpeg_decoder_blocks": [2, 1]}
    task = CameraTask(CameraRun(data, batch, Mix(jpeg_share=1.0), blocks), LoopConfig("", 1), {})
    assert task.network.jpeg is not None and network.camera is not None
    image, strengths = torch.rand(1, 3, 64, 64), torch.tensor([[0.0, 0.0, 0.7]])
    with torch.no_grad():
        assert torch.allclose(task.network(image, strengths), network.camera(image, strengths), atol=1e-5)
    task.loss(task.network, task.batch(0), 0)["loss"].backward()
    learning = {name for name, parameter in task.network.named_parameters() if parameter.requires_grad}
    assert learning == {f"jpeg.{name}" for name, _ in task.network.jpeg.named_parameters()}
    assert all(parameter.grad is not None for parameter in task.network.jpeg.parameters())
    task.export(task.network, tmp_path / "export", 1, {})
    again, about = load_restorer(tmp_path / "export" / "restorer.safetensors")
    assert again.config.camera_jpeg_decoder_blocks == (2, 1) and "camera_jpeg" in about.training
    go_on = replace(data, restorer=str(tmp_path / "export" / "restorer.safetensors"))
    assert CameraTask(CameraRun(go_on, batch, Mix(jpeg_share=1.0)), LoopConfig("", 1), {}).network.jpeg is not None
    with pytest.raises(TrainingError, match="own_jpeg in .batch. needs scenes with a JPEG alone"):
        CameraRun(data, batch, Mix(jpeg_share=0.2))
