"""The estimate of the activations' memory, against what is really allocated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from mofe_restore.footprint import allocated
from mofe_restore.model import blocks
from mofe_restore.model.memory import bytes_per_pixel
from mofe_restore.model.pipeline import restore_picture, working_bytes
from mofe_restore.model.restorer import Restorer, RestorerConfig

SHALLOW = RestorerConfig(guidance_width=16, encoder_blocks=(1, 1, 1, 1), decoder_blocks=(1, 1, 1), global_blocks=1)
"""The shipped widths; more blocks one after the other take no more memory."""


def peak_bytes(work: Callable[[], object]) -> int:
    return allocated(work, torch.device("cpu"))


@pytest.fixture
def in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """No strips: as on a GPU, for which the estimate is made."""
    monkeypatch.setattr(blocks, "STRIP_VALUES", 2**60)


@pytest.mark.usefixtures("in_one_go")
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
    picture = torch.rand(1, 3, 128, 192)
    peak = peak_bytes(lambda: restore_picture(network, picture, None))
    assert peak < working_bytes(network, 128, 192) < 1.25 * peak


def test_strips_take_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    network, picture = Restorer(SHALLOW).eval(), torch.rand(1, 3, 512, 512)
    in_strips = peak_bytes(lambda: restore_picture(network, picture, None))
    monkeypatch.setattr(blocks, "STRIP_VALUES", 2**60)
    assert in_strips < 0.7 * peak_bytes(lambda: restore_picture(network, picture, None))


@pytest.mark.usefixtures("in_one_go")
def test_half_precision_takes_less_memory_and_the_estimate_knows() -> None:
    network = Restorer(SHALLOW).eval()
    picture = torch.rand(1, 3, 64, 96)
    estimate = working_bytes(network, 64, 96, precision=torch.bfloat16)
    peak = peak_bytes(lambda: restore_picture(network, picture, None, precision=torch.bfloat16))
    assert 0.7 * peak < estimate < 1.25 * peak  # so small a picture does not hide the weights' copies in bf16
    assert bytes_per_pixel(SHALLOW, torch.bfloat16) < 0.6 * bytes_per_pixel(SHALLOW)


def test_memory_does_not_grow_with_the_number_of_pictures(restorer: Restorer) -> None:
    def beside_the_pictures(frames: int) -> int:
        pictures = torch.rand(frames, 3, 96, 96)
        return peak_bytes(lambda: restore_picture(restorer, pictures, None, into=result[:frames]))

    result = torch.empty(12, 3, 96, 96)
    few, many = beside_the_pictures(2), beside_the_pictures(12)
    routing_of_ten = 10 * 4 * (6 * 6 + 3 * 3) * 4
    assert many <= few + 2 * routing_of_ten


def test_memory_does_not_grow_with_the_size_of_a_picture_in_tiles(restorer: Restorer) -> None:
    def beside_the_picture(side: int) -> int:
        picture, mask, result = torch.rand(1, 3, side, side), torch.zeros(1, side, side), torch.empty(1, 3, side, side)
        mask[:, 130:250, 130:180] = 1  # two tiles, as the others would be
        return peak_bytes(lambda: restore_picture(restorer, picture, None, tile=64, mask=mask, into=result))

    small, large = beside_the_picture(512), beside_the_picture(1024)
    copy_for_the_thumbnail = 3 * 4 * (1024**2 - 512**2)
    assert large < small + 1.1 * copy_for_the_thumbnail
