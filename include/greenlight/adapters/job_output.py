"""What an ML job prints, line by line: progress, its own log records, and libraries' chatter."""

from __future__ import annotations

import json
import logging
import re
from collections import deque

from greenlight.core.types import JsonDict
from greenlight.quantize.jobs import Job, Progress
from greenlight.quantize.ports import OnProgress

log = logging.getLogger(__name__)

KEPT_LINES = 12
LONGEST_LINE = 2000
LOG_EVERY = 0.1
"""Progress is logged at each tenth of a stage."""

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
OURS = "greenlight"


class JobOutput:
    """Takes a child's output in chunks and passes each whole line to where it belongs.

    Progress goes to the listener and, at each tenth, to the log; log records of our own code go to
    the log under their level; the rest (libraries, progress bars) is logged for debugging only, and
    its last lines are kept to explain a death.
    """

    def __init__(self, job: Job, on_progress: OnProgress | None) -> None:
        self._job = job
        self._on_progress = on_progress
        self._partial = b""
        self._last: deque[str] = deque(maxlen=KEPT_LINES)
        self._progress: Progress | None = None
        self._logged: tuple[str, int] | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. A carriage return ends a line too: progress bars never do else."""
        *lines, self._partial = re.split(rb"[\r\n]+", self._partial + chunk)
        for line in lines:
            self._take(line)
        self._partial = self._partial[-LONGEST_LINE:]

    def finish(self) -> None:
        """Take what the child left unfinished."""
        self._take(self._partial)
        self._partial = b""

    def last_lines(self) -> str:
        """Return the last lines of chatter and errors, in order."""
        return " | ".join(self._last)

    def progress(self) -> str:
        """Return how far the job was, as the end of a sentence."""
        if self._progress is None:
            return ""
        return f", at {self._progress.stage} {self._progress.done} of {self._progress.total}"

    def _take(self, raw: bytes) -> None:
        line = CONTROL.sub("", raw.decode(errors="replace")).strip()
        if not line:
            return
        message = _json_object(line)
        if message is None:
            self._chatter(line)
        elif "progress" in message:
            self._report(Progress.model_validate(message["progress"]))
        elif "message" in message:
            self._record(message)

    def _report(self, progress: Progress) -> None:
        self._progress = progress
        if self._on_progress is not None:
            self._on_progress(progress)
        step = int(progress.done / max(progress.total, 1) / LOG_EVERY)
        if (progress.stage, step) != self._logged:
            self._logged = (progress.stage, step)
            log.info("ML job %s: %s %d of %d", self._job, *progress.model_dump().values())

    def _record(self, message: JsonDict) -> None:
        """Log a record of the child; libraries' own records are chatter unless they are errors."""
        level = logging.getLevelNamesMapping().get(str(message.get("log.level", "")).upper(), 0)
        event = str(message["message"])
        if not str(message.get("log.logger", "")).startswith(OURS) and level < logging.ERROR:
            self._chatter(event)
            return
        trace = message.get("error.stack_trace")
        self._last.append(event)
        log.log(level, "ML job %s: %s%s", self._job, event, f"\n{trace}" if trace else "")

    def _chatter(self, line: str) -> None:
        self._last.append(line[:LONGEST_LINE])
        log.debug("ML job %s: %s", self._job, line)


def _json_object(line: str) -> JsonDict | None:
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
