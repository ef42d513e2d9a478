"""Waiting for what other processes and threads do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_for(
    condition: Callable[[], Found],
    *,
    seconds: float = 10,
    every_s: float = 0.02,
    why: Callable[[], object] = str,
) -> Found:
    """Return what `condition` returns, once that is true.

    Raises:
        AssertionError: it is not so after `seconds`; with what `why` knows then.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it is not so after {seconds:g} s: {why()}"
        time.sleep(every_s)
    return found
