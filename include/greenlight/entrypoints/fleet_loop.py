"""What the loops of fleets share: look again and again, and say what is new."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger(__name__)


class Loop(Protocol):
    """See `scaling_slots.SlotLoop` and `aws_loop.AwsLoop`."""

    def run(
        self,
        *,
        every_s: float,
        stop: threading.Event,
        looked: Callable[[], None] = lambda: None,
    ) -> None:
        """Look again and again until `stop` is set. What can't be done now is done later.

        `looked`: told after each look, also one that found that nothing can be done.
        """


def keep_looking(
    look: Callable[[], tuple[str, int]],
    *,
    fleet: str,
    every_s: float,
    stop: threading.Event,
    looked: Callable[[], None],
) -> None:
    """Call `look` until `stop` is set. It returns what there is to say, if anything, and a level.

    What was said last is not said again.
    """
    said = ""
    while not stop.is_set():
        told, level = look()
        if told and told != said:
            log.log(level, "fleet %s: %s", fleet, told)
            said = told
        looked()
        stop.wait(every_s)
