"""Threads on a CPU: several parts of an image at once, each on one thread, instead of several threads per operation.

Torch shares each operation among all cores and waits for the last of them at its end. A restoration has thousands of
operations of about a millisecond: when another program takes one of the cores, each of them waits for that program.
A part of an image is far more work, and a thread that gets no core takes no part, so a busy machine costs what its
share costs, and an idle one saves the waiting.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

MAX_WORKERS = 8
"""Number of parts at once; beyond it, each of them uses several threads, since parts have a margin that is computed
twice."""


class _State(threading.local):
    """What holds in one thread of the program."""

    pool: ThreadPoolExecutor | None = None
    workers = 1
    limits = 0


_state = _State()
_lock = threading.Lock()
_limiting = 0
_unlimited = 1


@contextmanager
def limited_threads(limit: int = 1) -> Iterator[int]:
    """Let operations that this thread of the program starts use so many threads at most, as long as the context lasts.

    Worth it for networks whose operations are small.

    Yields:
        The number of threads that torch uses without a limit.
    """
    global _limiting, _unlimited
    with _lock:
        # a thread that computes for the first time takes over the limit of another: only the first one knows better
        if not _limiting:
            _unlimited = torch.get_num_threads()
        _limiting += 1
        unlimited = _unlimited
    before = torch.get_num_threads() if _state.limits else unlimited
    _state.limits += 1
    torch.set_num_threads(min(limit, before))
    try:
        yield unlimited
    finally:
        _state.limits -= 1
        torch.set_num_threads(before)
        with _lock:
            _limiting -= 1


@contextmanager
def parts_at_once(device: torch.device) -> Iterator[None]:
    """Let `run_parts` use all cores as long as the context lasts, and single operations no longer.

    Nothing changes on devices other than the CPU, where torch has one thread, and within such a context.
    """
    if device.type != "cpu" or _state.pool is not None:
        yield
        return
    threads = torch.get_num_threads()
    workers = min(threads, MAX_WORKERS)
    if workers == 1:
        yield
        return
    each = threads // workers
    with limited_threads(each), ThreadPoolExecutor(workers - 1, "mofe", torch.set_num_threads, (each,)) as pool:
        _state.pool, _state.workers = pool, workers
        try:
            yield
        finally:
            _state.pool, _state.workers = None, 1


def workers() -> int:
    """Return how many parts `run_parts` does at once: 1 outside of `parts_at_once`."""
    return _state.workers


def run_parts(parts: Sequence[Callable[[], object]]) -> None:
    """Do all parts of some work, in any order, several at once within `parts_at_once`.

    Each runs in the caller's inference mode and under its autocast. The first error ends the work, when the parts that
    are being done are done.
    """
    pool = _state.pool
    if pool is None or len(parts) == 1:
        for part in parts:
            part()
        return
    left = deque(parts)
    inference, autocast = torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
    precision = torch.get_autocast_dtype("cpu")

    def work() -> None:
        try:
            while left:
                try:
                    part = left.popleft()
                except IndexError:  # another thread was quicker
                    return
                part()
        except BaseException:
            left.clear()
            raise

    def help_out() -> None:
        with torch.inference_mode(inference), torch.autocast("cpu", precision, autocast):
            work()

    helpers = [pool.submit(help_out) for _ in range(min(_state.workers, len(parts)) - 1)]
    try:
        work()
    finally:
        # those that got no core so far are not waited for
        started = [helper for helper in helpers if not helper.cancel()]
        errors = [error for error in (helper.exception() for helper in started) if error is not None]
    if errors:
        raise errors[0]
