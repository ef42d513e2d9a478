"""JSON logs: one object a line, with the names of the Elastic Common Schema.

Code logs through the standard library (`logging.getLogger(__name__)`), lazily; this module only
decides how a process renders what it logs: which process it is, in which trace and which run, and
without secrets (`core.redaction`). Whatever is logged stays one line.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TextIO

from structlog.contextvars import bound_contextvars, get_contextvars

from greenlight.core.redaction import HIDDEN, is_secret, redact
from greenlight.core.traces import current_trace
from greenlight.core.types import JsonDict

ECS_VERSION = "8.11.0"
LABELS = "labels."
LEVELS = ("debug", "info", "warning", "error", "critical")
OTHER = "other"
"""The level of a number that has no name."""
NOISY = ("great_expectations",)
"""Libraries that tell at length, as information, what concerns themselves only."""
_NO_LABEL = re.compile(r"[^a-z0-9_]+")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_OWN = frozenset(
    {*vars(logging.LogRecord("", 0, "", 0, "", None, None)), "message", "asctime", "taskName",
     "color_message"}
)  # fmt: skip
"""What every record has; the rest was given as `extra`. `color_message` is uvicorn's."""


class LineCounts:
    """How many lines this process has logged, by level."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, level: str) -> None:
        """Count a line."""
        self._counts[level] += 1

    def by_level(self) -> dict[str, int]:
        """Return the lines since the start; a level without any is 0."""
        return {level: self._counts[level] for level in (*LEVELS, OTHER)}


def configure_logging(
    *, service: str = "greenlight", level: int = logging.INFO, stream: TextIO | None = None
) -> LineCounts:
    """Render every log record of this process as one JSON line on `stream` (standard error).

    `service`: the process's name, as in its traces. Returns what counts the lines.
    """
    counts = LineCounts()
    handler = _Handler(stream or sys.stderr, counts=counts)
    handler.setFormatter(EcsFormatter(service))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in NOISY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    return counts


@contextmanager
def labelled(**labels: str) -> Iterator[None]:
    """Give every line that is logged inside the block a label, such as `run_id`.

    In a task of Airflow, whose own logging renders the lines, they are there too, beside the trace.
    """
    found = {f"{LABELS}{name}": value for name, value in labels.items()}
    with bound_contextvars(**found | _trace()):
        yield


class EcsFormatter(logging.Formatter):
    """One record as one line of JSON in ASCII, whatever is in it."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        found: JsonDict = {
            "@timestamp": _time(record.created),
            "log.level": level_of(record),
            "message": _clean(record.getMessage()),
            "ecs.version": ECS_VERSION,
            "log.logger": record.name,
            "process.pid": record.process,
            "service.name": self._service,
        }
        found |= _trace() | _bound() | _labels(record) | self._error(record)
        return json.dumps(found)

    def _error(self, record: logging.LogRecord) -> JsonDict:
        if not record.exc_info or record.exc_info[0] is None:
            return {}
        kind, error, _ = record.exc_info
        return {
            "error.type": kind.__name__,
            "error.message": _clean(str(error)),
            "error.stack_trace": _clean(self.formatException(record.exc_info)),
        }


class _Handler(logging.StreamHandler[TextIO]):
    """Counts what it writes, and says in a line of its own what it could not write."""

    def __init__(self, stream: TextIO, *, counts: LineCounts) -> None:
        super().__init__(stream)
        self._counts = counts

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        self._counts.add(level_of(record))
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Say that a record could not be rendered; the traceback would be many lines of no JSON."""
        _, error, _ = sys.exc_info()
        if isinstance(error, OSError | ValueError) and self.stream.closed:
            return
        broken = logging.LogRecord(
            record.name, logging.ERROR, record.pathname, record.lineno,
            "a line of %s could not be logged (%s:%d): %s",
            (record.name, record.filename, record.lineno, type(error).__name__), None,
        )  # fmt: skip
        try:
            self.stream.write(self.format(broken) + self.terminator)
        except (OSError, ValueError):
            return  # nowhere to say it


def level_of(record: logging.LogRecord) -> str:
    """Return a record's level, in lower case, from a closed set."""
    name = record.levelname.lower()
    return name if name in LEVELS else OTHER


def _trace() -> JsonDict:
    trace = current_trace()
    return {} if trace is None else {"trace.id": trace.trace_id, "span.id": trace.span_id}


def _bound() -> JsonDict:
    return {
        key: _clean(str(value)) for key, value in get_contextvars().items()
        if key.startswith(LABELS)
    }  # fmt: skip


def _labels(record: logging.LogRecord) -> JsonDict:
    """Return what was given as `extra`; Elastic's labels are words without a dot."""
    return {
        f"{LABELS}{_NO_LABEL.sub('_', key.lower())}": (
            HIDDEN if is_secret(key) else _clean(str(value))
        )
        for key, value in vars(record).items()
        if key not in _OWN
    }


def _clean(text: str) -> str:
    """Return a text that may be kept. Half of a character pair is none, to Elasticsearch."""
    return redact(_SURROGATE.sub("\ufffd", text))


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
