"""How a process that goes on and on is told to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

NUMBERS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def until_told() -> Iterator[threading.Event]:
    """Yield what SIGTERM and Ctrl-C set inside the block, also where a shell ignores the latter.

    Of the main thread only, as Python has it.
    """
    told = threading.Event()
    before = {number: signal.signal(number, lambda *_: told.set()) for number in NUMBERS}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
