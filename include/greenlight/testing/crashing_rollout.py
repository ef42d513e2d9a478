"""A controller that ends, or freezes, right before or right after a chosen journal entry.

`python -m greenlight.testing.crashing_rollout ROOT DATABASE_URL ROLLOUT_ID VERSION
[--kill-at POINT | --stop-at POINT]` runs one rollout on the fleet that `local_fleet` made in ROOT,
with leases and journal in the database. A point is `PHASE:STEP:SUBJECT:before` or `…:after`, such
as `done:shift:50:before`: the entry that says that 50 % is shifted, not yet written. The process
sends the signal to itself, so that nothing can happen in between. How the rollout ended, if it came
to that, is in `ended(ROOT, ROLLOUT_ID)`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from greenlight.adapters.database import open_engine
from greenlight.adapters.rollout_store import DatabaseJournal, DatabaseLeases
from greenlight.core.errors import GreenlightError, InputError
from greenlight.core.files import write_json
from greenlight.core.logs import configure_logging
from greenlight.core.types import JsonDict
from greenlight.deploy.journal import Event, Phase, Step
from greenlight.deploy.ports import JournalStore
from greenlight.deploy.request import DeployRequest
from greenlight.testing.local_fleet import FLEET, QUICK, LocalFleet

SETTINGS: JsonDict = {
    "steps": (50, 100),
    "smoke_prompts": 1,
    "warm_up_s": 0.1,
    "bake_s": 0.3,
    "lease_s": 2,
    "load": QUICK["load"] | {"rate": 120},
    "analysis": QUICK["analysis"] | {"interval_s": 0.1, "step_min_s": 0.6, "extension_s": 0.2,
                                     "max_extensions": 30},
}  # fmt: skip
"""Over `local_fleet.QUICK`: every step that there is, in the shortest time that can prove it."""

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """An instant of a rollout: on one side of one journal entry."""

    phase: Phase
    step: Step
    subject: str = ""
    side: str = BEFORE

    def __str__(self) -> str:
        """Return the point as the command line takes it."""
        return f"{self.phase}:{self.step}:{self.subject}:{self.side}"

    @classmethod
    def parse(cls, text: str) -> Point:
        """Read what `str` wrote.

        Raises:
            InputError: it is no point.
        """
        try:
            phase, step, subject, side = text.split(":")
            if side not in (BEFORE, AFTER):
                raise ValueError(f"{side!r} is neither {BEFORE} nor {AFTER}")
            return cls(phase=Phase(phase), step=Step(step), subject=subject, side=side)
        except ValueError as error:
            raise InputError(f"{text!r} is not PHASE:STEP:SUBJECT:before|after: {error}") from error

    def is_at(self, side: str, event: Event) -> bool:
        """Return whether this point is on that side of that event."""
        mine = (self.side, self.phase, self.step, self.subject)
        return mine == (side, event.phase, event.step, event.subject)


class CrashingJournal(DatabaseJournal):
    """A journal whose writer gets a signal at one point: SIGKILL ends it, SIGSTOP freezes it."""

    def __init__(self, engine: sa.Engine, *, at: Point, number: signal.Signals) -> None:
        super().__init__(engine)
        self._at, self._signal = at, number

    def append(self, event: Event) -> Event:
        """Add an event."""
        self._signal_at(BEFORE, event)
        kept = super().append(event)
        self._signal_at(AFTER, event)
        return kept

    def _signal_at(self, side: str, event: Event) -> None:
        if self._at.is_at(side, event):
            # To this thread: sent to the process, SIGSTOP would let it run on for a moment.
            signal.pthread_kill(threading.get_ident(), self._signal)


def ended(root: Path, rollout_id: str) -> JsonDict:
    """Return how the last process of a rollout ended: its outcome, or `error` and `message`.

    Empty: it was killed.
    """
    file = _file(root, rollout_id)
    found: JsonDict = json.loads(file.read_text()) if file.exists() else {}
    return found


def _file(root: Path, rollout_id: str) -> Path:
    return root / f"ended-{rollout_id}.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a rollout, and exit: with 0 when the version is live, 1 when refused or taken back."""
    chosen = _parse(arguments)
    configure_logging()
    engine = open_engine(chosen.database_url)
    fleet = LocalFleet.opened(chosen.root)
    deploy = fleet.deploy(
        leases=DatabaseLeases(engine), journal=_journal(engine, chosen), rollout=SETTINGS
    )
    request = DeployRequest(fleet=FLEET, version=chosen.version)
    _file(chosen.root, chosen.rollout_id).unlink(missing_ok=True)
    try:
        told, code = deploy.run(request, rollout_id=chosen.rollout_id, by="test"), 0
    except GreenlightError as error:
        told, code = {"error": type(error).__name__, "message": str(error)}, 1
    write_json(_file(chosen.root, chosen.rollout_id), told)
    sys.exit(code)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="greenlight.testing.crashing_rollout")
    parser.add_argument("root", type=Path)
    parser.add_argument("database_url")
    parser.add_argument("rollout_id")
    parser.add_argument("version", type=int)
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--kill-at", metavar="POINT")
    when.add_argument("--stop-at", metavar="POINT")
    return parser.parse_args(arguments)


def _journal(engine: sa.Engine, chosen: argparse.Namespace) -> JournalStore:
    if chosen.kill_at:
        return CrashingJournal(engine, at=Point.parse(chosen.kill_at), number=signal.SIGKILL)
    if chosen.stop_at:
        return CrashingJournal(engine, at=Point.parse(chosen.stop_at), number=signal.SIGSTOP)
    return DatabaseJournal(engine)


if __name__ == "__main__":
    main()
