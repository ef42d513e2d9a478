"""Tell the parent process how far the job is, and that it is alive.

One JSON object a line on standard output: `{"progress": {…}}` or `{"heartbeat": true}`. Libraries
print to the same stream, some without ending their line; so every message starts with a line break
and is written in one call, which a pipe keeps together.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from greenlight.core.types import JsonDict
from greenlight.quantize.jobs import Progress

HEARTBEAT_S = 5.0
STDOUT = 1


def report(stage: str, *, done: int, total: int) -> None:
    """Say that `done` of `total` steps of `stage` are finished."""
    _send({"progress": Progress(stage=stage, done=done, total=total).model_dump()})


@contextmanager
def heartbeat(*, every_s: float = HEARTBEAT_S) -> Iterator[None]:
    """Send a sign of life every few seconds while the block runs.

    The thread needs the interpreter's lock, so a process that is stopped, swapped out or stuck in
    native code that holds the lock sends nothing.
    """
    finished = threading.Event()

    def beat() -> None:
        while not finished.wait(every_s):
            _send({"heartbeat": True})

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def _send(message: JsonDict) -> None:
    os.write(STDOUT, f"\n{json.dumps(message)}\n".encode())
