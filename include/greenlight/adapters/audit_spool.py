"""`gateway.ports.AuditTrail`: records go to a file at once, and to the chain in batches.

A record survives its process, SIGKILL included, and a database that is away. The next process on
this machine ships what a dead one left. Each batch notes in its own transaction which bytes of
which file it is, so a record is in the chain once, wherever a process died.

The signed end of the log is copied into `head.json` beside the spools after every batch: a log that
ends earlier afterwards had its end cut off, or comes from a backup, and says so in a record.
"""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

from pydantic_core import to_json
from sqlalchemy.exc import SQLAlchemyError

from greenlight.adapters.audit_spool_file import SUFFIX, SpoolFile
from greenlight.core.clock import Clock
from greenlight.core.errors import GreenlightError, InputError
from greenlight.core.files import write_json
from greenlight.core.types import JsonDict
from greenlight.gateway.audit import Anchor, AuditEvent, EventName
from greenlight.gateway.stores import AuditStore, SpoolPart

log = logging.getLogger(__name__)

BATCH_BYTES = 256 * 1024
ROTATE_BYTES = 16 * 1024**2
SWEEP_S = 30.0
"""How often files of dead processes are looked for."""
WARN_S = 60.0
KNOWN = 10_000
"""Subjects of the day whose identity needs no second line."""
WITNESS = "head.json"


def read_witness(folder: Path) -> Anchor | None:
    """Return the end of the log as this machine last saw it.

    Raises:
        InputError: the file holds something else.
    """
    path = folder / WITNESS
    if not path.exists():
        return None
    try:
        return Anchor.from_json(json.loads(path.read_text()))
    except (ValueError, TypeError, InputError) as error:
        raise InputError(
            f"{path} doesn't say where the audit log ended ({error}); see what `greenlight audit "
            "verify` says without it, then remove it"
        ) from error


