"""The head is fitted to real photographs, and the directions of the embedding are measured."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mofe_restore.model.errors import TrainingError
from mofe_restore.model.mllm.head import DegradationHead
from mofe_restore.model.mllm.loading import HEAD_FILE, identity_of, load_mllm
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.tests.factories import write_photo
from mofe_restore.training.engine.config import parse_table, read_toml
from mofe_restore.training.head import examples
from mofe_restore.training.head import fit as program
from mofe_restore.training.head.config import FitConfig, HeadRun
from mofe_restore.training.head.examples import Examples
from mofe_restore.training.head.fit import fit_member, merge, run

CONFIG = """
[data]
mllm = "{mllm}"
photos = "{photos}"
real_weak = "{folder}/weak"
real_pairs = "{folder}/pairs"
output = "{folder}/out"
[fit]
images = 4
members = 2
hidden = 3
steps = 5
batch = 8
direction_photos = 2
direction_levels = 2
[card]
data = "and a few more."
"""


@pytest.fixture
def config(photos: Path, tiny_mllm_folder: Path, tmp_path: Path) -> Path:
    for number, label in enumerate(("good", "haze", "noise")):
        write_photo(tmp_path / "weak" / label / "train" / "a.png", number, 100, 100)
    for part in ("input", "target"):
        write_photo(tmp_path / "pairs" / "noise" / "train" / part / "a.png", 7, 100, 100)
    text = CONFIG.format(mllm=tiny_mllm_folder.as_posix(), photos=photos.as_posix(), folder=tmp_path.as_posix())
    (tmp_path / "head.toml").write_text(text)
    return tmp_path / "head.toml"


def test_a_run_writes_a_head_with_directions_that_fits_its_mllm(
    config: Path, tiny_mllm_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config)
    folder = shutil.copytree(tiny_mllm_folder, tmp_path / "mllm")
    shutil.copyfile(tmp_path / "out" / HEAD_FILE, folder / HEAD_FILE)
    assert identity_of(folder).partition(":")[2] == identity_of(tiny_mllm_folder).partition(":")[2]
    mllm = load_mllm(folder)
    assert mllm.network.head is not None and mllm.network.head.hidden == 6
    assert mllm.directions is not None and mllm.directions.pooled.shape == (len(DEGRADATIONS), 2, 64)
    guidance = mllm.describe(torch.rand(1, 3, 100, 100), with_text=False).with_severities({"noise": 0.4})
    assert guidance.scores[0, DEGRADATIONS.index("noise")] == pytest.approx(0.7)
    for module in (program, examples):
        monkeypatch.setattr(module, "embed", lambda *_: pytest.fail("embeddings are computed once"))
    run(config)


def test_a_head_is_kept_but_for_its_shift_where_no_network_is_asked_for(
    config: Path, tiny_mllm_folder: Path, tmp_path: Path
) -> None:
    text = config.read_text().replace("members = 2", "members = 0")
    config.write_text(text.replace("[card]", "[shift]\nhaze = 0.5\n[card]"))
    run(config)
    head, old = (load_file(folder / HEAD_FILE) for folder in (tmp_path / "out", tiny_mllm_folder))
    moved = old["read.bias"] - head["read.bias"]
    assert moved.tolist() == pytest.approx([0.5 * (index == 1) for index in range(len(moved))], abs=0.01)
    assert (
        torch.allclose(head["read.weight"].float(), old["read.weight"].float(), atol=1e-3)
        and "presence.weight" not in head
    )
    assert not list((tmp_path / "out" / "embeddings").glob("weak*")), "real photographs are not looked at"


def test_what_is_known_of_real_photographs_is_learned_and_nothing_else() -> None:
    torch.manual_seed(0)
    head, good, hazy = DegradationHead(8), torch.randn(60, 8) - 1, torch.randn(60, 8) + 1
    known = torch.zeros(120, 7)
    known[:, 1] = 1
    presence = torch.cat([torch.zeros(60, 7), torch.ones(60, 7)])
    real = Examples(torch.cat([good, hazy]), presence, known)
    generated = Examples(torch.randn(40, 8), torch.zeros(40, 7), torch.ones(40, 7))
    settings = FitConfig(steps=200, hidden=8, good_weight=1.0, real_weight=3.0, dropout=0.0)
    members = [fit_member(head, generated, real, settings, number) for number in range(2)]
    merged = merge(members)
    mean = sum(member(hazy).presence for member in members) / 2
    assert torch.allclose(merged(hazy).presence, mean, atol=1e-5)
    assert (
        (merged(hazy).presence[:, 1] > 0).float().mean() > 0.8 > 0.2 > (merged(good).presence[:, 1] > 0).float().mean()
    )
    assert (merged(hazy).presence[:, 3] > 0).float().mean() < 0.2


def test_a_run_with_good_photographs_changes_the_network_of_presence(
    config: Path, photos: Path, tmp_path: Path
) -> None:
    table = f'[restraint]\nphotos = "{photos.as_posix()}"\nside = 100\nmembers = 2\nsteps = 3\n[card]'
    config.write_text(config.read_text().replace("[card]", table))
    run(config)
    state = load_file(tmp_path / "out" / HEAD_FILE)
    assert state["widen.weight"].shape == (2 * 6, 64)
    assert load_file(tmp_path / "out" / "embeddings" / "restraint.safetensors")["pooled"].shape == (6, 64)
    for name in ("pieces", "noisy", "dark", "faulty"):
        assert load_file(tmp_path / "out" / "embeddings" / f"restraint-{name}.safetensors")["pooled"].shape == (6, 64)


def test_a_head_without_a_network_of_presence_cannot_be_restrained(config: Path, photos: Path) -> None:
    text = config.read_text().replace("members = 2", "members = 0")
    config.write_text(text.replace("[card]", f'[restraint]\nphotos = "{photos.as_posix()}"\n[card]'))
    with pytest.raises(TrainingError, match="network of presence"):
        run(config)


def test_the_shipped_configuration_can_be_read(root: Path) -> None:
    raw_config = read_toml(root / "training" / "configs" / "head.toml")
    assert HeadRun.from_raw(raw_config).mix.rain_share == 0.14
    assert parse_table(FitConfig, raw_config, "fit").members == 4
    after = HeadRun.from_raw(read_toml(root / "training" / "configs" / "head_real.toml"))
    assert after.fit.members == 0 and after.shift.noise > 0 == after.shift.haze
    last = HeadRun.from_raw(read_toml(root / "training" / "configs" / "head_restraint.toml"))
    assert last.fit.members == 0 and last.restraint.photos and last.restraint.degradations == ("haze", "rain", "snow")
