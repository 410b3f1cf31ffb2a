"""The training of the blur's estimator: what it is taught, and that it learns."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mofe_restore.model.errors import TrainingError
from mofe_restore.model.restorer.blur_estimator import KINDS, BlurGuess
from mofe_restore.model.restorer.loading import load_restorer
from mofe_restore.model.synthesis.severities import Severities
from mofe_restore.model.weights import write_weights
from mofe_restore.tests.factories import make_card, make_restorer
from mofe_restore.training.camera.config import EstimatorBatch, EstimatorData, EstimatorRun
from mofe_restore.training.camera.estimator import EstimatorTask, _as_target, run
from mofe_restore.training.data.mix import Mix
from mofe_restore.training.engine.config import LoopConfig

CONFIG = """
[loop]
output = "{folder}/run"
steps = 60
precision = "fp32"
workers = 0
log_every = 10
validate_every = 0
warmup_steps = 5
learning_rate = 4e-3
ema = 0.9
[model]
camera_estimator_width = 16
[data]
photos = "{photos}"
validation = "{photos}"
restorer = "{folder}/r.safetensors"
[batch]
scenes = 6
sides = [96, 112]
validation_photos = 1
[mix]
blur_share = 0.8
clean_share = 0.2
"""


@pytest.fixture
def restorer(tmp_path: Path) -> Path:
    """With a camera branch without an estimator."""
    network = make_restorer(with_camera=True)
    card = replace(make_card(), architecture=network.config.to_dict())
    write_weights(tmp_path / "r.safetensors", network.state_dict(), card, torch.float32)
    return tmp_path / "r.safetensors"


def test_a_run_gives_the_branch_an_estimator_and_leaves_all_else_as_it_is(
    photos: Path, restorer: Path, tmp_path: Path
) -> None:
    (tmp_path / "run.toml").write_text(CONFIG.format(folder=tmp_path.as_posix(), photos=photos.as_posix()))
    run(tmp_path / "run.toml")
    (before, _), (after, card) = (
        load_restorer(path) for path in (restorer, tmp_path / "run" / "export" / "restorer.safetensors")
    )
    assert after.camera is not None and after.camera.estimator is not None
    state = after.state_dict()
    for name, tensor in before.state_dict().items():
        same = state[name][:, : tensor.shape[1]] if name == "camera.intro.weight" else state[name]
        assert torch.equal(tensor.bfloat16(), same.bfloat16())
    rows = [line.split(",") for line in (tmp_path / "run" / "log.csv").read_text().splitlines()]
    losses = [float(row[rows[0].index("loss")]) for row in rows[1:]]
    assert losses[-1] < 0.8 * losses[0]
    assert 0 <= card.training["blur_estimator"]["metrics"]["kind"] <= 1


@pytest.mark.parametrize(
    ("severities", "expected"),
    [
        (Severities(noise_sigma=0.1), ["none", 0.0, 1.0, 0.0]),
        (Severities(gaussian_sigma=1.5), ["gaussian", 1.5, 1.0, 0.0]),
        (Severities(defocus_radius=3.0), ["defocus", 1.5, 1.0, 0.0]),
        (Severities(motion_length=24**0.5 * 1.5, motion_angle=135.0), ["motion", 1.5, 0.0, -1.0]),
    ],
)
def test_what_is_taught_is_what_an_answer_means(severities: Severities, expected: list[float | str]) -> None:
    kind, log_sigma, cosine, sine = _as_target(severities).tolist()
    assert KINDS[int(kind)] == expected[0] and (log_sigma == 0 or math.exp(log_sigma) == pytest.approx(expected[1]))
    assert [cosine, sine] == pytest.approx(expected[2:], abs=1e-6)


def test_a_perfect_guess_costs_nothing_but_the_smoothing(photos: Path, restorer: Path) -> None:
    data = EstimatorData(str(photos), str(photos), str(restorer))
    batch = EstimatorBatch(scenes=8, sides=(96, 112), validation_photos=1)
    settings = EstimatorRun(data, batch, Mix(blur_share=0.7, clean_share=0.3), {"camera_estimator_width": 8})
    task = EstimatorTask(settings, LoopConfig("", 1), {})
    batch_of = task.batch(0)
    kinds = batch_of["blurs"][:, 0].long()
    assert 0 < int((kinds == 0).sum()) < 8

    class Knows(torch.nn.Module):
        def forward(self, spectra: torch.Tensor) -> object:
            logits = 9.0 * torch.nn.functional.one_hot(kinds, len(KINDS))
            return BlurGuess(logits, batch_of["blurs"][:, 1:2].expand(-1, 3), batch_of["blurs"][:, 2:])

    losses = task.loss(Knows(), batch_of, 0)
    assert losses["sigma"] == losses["angle"] == 0 and losses["kind"] < 0.2


def test_a_branch_without_sizes_of_an_estimator_is_refused(photos: Path, restorer: Path) -> None:
    settings = EstimatorRun(EstimatorData(str(photos), str(photos), str(restorer)), EstimatorBatch(sides=(96, 112)))
    with pytest.raises(TrainingError, match="must give camera_estimator_width"):
        EstimatorTask(settings, LoopConfig("", 1), {})