class AuditSpool:
    """An asynchronous context manager: spools from entry to exit. For one event loop's thread."""

    def __init__(
        self,
        folder: Path,
        store: AuditStore,
        *,
        clock: Clock,
        every_s: float,
        rotate_bytes: int = ROTATE_BYTES,
    ) -> None:
        self._folder, self._store, self._clock = folder, store, clock
        self._every_s, self._rotate_bytes = every_s, rotate_bytes
        self._full: list[SpoolFile] = []
        self._adopted: list[SpoolFile] = []
        self._shipped: dict[str, int] = {}
        self._known: dict[str, int] = {}
        self._last: Anchor | None = None
        self._swept = self._warned = float("-inf")
        self._failing = False

    async def __aenter__(self) -> AuditSpool:
        """Open a file of our own, and begin to ship.

        Raises:
            InputError: the witness is no anchor: somebody wrote to it.
        """
        self._last = read_witness(self._folder)
        self._file = SpoolFile.create(self._folder)
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="audit spool")
        self._task.add_done_callback(_tell_the_end)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ship what can be shipped; the rest stays for the next process."""
        self._stop.set()
        await asyncio.wait([self._task])
        await asyncio.to_thread(self._close)

    def record(self, event: str, detail: JsonDict) -> None:
        """Keep one. `subject` and `tenant` in the detail become the record's own.

        Raises:
            InputError: it is no record: a bug of the caller.
            ResourceError: the disk is full; the record is not kept.
        """
        rest = dict(detail)
        subject, tenant = rest.pop("subject", None), rest.pop("tenant", None)
        happened = AuditEvent(
            at=self._clock.now(), event=event, subject=subject, tenant=tenant, detail=rest
        )
        self._write(happened.to_json())

    def identify(self, subject: str, identity: str) -> None:
        """Keep who a subject is, once a day.

        Raises:
            ResourceError: the disk is full.
        """
        today = self._clock.now().toordinal()
        if self._known.get(subject) == today:
            return
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._write({"subject": subject, "identity": identity})
        self._known[subject] = today

    @property
    def waiting_bytes(self) -> int:
        """What is in files and not in the chain yet."""
        return sum(file.size - self._shipped.get(file.name, 0) for file in self._files())

    def _write(self, line: JsonDict) -> None:
        self._file.write(to_json(line) + b"\n")

    async def _run(self) -> None:
        while not self._stop.is_set():
            if self._file.size >= self._rotate_bytes:
                self._begin_another()  # here, where no record can come between
            await asyncio.to_thread(self._ship_all)
            try:
                await asyncio.wait_for(self._stop.wait(), self._every_s)
            except TimeoutError:
                continue

    def _begin_another(self) -> None:
        try:
            fresh = SpoolFile.create(self._folder)
        except OSError as error:
            self._tell(error)
        else:
            self._full.append(self._file)
            self._file = fresh

    def _files(self) -> list[SpoolFile]:
        return [*self._full, self._file, *self._adopted]

    def _ship_all(self) -> None:
        try:
            for file in list(self._full):
                self._ship_whole(file)
            self._ship(self._file)
            self._adopt()
            for file in list(self._adopted):  # last: one that can't be read keeps only itself
                self._ship_whole(file)
        except (GreenlightError, SQLAlchemyError, OSError) as error:
            self._tell(error)
        else:
            if self._failing:
                log.info("the audit log takes records again; nothing waits in %s", self._folder)
            self._failing, self._warned = False, float("-inf")

    def _adopt(self) -> None:
        if self._clock.monotonic() - self._swept < SWEEP_S:
            return
        self._swept = self._clock.monotonic()
        ours = {file.name for file in self._files()}
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            if path.stem not in ours and (file := SpoolFile.adopt(path)):
                log.info("%s was left by a process that is gone; shipping it", path)
                self._adopted.append(file)

    def _ship(self, file: SpoolFile) -> None:
        if self._shipped.get(file.name, 0) >= file.size:
            return
        file.sync()
        position = self._store.position(file.name)
        self._tell_if_set_back(position.head)
        start, until = position.taken, file.size
        # What comes meanwhile is the next round's: else small batches followed without end.
        while start < until and (data := file.read(start, most=BATCH_BYTES)):
            part = SpoolPart(spool=file.name, start=start, end=start + len(data))
            events, identities = self._parsed(data, part)
            self._saw(self._store.append(events, identities=identities, part=part))
            start = part.end
        self._shipped[file.name] = start

    def _ship_whole(self, file: SpoolFile) -> None:
        """Ship a file that nobody writes to any more; half a line at its end is told, too."""
        self._ship(file)
        start = self._shipped.get(file.name, 0)
        if start < file.size:
            part = SpoolPart(spool=file.name, start=start, end=file.size)
            self._saw(self._store.append([self._torn(part.spool, start)], part=part))
        self._done_with(file)

    def _done_with(self, file: SpoolFile) -> None:
        file.remove()  # first: a row without a file is nothing, a file without its row ships again
        self._shipped.pop(file.name, None)
        for files in (self._full, self._adopted):
            if file in files:
                files.remove(file)
        self._store.forget(file.name)

    def _parsed(self, data: bytes, part: SpoolPart) -> tuple[list[AuditEvent], dict[str, str]]:
        events, identities, offset = [], {}, part.start
        for line in data.splitlines(keepends=True):
            try:
                found = json.loads(line)
                if "identity" in found:
                    identities[_text(found["subject"])] = _text(found["identity"])
                else:
                    events.append(AuditEvent.from_json(found))
            except (ValueError, TypeError, KeyError, InputError):
                events.append(self._torn(part.spool, offset))
            offset += len(line)
        return events, identities

    def _torn(self, spool: str, offset: int) -> AuditEvent:
        detail = {"spool": spool, "offset": offset}
        return AuditEvent(at=self._clock.now(), event=EventName.TORN, detail=detail)

    def _tell_if_set_back(self, head: Anchor | None) -> None:
        last, now = self._last, head.number if head else 0
        if last is None or now >= last.number:
            return
        log.error("the audit log ends at %d, but it once ended at %d", now, last.number)
        detail = {"was": last.number, "was_at": last.at.isoformat(), "is": now}
        event = AuditEvent(at=self._clock.now(), event=EventName.SET_BACK, detail=detail)
        self._saw(self._store.append([event]))

    def _saw(self, head: Anchor | None) -> None:
        if head is not None and head != self._last:
            write_json(self._folder / WITNESS, head.to_json(), mode=0o600)
            self._last = head

    def _tell(self, error: Exception) -> None:
        self._failing = True
        if self._clock.monotonic() - self._warned >= WARN_S:
            self._warned = self._clock.monotonic()
            log.warning(
                "audit records wait in %s (%d bytes): %s", self._folder, self.waiting_bytes, error
            )

    def _close(self) -> None:
        self._ship_all()
        for file in self._files():
            whole = self._shipped.get(file.name, 0) >= file.size
            try:
                if whole:
                    self._done_with(file)
                else:
                    file.close()
            except (GreenlightError, SQLAlchemyError) as error:
                self._tell(error)


def _text(value: object) -> str:
    if isinstance(value, str) and value.isprintable():
        return value
    raise ValueError("no text that a database takes")


def _tell_the_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("audit records are no longer shipped, they stay in files", exc_info=error)
