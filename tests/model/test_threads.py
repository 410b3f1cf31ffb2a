"""Parts of an image are computed at once, each on one thread, and leave torch as it was."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from mofe_restore.model.inference.plan import plan_restoration
from mofe_restore.model.restorer import blocks
from mofe_restore.model.restorer.blocks import strip_rows
from mofe_restore.model.threads import limited_threads, parts_at_once, run_parts, workers
from mofe_restore.tests.factories import make_restorer

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_parts_run_at_once_with_one_thread_each_in_the_callers_modes() -> None:
    together, seen = threading.Barrier(3, timeout=10), []

    def part() -> None:
        together.wait()  # never ends unless three parts run at once
        modes = torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
        seen.append((torch.get_num_threads(), *modes))

    with parts_at_once(CPU), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert workers() == 3
        run_parts([part] * 3)
    assert seen == [(1, True, True, torch.bfloat16)] * 3
    assert workers() == 1 and torch.get_num_threads() == 3


def test_without_several_threads_or_on_a_gpu_parts_run_one_by_one() -> None:
    order: list[int] = []
    with parts_at_once(torch.device("cuda")):
        assert workers() == 1 and torch.get_num_threads() == 3
    torch.set_num_threads(1)
    with parts_at_once(CPU):
        run_parts([lambda: order.append(0), lambda: order.append(1)])
    assert order == [0, 1]


def test_the_first_error_ends_the_work_and_nothing_goes_on_behind_it() -> None:
    done: list[int] = []

    def fail() -> None:
        raise ValueError("broken")

    def slow() -> None:
        time.sleep(0.05)
        done.append(1)

    with parts_at_once(CPU), pytest.raises(ValueError, match="broken"):
        run_parts([slow, slow, fail, *[slow] * 50])
    count = len(done)
    assert count <= 4
    time.sleep(0.06)
    assert len(done) == count and torch.get_num_threads() == 3


def test_limits_of_two_threads_of_the_program_leave_both_as_they_were() -> None:
    inside, finish, after = threading.Event(), threading.Event(), []

    def first() -> None:
        with limited_threads():
            inside.set()
            finish.wait(10)
        after.append(torch.get_num_threads())

    def second() -> None:
        inside.wait(10)
        with limited_threads() as unlimited:
            after.append(unlimited)
        finish.set()
        after.append(torch.get_num_threads())

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert after == [3, 3, 3]


def test_an_image_is_restored_alike_by_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, image = make_restorer(), torch.rand(1, 3, 256, 192)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    monkeypatch.setattr(blocks, "STRIP_VALUES", 2**12)
    at_once = plan_restoration(network, image).run()
    torch.set_num_threads(1)
    one_by_one = plan_restoration(network, image).run()
    assert not torch.equal(at_once.image, image)
    assert (at_once.image - one_by_one.image).abs().max() < 1e-5
    for ours, theirs in zip(at_once.routing.frames[0], one_by_one.routing.frames[0], strict=True):
        assert torch.allclose(ours.map, theirs.map, atol=1e-5)


def test_every_thread_gets_a_strip() -> None:
    with torch.inference_mode(), parts_at_once(CPU):
        assert strip_rows(torch.zeros(1, 30, 8, 8)) == 10
        assert strip_rows(torch.zeros(1, 32, 8, 8), 4, 8) == 16, "windows are not cut"
