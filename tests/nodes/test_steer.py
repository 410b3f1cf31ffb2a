"""Steer Restoration over a stand-in host."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

from mofe_restore.model.guidance import Guidance
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.tests.nodes.standins import run

ALL = dict.fromkeys(DEGRADATIONS, 1.0)


def test_the_sliders_are_the_degradations(nodes: ModuleType) -> None:
    assert tuple(importlib.import_module("mofe_restore.nodes.sliders").SLIDERS) == DEGRADATIONS


def test_the_sliders_become_wishes(nodes: ModuleType, make_guidance: Callable[..., Guidance]) -> None:
    given = make_guidance(2)
    (steered,) = run(nodes.SteerRestoration, guidance=given, **{**ALL, "haze": 0.0, "noise": 0.25}).args
    assert steered.removal.tolist() == [[1.0, 0.0, 1.0, 1.0, 0.25, 1.0, 1.0]] * 2
    assert torch.equal(steered.pooled, given.pooled)
    assert given.removal is None


def test_all_sliders_at_one_restore_as_without_the_node(
    nodes: ModuleType, restorer: Any, make_guidance: Callable[..., Guidance]
) -> None:
    torch.nn.init.normal_(restorer.network.guidance.steer.weight, std=0.2)
    image, plain = torch.rand(1, 40, 56, 3), make_guidance()

    def restore(guidance: Guidance) -> torch.Tensor:
        settings = {"restorer": restorer, "image": image, "strength": 1.0, "tile_size": 0, "guidance": guidance}
        return run(nodes.Restore, **settings).args[0]

    (neutral,) = run(nodes.SteerRestoration, guidance=plain, **ALL).args
    (keeping,) = run(nodes.SteerRestoration, guidance=plain, **{**ALL, "rain": 0.0}).args
    assert torch.equal(restore(neutral), restore(plain))
    assert not torch.equal(restore(keeping), restore(plain))


def test_strengths_are_set_whatever_was_seen(nodes: ModuleType, make_guidance: Callable[..., Guidance]) -> None:
    given = make_guidance(2)
    (told,) = run(nodes.SteerRestoration, guidance=given, **{**ALL, "haze": 0.5}, set_noise=0.4, set_rain=0.0).args
    assert told.scores[:, DEGRADATIONS.index("noise")].tolist() == pytest.approx([0.7, 0.7])
    assert told.removal.tolist() == [[1.0, 0.5, 0.0, 1.0, 1.0, 1.0, 1.0]] * 2
    assert told.severities[0].isnan().tolist() == [name not in ("noise", "rain") for name in DEGRADATIONS]
    (plain,) = run(nodes.SteerRestoration, guidance=given, **ALL).args
    assert plain.severities is None and torch.equal(plain.scores, given.scores)


def test_of_two_nodes_in_a_row_the_later_one_sets_a_strength(
    nodes: ModuleType, make_guidance: Callable[..., Guidance]
) -> None:
    rain = DEGRADATIONS.index("rain")
    (absent,) = run(nodes.SteerRestoration, guidance=make_guidance(), **ALL, set_rain=0.0).args
    (told,) = run(nodes.SteerRestoration, guidance=absent, **{**ALL, "rain": 0.5}, set_rain=0.6).args
    assert (float(absent.removal[0, rain]), float(told.removal[0, rain])) == (0.0, 0.5)
    assert bool(told.forced[0, rain]) and bool(told.reaches(1.0))
