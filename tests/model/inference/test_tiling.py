"""Tiles partition the image, read enough, and stay on the grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mofe_restore.model.inference.tiling import (
    Box,
    Tile,
    cut_tiles,
    inside,
    on_grid,
    padded_box,
    read_box,
    reflected,
)


def plan_tiles(height: int, width: int, tile: int, halo: int) -> list[Tile]:
    whole = padded_box(height, width, 32)
    return cut_tiles(whole, whole, tile, halo, 32)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 700),
    width=st.integers(1, 700),
    tile=st.sampled_from([32, 64, 128, 160, 512, 1024]),
    halo=st.sampled_from([0, 32, 128]),
)
def test_cores_partition_the_padded_image_on_the_grid(height: int, width: int, tile: int, halo: int) -> None:
    tiles = plan_tiles(height, width, tile, halo)
    padded = (-(-height // 32) * 32, -(-width // 32) * 32)
    covered = torch.zeros(padded, dtype=torch.int)
    for part in tiles:
        core, read = part.core, part.read
        covered[core.top : core.bottom, core.left : core.right] += 1
        assert all(v % 32 == 0 for box in (core, read) for v in (box.top, box.left, box.height, box.width))
        assert (read.top, read.left) == (max(0, core.top - halo), max(0, core.left - halo))
        assert (read.bottom, read.right) == (min(padded[0], core.bottom + halo), min(padded[1], core.right + halo))
        assert max(core.height, core.width) <= tile
    assert bool((covered == 1).all())


def test_a_tile_as_large_as_the_image_is_the_whole_image() -> None:
    (only,) = plan_tiles(517, 389, 544, 128)
    assert only.core == only.read == Box(0, 0, 544, 416)


def test_a_part_can_be_cut_smaller_and_still_reads_beyond_itself() -> None:
    tiles = cut_tiles(Box(128, 0, 128, 128), Box(0, 0, 512, 512), 64, 32, 32)
    assert [(tile.core.top, tile.core.left) for tile in tiles] == [(128, 0), (128, 64), (192, 0), (192, 64)]
    assert tiles[0].read == Box(96, 0, 128, 96)


@pytest.mark.parametrize(("tile", "halo"), [(100, 32), (128, 20), (0, 0)])
def test_sizes_off_the_grid_are_refused(tile: int, halo: int) -> None:
    with pytest.raises(ValueError, match=str(tile)):
        plan_tiles(100, 100, tile, halo)
    with pytest.raises(ValueError, match="0 x 5 px"):
        padded_box(0, 5, 32)


@pytest.mark.parametrize(("length", "count"), [(16, 32), (17, 96), (5, 64), (2, 9), (1, 4), (64, 64)])
def test_padding_reflects_like_numpy_as_often_as_needed(length: int, count: int) -> None:
    expected = np.pad(np.arange(length), (0, count - length), mode="reflect")
    assert reflected(0, count, length).tolist() == expected.tolist()


def test_a_box_of_the_padded_image_is_read_without_building_it() -> None:
    image = torch.rand(1, 3, 40, 50)
    padded = torch.from_numpy(np.pad(image.numpy(), ((0, 0), (0, 0), (0, 24), (0, 14)), mode="reflect"))
    assert torch.equal(read_box(image, Box(32, 0, 32, 64)), padded[:, :, 32:64, 0:64])


@settings(max_examples=60, deadline=None)
@given(
    top=st.integers(0, 7).map(lambda n: 32 * n),
    left=st.integers(0, 7).map(lambda n: 32 * n),
    origin=st.tuples(st.integers(0, 7), st.integers(0, 7)),
    halo=st.sampled_from([0, 8, 104]),
)
def test_an_area_on_a_grid_holds_the_area_and_its_halo(top: int, left: int, origin: tuple[int, int], halo: int) -> None:
    whole, area = Box(0, 0, 256, 256), Box(top, left, 256 - top, 256 - left)
    larger = on_grid(area, whole, halo, 8, origin)
    assert ((larger.top - origin[0]) % 8, (larger.left - origin[1]) % 8) == (0, 0)
    assert (larger.height % 8, larger.width % 8) == (0, 0)
    assert larger.top <= max(0, area.top - halo) and larger.left <= max(0, area.left - halo)
    assert min(larger.top, larger.left) > -8 and max(larger.bottom, larger.right) < 256 + 8
    image = torch.arange(256 * 256).view(256, 256)
    assert torch.equal(inside(read_box(image, larger), larger, area), read_box(image, area))


def test_an_area_on_the_images_own_grid_is_cut_off_at_its_borders() -> None:
    whole = Box(0, 0, 256, 512)
    assert on_grid(Box(64, 0, 64, 64), whole, 32, 8, (0, 0)) == Box(32, 0, 128, 96)
    assert on_grid(whole, whole, 32, 8, (0, 0)) == whole
    assert on_grid(whole, whole, 32, 8, (3, 0)) == Box(-5, 0, 264, 512)
