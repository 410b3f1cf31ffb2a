"""Signals that ask a run to stop."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)


@contextmanager
def stop_signals(ask_to_stop: Callable[[], None]) -> Iterator[None]:
    """Call `ask_to_stop` at SIGTERM and SIGINT; a second SIGINT interrupts at once."""
    previous: dict[int, Any] = {}

    def handle(number: int, frame: Any) -> None:
        ask_to_stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        for number in (int(signal.SIGTERM), int(signal.SIGINT)):
            previous[number] = signal.signal(number, handle)
    except ValueError:  # not in the main thread: no signals arrive here
        log.debug("signals are not handled outside the main thread")
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
