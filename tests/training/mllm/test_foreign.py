"""Training of small MLLMs of other stock classes: the folder is one that users could have downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mofe_restore.model.errors import TrainingError
from mofe_restore.model.mllm.loading import HEAD_FILE, load_mllm
from mofe_restore.training.engine.config import read_toml
from mofe_restore.training.mllm.foreign import ForeignRun, run

CONFIG = """
[loop]
output = "{output}"
steps = 2
seed = 5
learning_rate = 1e-3
warmup_steps = 0
workers = 0
log_every = 1
validate_every = 0

[model]
family = "{family}"
prepared = {prepared}
vision_width = 32
vision_layers = 1
text_width = 64
text_layers = 1
side = 56
patch = 14
vocabulary = 400

[data]
photos = "{photos}"
validation = "{photos}"

[batch]
size = 2
answers_every = 2
scenes = {scenes}
keep = "{keep}"
sides = [64, 96]
validation_images = 3
"""


def write_config(folder: Path, photos: Path, **more: object) -> Path:
    values = {"output": folder / "run", "keep": folder / "scenes", "family": "llava", "prepared": "true", "scenes": 3}
    path = folder / "run.toml"
    path.write_text(CONFIG.format(**{**values, "photos": photos, **more}), encoding="utf-8")
    return path


@pytest.mark.parametrize(("family", "prepared"), [("llava", "true"), ("idefics3", "false")])
def test_the_trained_folder_is_a_plain_model_that_describes(
    photos: Path, tmp_path: Path, family: str, prepared: str
) -> None:
    run(write_config(tmp_path, photos, family=family, prepared=prepared))
    folder = tmp_path / "run" / "export" / "mllm"
    assert not (folder / HEAD_FILE).exists()
    opened = load_mllm(folder, precision="fp32")
    assert opened.network.head is None
    guidance = opened.describe(torch.rand(1, 3, 64, 80), with_text=False)
    assert guidance.pooled.shape == (1, 64) and bool(guidance.pooled.isfinite().all())
    assert (tmp_path / "run" / "log.csv").read_text().count("\n") >= 3


def test_kept_scenes_are_used_again_and_too_few_are_named(photos: Path, tmp_path: Path) -> None:
    run(write_config(tmp_path, photos))
    before = (tmp_path / "scenes" / "views.npy").stat().st_mtime_ns
    run(write_config(tmp_path, photos, output=tmp_path / "second"))
    assert (tmp_path / "scenes" / "views.npy").stat().st_mtime_ns == before
    with pytest.raises(TrainingError, match="keeps 3 scenes, not 9: remove it"):
        run(write_config(tmp_path, photos, output=tmp_path / "third", scenes=9))


def test_an_unknown_family_is_named(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="family in .model. must be one of .*llava.*, not other"):
        run(write_config(tmp_path, photos, family="other"))


def test_the_committed_recipes_can_be_read(root: Path) -> None:
    recipes = sorted((root / "training" / "configs" / "foreign").glob("*.toml"))
    assert len(recipes) == 4
    assert {ForeignRun.from_raw(read_toml(path)).model.family for path in recipes} >= {"qwen2_vl", "qwen3_vl"}
