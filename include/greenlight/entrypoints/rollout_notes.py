"""Write looks into the journal, for whoever follows a rollout, beside the looking itself.

A database that hangs must not hold up who looks: a breach goes back within a look, and a lost lease
is noticed. So a look is written by a thread of its own, and left out while the last one isn't
through.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from greenlight.core.errors import GreenlightError
from greenlight.core.types import JsonDict
from greenlight.deploy.journal import Step

if TYPE_CHECKING:
    from greenlight.deploy.analysis import Analysis
    from greenlight.entrypoints.rollout_hold import Hold

log = logging.getLogger(__name__)

EVERY_S = 10.0


class Notes:
    """The looks of one step. `every_s`: at least so far apart, in seconds of the step."""

    def __init__(self, hold: Hold, *, every_s: float = EVERY_S) -> None:
        self._hold, self._every_s = hold, every_s
        self._noted_s = 0.0
        self._writing: threading.Thread | None = None

    def offer(self, analysis: Analysis, *, step: Step, subject: str, where: str) -> None:
        """Write a look when one is due; never waits, never raises."""
        is_busy = self._writing is not None and self._writing.is_alive()
        if is_busy or analysis.elapsed_s - self._noted_s < self._every_s:
            return
        self._noted_s = analysis.elapsed_s
        look: JsonDict = {"where": where, "look": analysis.to_json()}
        self._writing = threading.Thread(
            target=self._write, args=(step, subject, look), name="note", daemon=True
        )
        self._writing.start()

    def _write(self, step: Step, subject: str, look: JsonDict) -> None:
        try:
            self._hold.note(step, subject, look)
        except GreenlightError as error:
            log.warning("%s: the look is not written down: %s", look["where"], error)
