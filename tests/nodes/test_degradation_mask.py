"""Degradation Mask over a stand-in host, with a tiny random network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch

from mofe_restore.model.guidance import Guidance
from mofe_restore.tests.nodes.standins import Host, run

pytestmark = pytest.mark.field


def test_row8_a_mask_per_degradation_in_the_images_size(
    nodes: ModuleType, restorer: Any, make_guidance: Callable[..., Guidance], host: Host
) -> None:
    image = torch.rand(2, 50, 70, 4)
    guidance = replace(make_guidance(2), scores=torch.full((2, 7), 0.8))
    output = run(nodes.DegradationMask, restorer=restorer, image=image, guidance=guidance, degradation="haze")
    (mask,) = output.args
    assert mask.shape == (2, 50, 70) and mask.dtype == torch.float32
    assert mask.min() >= 0 and mask.max() <= 0.8
    assert output.ui.image.shape == (1, 50, 70, 3)
    assert host.texts[-1][0].startswith("haze: up to ") and "cells of 16 x 16 px" in host.texts[-1][0]
    assert host.progress[-1] == (2, 2)
    assert [patcher for patcher, _ in host.loaded] == [restorer.patcher]


def test_row8_the_mask_can_be_chained_into_restore(
    nodes: ModuleType, restorer: Any, make_guidance: Callable[..., Guidance]
) -> None:
    image, guidance = torch.rand(1, 48, 48, 3), replace(make_guidance(), scores=torch.full((1, 7), 0.8))
    given = {"restorer": restorer, "image": image, "guidance": guidance}
    (mask,) = run(nodes.DegradationMask, **given, degradation="low_light").args
    result = run(nodes.Restore, **given, mask=mask, strength=1.0, tile_size=0).args[0]
    assert result.shape == image.shape
