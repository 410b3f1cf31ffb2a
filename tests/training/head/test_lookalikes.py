"""Good photographs that look degraded: which they are, what is done to them, and what they teach."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mofe_restore.model.mllm.describer import Mllm
from mofe_restore.model.mllm.loading import load_mllm
from mofe_restore.model.mllm.second_look import JUDGED
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.model.whole_image import IMAGE_STATISTICS, PREVIEW_STATISTICS
from mofe_restore.tests import factories
from mofe_restore.training.head import lookalikes
from mofe_restore.training.head.config import SecondLookData, SecondLookFit, SecondLookRun
from mofe_restore.training.head.lookalikes import draw_toned, see_dark, see_suspects, see_toned, toned
from mofe_restore.training.head.looks import Previewer


@pytest.fixture
def mllm(tiny_mllm_folder: Path) -> Mllm:
    """With a head that sees nothing, not even a fault."""
    made = load_mllm(tiny_mllm_folder)
    assert made.network.head is not None
    made.network.second_look = None
    with torch.no_grad():
        made.network.head.read.weight.zero_()
        made.network.head.read.bias[:7] = -4.0
    return made


@pytest.fixture
def previewer(tmp_path: Path) -> Previewer:
    return Previewer(factories.make_restorer(factories.MLLM_WIDTH, with_camera=True), tmp_path / "previews")


@pytest.fixture
def settings(photos: Path, tmp_path: Path) -> SecondLookRun:
    data = SecondLookData("", "", str(photos), "", "", str(tmp_path))
    return SecondLookRun(data, SecondLookFit(dark=2, toned=4, parts=3, side=90))


@pytest.fixture(autouse=True)
def noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault: the blocks of a JPEG would be measured, whatever a head says."""
    monkeypatch.setattr(lookalikes, "with_fault", lambda severities, *_: replace(severities, noise_sigma=0.05))


def sees(mllm: Mllm, name: str, logit: float) -> None:
    assert mllm.network.head is not None
    with torch.no_grad():
        mllm.network.head.read.bias[DEGRADATIONS.index(name)] = logit


def test_photographs_that_may_be_meant_dark_are_seen_with_faults(
    mllm: Mllm, previewer: Previewer, settings: SecondLookRun, tmp_path: Path
) -> None:
    clean = torch.randn(6, mllm.width)
    assert mllm.network.head is not None
    with torch.no_grad():
        mllm.network.head.read.weight[0, 0] = 1.0
        mllm.network.head.read.bias[0] = 0.0
        darkish = int((mllm.network.head(clean).presence[:, 0] > lookalikes.DARKISH).sum())
    sees(mllm, "noise", 4.0)
    (seen,) = see_dark(mllm, previewer, settings, clean, tmp_path)
    assert 0 < len(seen.first) == 2 * darkish
    assert not seen.presence.any() and bool((seen.weight == lookalikes.DARK_WEIGHT).all()), "nor dark"
    assert seen.statistics.shape == (len(seen.first), IMAGE_STATISTICS)
    assert seen.preview.shape == (len(seen.first), PREVIEW_STATISTICS)
    sees(mllm, "noise", -4.0)
    assert (tmp_path / "dark.safetensors").is_file()
    (tmp_path / "dark.safetensors").unlink()
    (seen,) = see_dark(mllm, previewer, settings, clean, tmp_path)
    assert len(seen.first) == 0, "no reason for a second look"
    assert see_dark(mllm, previewer, settings, torch.full_like(clean, -50.0), tmp_path) == []


def test_a_tone_keeps_black_and_what_is_seen(settings: SecondLookRun) -> None:
    photo = np.random.default_rng(0).random((40, 50, 3)).astype(np.float32)
    photo[:5] = 0.0
    made = [toned(photo, np.random.default_rng(seed)) for seed in range(20)]
    assert all(not each[:5].any() and each.min() >= 0 and each.max() <= 1 and each.dtype == np.float32 for each in made)
    assert len({round(float(each.mean()), 4) for each in made}) == 20
    for each in made:
        order = np.corrcoef(each[5:].mean(2).flatten(), photo[5:].mean(2).flatten())[0, 1]
        assert order > 0.9


def test_of_the_toned_photographs_half_are_degraded_and_half_are_parts(
    mllm: Mllm, previewer: Previewer, settings: SecondLookRun, tmp_path: Path
) -> None:
    photo = np.random.default_rng(0).random((60, 80, 3)).astype(np.float32)
    for index in range(4):
        made = [draw_toned(photo, 80, np.random.default_rng(seed), index) for seed in range(20)]
        assert all(bool(each.truth.presence.any()) == (index > 1) for each in made)
        assert all((each.image.shape != photo.shape) == (index % 2 == 1) for each in made)
    (seen,) = see_toned(mllm, previewer, settings, tmp_path)
    assert 20 <= len(seen.first) <= 6 * 4 and torch.equal(seen.first, seen.second), "some are saved as a JPEG"
    dark = seen.presence[:, JUDGED.index("low_light")]
    assert torch.equal(seen.weight[:, JUDGED.index("low_light")], dark), "a tone may be a darker one"
    assert bool((seen.weight[:, 1:] == 1).all())


def test_only_parts_that_are_taken_for_weather_are_seen(
    mllm: Mllm,
    previewer: Previewer,
    settings: SecondLookRun,
    tmp_path: Path,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = tmp_path / "none"
    cache.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(lookalikes, "see_once", lambda *_: pytest.fail("nothing is taken for weather"))
        assert see_suspects(mllm, previewer, settings, cache) == []
    sees(mllm, "haze", 1.0)
    cache = tmp_path / "all"
    cache.mkdir()
    more = replace(settings, data=replace(settings.data, more_photos=str(photos)))
    seen, faulty = see_suspects(mllm, previewer, more, cache)
    assert len(load_file(cache / "parts.safetensors")["logit"]) == 2 * 6 * 3
    assert len(seen.first) == 2 * 6 * 3 and not len(faulty.first), "no fault is seen in those that have one"
    haze = settings.haze
    assert not seen.presence.any()
    assert seen.weight.unique(dim=0).tolist() == [[0.0, haze.parts, 1.0, 1.0]]
    sees(mllm, "noise", 4.0)
    cache = tmp_path / "faulty"
    cache.mkdir()
    seen, faulty = see_suspects(mllm, previewer, more, cache)
    assert not len(seen.first) and len(faulty.first) == 6 * 3, "those of every second photograph"
    assert faulty.weight.unique(dim=0).tolist() == [[0.0, haze.faulty_parts, 0.0, 1.0]], "streaks with noise are kept"
