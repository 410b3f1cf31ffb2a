"""Data types by name, and what stays in full precision on every device."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mofe_restore.model.guidance import Conditioning
from mofe_restore.model.precision import DTYPES, dtype_from_name, full_precision, native_dtype, resolve_dtype
from mofe_restore.model.restorer.network import Restorer
from mofe_restore.model.restorer.thumbnail_branches import Position


def test_every_name_has_its_type_and_others_are_refused_in_words() -> None:
    assert [dtype_from_name(name) for name in DTYPES] == [torch.float32, torch.bfloat16, torch.float16]
    with pytest.raises(ValueError, match="Precision 'fp8' is not known: choose one of auto, fp32, bf16, fp16"):
        dtype_from_name("fp8")


def test_auto_is_what_the_device_computes_in() -> None:
    cpu = torch.device("cpu")
    assert resolve_dtype("auto", cpu) == native_dtype(cpu)
    assert resolve_dtype("fp16", cpu) == torch.float16


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), torch.float32), ((8, 6), torch.bfloat16)])
def test_a_gpu_that_only_emulates_bf16_computes_in_fp32(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert native_dtype(torch.device("cuda")) == dtype


def test_full_precision_leaves_autocast_and_comes_back_to_it() -> None:
    one = torch.rand(4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        with full_precision(one.device):
            assert (one @ one).dtype == torch.float32
        assert (one @ one).dtype == torch.bfloat16


@pytest.mark.parametrize("available", [True, False])
def test_on_a_device_without_autocast_the_network_does_not_ask_for_it(
    restorer: Restorer, monkeypatch: pytest.MonkeyPatch, available: bool
) -> None:
    def autocast(*_: Any, **__: Any) -> None:
        raise RuntimeError("unsupported autocast device_type")  # DirectML says that it has it, and fails

    monkeypatch.setattr(torch, "autocast", autocast)
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda device_type: available)
    conditioning = Conditioning(torch.randn(1, 5, 16), torch.randn(1, 16))
    crop, thumbnail = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        restored, _ = restorer(crop, Position.of(0, 0, 32, 32), thumbnail, conditioning)
    assert bool(restored.isfinite().all())
