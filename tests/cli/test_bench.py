"""`mofe bench` measures both precisions, and memory that does not grow with a video."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from mofe_restore.cli.bench import SEEN
from mofe_restore.cli.memory_probe import held_bytes, run_apart
from mofe_restore.model.vocabulary import CAMERA_FAULTS
from mofe_restore.tests.cli.calls import a_hundred_megabytes, run


@pytest.mark.slow
def test_bench_prints_times_and_memory(
    restorer: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", str(2**20))  # glibc gives back what is freed, instead of keeping some
    for _ in range(3):  # what the allocator keeps of freed memory varies, what is held on to comes back every time
        assert run("bench", "--runs", 1, "--frames", 30, "--no-large", "--restorer", restorer) == 0
        printed = capsys.readouterr().out
        assert "| restore, blur | fp32 |" in printed and "| restore, JPEG | bf16 |" in printed
        assert "| describe | bf16 |" in printed
        assert re.search(r"activations of a tile.*\n.*\n\| fp32 \| \d+ \| \d+ \| \d+ \|\n\| bf16 \|", printed)
        beside = [
            int(re.search(rf"\| {count} frames of 640 x 360[^|]*\|[^|]*\|[^|]*\|[^|]*\| (\d+) MiB", printed)[1])
            for count in (10, 30)
        ]
        if beside[1] < beside[0] + 10:
            break
    assert beside[1] < beside[0] + 10, "twenty frames more are 53 MiB of images, and as much again of results"


def test_each_fault_of_a_camera_is_timed_alone() -> None:
    """Their costs differ: blur is deconvolved, and a JPEG that is to be undone alone has weights of its own."""
    assert {(fault,) for fault in CAMERA_FAULTS} <= set(SEEN.values())


def test_work_is_measured_in_a_process_of_its_own() -> None:
    ballast = torch.ones(100, 1024, 1024)
    measured = run_apart(a_hundred_megabytes)
    assert measured.beside == pytest.approx(measured.images, rel=0.05)
    assert measured.beside < measured.process < held_bytes() + ballast.nbytes
    assert held_bytes() > ballast.nbytes
