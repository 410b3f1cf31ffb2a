"""Files from strangers: each is read or refused in one sentence, takes no memory that it does not hold, and no network.

Path tricks in the names of models are in tests/nodes/test_model_paths.py.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from mofe_restore.cli.manifest import read_manifest
from mofe_restore.model.errors import CommandError, ImageFileError, MllmError, TrainingError, WeightFileError
from mofe_restore.model.image_files import read_image
from mofe_restore.model.mllm import loading as mllm_loading
from mofe_restore.model.restorer import loading as restorer_loading
from mofe_restore.model.restorer.loading import load_restorer
from mofe_restore.model.weights import METADATA_KEY, read_card
from mofe_restore.tests.cli.calls import noise, save
from mofe_restore.tests.factories import make_card, write_restorer
from mofe_restore.training.engine.config import read_toml
from mofe_restore.training.restorer.config import RestorerRun

pytestmark = pytest.mark.field

few = settings(
    max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

numbers = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.sampled_from([0, -1, 2**31, 2**63, 10**9, True]))
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), numbers, st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_restorer(tmp_path_factory.mktemp("weights") / "tiny.safetensors").read_bytes()


def refused_or_read(read: Callable[[Path], object], path: Path, error: type[Exception]) -> None:
    """One sentence, or no complaint at all; any other error fails the test."""
    try:
        read(path)
    except error as refusal:
        assert str(path) in str(refusal) and str(refusal).endswith(".")


def write_card(path: Path, card: object, tensors: dict[str, torch.Tensor] | None = None) -> Path:
    text = card if isinstance(card, str) else json.dumps(card)
    save_file(tensors or {"a": torch.zeros(4)}, path, metadata={METADATA_KEY: text})
    return path


@few
@given(
    changes=st.lists(st.tuples(st.integers(0, 6000), st.binary(min_size=1, max_size=9)), max_size=4),
    length=st.none() | st.integers(0, 2**64 - 1),
    end=st.none() | st.integers(0, 9000),
)
def test_field23_row8_a_damaged_weight_file_is_refused(
    weights: bytes, tmp_path: Path, changes: list[tuple[int, bytes]], length: int | None, end: int | None
) -> None:
    data = bytearray(weights)
    for at, part in changes:
        data[at : at + len(part)] = part
    if length is not None:
        data[:8] = struct.pack("<Q", length)
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(bytes(data[:end]))
    refused_or_read(load_restorer, path, WeightFileError)


@few
@given(
    header=st.dictionaries(
        st.text(max_size=6) | st.just("__metadata__"),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "BF16", "I64", "F8_E4M3", "BOOL", "F128", ""]),
                "shape": st.lists(numbers, max_size=4),
                "data_offsets": st.lists(numbers, max_size=3),
            }
        )
        | values,
        max_size=3,
    )
)
def test_field23_row8_a_made_up_header_is_refused(tmp_path: Path, header: dict[str, Any]) -> None:
    text = json.dumps(header).encode()
    path = tmp_path / "header.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(64))
    refused_or_read(load_restorer, path, WeightFileError)


@few
@given(
    field=st.sampled_from([*vars(make_card()), "format_version", "unknown"]),
    value=values,
    size=st.sampled_from(sorted(make_card().architecture)),
    inner=values,
)
def test_field23_row8_a_made_up_card_is_refused(
    tmp_path: Path, field: str, value: object, size: str, inner: object
) -> None:
    card = json.loads(make_card().to_json())
    card["architecture"][size] = inner
    refused_or_read(load_restorer, write_card(tmp_path / "a.safetensors", card), WeightFileError)
    card[field] = value
    refused_or_read(read_card, write_card(tmp_path / "b.safetensors", card), WeightFileError)


@pytest.mark.parametrize(
    "sizes",
    [
        {"guidance_width": 10**9},
        {"widths": [10**6, 8, 16, 16]},
        {"widths": [-8, 8, 16, 16]},
        {"global_widths": [10**6, 8, 8, 8]},
        {"vector_width": 10**8},
        {"experts": 10**6},
        {"window": 10**5},
        {"expansion": 10**9},
        {"global_blocks": 10**9},
        {"extra_tone_blocks": 10**9},
        {"tone_statistics_width": 10**9},
    ],
    ids=lambda sizes: "-".join(f"{name} {value}" for name, value in sizes.items()),
)
def test_field23_row8_a_card_cannot_ask_for_memory(
    sizes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = restorer_loading.read_weights(write_restorer(tmp_path / "tiny.safetensors"), "restorer")[0]
    card = json.loads(make_card().to_json())
    card["architecture"] |= sizes
    path = write_card(tmp_path / "large.safetensors", card, state)
    monkeypatch.setattr(restorer_loading.Restorer, "__init__", lambda *_: pytest.fail("memory was taken"))
    with pytest.raises(WeightFileError, match="architecture this version cannot build"):
        load_restorer(path)


@pytest.mark.parametrize("sizes", [{"width": 10**9}, {"width": 16, "hidden": 10**9}, {"width": -1}, {"width": "wide"}])
def test_field23_row8_the_card_of_a_head_cannot_ask_for_memory(
    sizes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = json.loads(make_card().to_json()) | {"kind": "mllm_head", "architecture": sizes, "mllm_identity": ""}
    write_card(tmp_path / mllm_loading.HEAD_FILE, card, {"read.weight": torch.zeros(23, 16)})
    monkeypatch.setattr(mllm_loading, "DegradationHead", lambda *_: pytest.fail("memory was taken"))
    with pytest.raises(MllmError, match="does not hold a degradation head"):
        mllm_loading._read_head(tmp_path, "any")


def test_a_card_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    path = write_card(tmp_path / "deep.safetensors", '{"kind": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(WeightFileError, match="card that cannot be read"):
        read_card(path)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(chunks)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def tiff(width: int, height: int, bits: int) -> bytes:
    """A compressed TIFF of a few bytes that says it is this large."""
    data = zlib.compress(bytes(1000))
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, bits), (259, 3, 1, 8), (262, 3, 1, 1)]
    entries += [(273, 4, 1, 8 + 2 + 12 * 8 + 4), (278, 4, 1, height), (279, 4, 1, len(data))]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + table + bytes(4) + data


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("wide.png", png(100_000, 100_000)),
        ("text.png", png(32, 32, *[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(60_000_000)))] * 3)),
        ("profile.png", png(32, 32, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(200_000_000))))),
        ("grey.tif", tiff(200_000, 200_000, 8)),
        ("deep.tif", tiff(200_000, 200_000, 16)),
        ("wide.gif", b"GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x08\x00;"),
        ("wide.bmp", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 10**6, 10**6, 1, 24, 0, 0, 0, 0, 0, 0)),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_field23_row8_a_decompression_bomb_costs_a_sentence(name: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(ImageFileError) as refusal:
        read_image(path)
    assert name in str(refusal.value)


@few
@given(
    data=st.binary(max_size=200),
    head=st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"GIF89a", b"BM"]),
)
def test_field23_row8_what_only_begins_like_an_image_is_refused(tmp_path: Path, head: bytes, data: bytes) -> None:
    path = tmp_path / "image.bin"
    path.write_bytes(head + data)
    refused_or_read(read_image, path, ImageFileError)


def run_of(path: Path) -> object:
    return RestorerRun.from_raw(read_toml(path))


@few
@given(text=st.text(max_size=60) | values.map(lambda value: f"[loop]\nsteps = {json.dumps(value)}\noutput = 'a'"))
def test_field23_row8_a_hostile_recipe_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(TrainingError) as refusal:
        run_of(path)
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 20_000, "a = " + "{b=" * 20_000, "a." * 20_000 + "b = 1", "a = 0x" + "f" * 9**5]
)
def test_field23_row8_a_recipe_that_is_nested_too_deeply_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(TrainingError):
        run_of(path)


ENTRY = {
    **dict.fromkeys(("file", "options", "note"), ""),
    **dict.fromkeys(("digest", "description", "scores", "psnr", "error")),
    "output": "a.png",
    "seconds": 1.0,
}


@few
@given(
    lines=st.lists(
        st.binary(max_size=20)
        | values.map(lambda value: json.dumps(value).encode())
        | st.tuples(st.sampled_from(sorted(ENTRY)), values).map(lambda pair: json.dumps(ENTRY | dict([pair])).encode()),
        max_size=4,
    )
)
def test_field23_row8_a_hostile_manifest_is_refused(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(b"\n".join([json.dumps(ENTRY).encode(), *lines]))
    try:
        entries = read_manifest(path)
    except CommandError as refusal:
        assert str(path) in str(refusal)
    else:
        assert all(isinstance(name, str) and isinstance(entry.options, str) for name, entry in entries.items())


def test_a_manifest_that_is_nested_too_deeply_is_no_manifest(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text("[" * 100_000 + "\n")
    with pytest.raises(CommandError, match="is no manifest"):
        read_manifest(path)


WATCHED = """
import sys
seen = []
sys.addaudithook(lambda event, args: seen.append((event, args)) if event in (
    "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto") else None)
from mofe_restore.cli.main import main
status = main(sys.argv[1:])
assert not seen, seen
sys.exit(status)
"""


@pytest.mark.weights
def test_field23_row8_no_socket_is_opened(tmp_path: Path, root: Path) -> None:
    photo = save(tmp_path / "in.png", noise(32, 32, 3))
    words = ["restore", photo, "-o", tmp_path / "out", "--report", tmp_path / "a.html", "--json", tmp_path / "a.json"]
    environment = {name: value for name, value in os.environ.items() if "OFFLINE" not in name}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", WATCHED, *map(str, words)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert np.asarray(read_image(tmp_path / "out" / "in.png").pixels).shape == (1, 3, 32, 32)
