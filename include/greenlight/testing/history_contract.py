"""What every history of backups must do. Subclass it and give it a fixture `history`."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from greenlight.backup.history import RESTORE, BackupRun, DrillRecord
from greenlight.backup.ladder import Drill, Outcome, Rung, RungResult
from greenlight.backup.ports import BackupHistory
from greenlight.backup.sets import BackupKind, set_id
from greenlight.core.errors import InputError

NIGHT = datetime(2026, 11, 24, 2, 14, 7, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def a_run(
    *, began_at: datetime = NIGHT, outcome: Outcome = Outcome.PASS, by: str = "ana",
    kind: BackupKind = BackupKind.INCREMENTAL,
) -> BackupRun:  # fmt: skip
    """Return a run of one minute."""
    return BackupRun(
        set_id=set_id(began_at), kind=kind, began_at=began_at, ended_at=began_at + MINUTE,
        outcome=outcome, started_by=by, detail={"regions": {"a": {"bytes": 12, "seconds": 0.5}}},
    )  # fmt: skip


def a_drill(
    drill_id: str, *, began_at: datetime = NIGHT, outcome: Outcome = Outcome.PASS,
    kind: str = RESTORE, rto_s: float | None = 41.5,
) -> DrillRecord:  # fmt: skip
    """Return a drill that climbed every rung."""
    rungs = tuple(
        RungResult(rung=rung, outcome=outcome, says="so it was", seconds=0.25) for rung in Rung
    )
    drill = Drill(
        id=drill_id, began_at=began_at, region="a", set_id=set_id(NIGHT), rungs=rungs,
        target_at=began_at - MINUTE, rto_s=rto_s, rpo_s=3.0, rows_lost=0, rows_ahead=None,
    )  # fmt: skip
    return DrillRecord(kind=kind, drill=drill, outcome=outcome, report_url="http://127.0.0.1/r")


class HistoryContract:
    """Kept as it was told, read newest first, never told better than it was."""

    def test_a_run_is_read_back_as_it_was_added(self, history: BackupHistory) -> None:
        """Whatever is in its detail."""
        run = a_run(by=_unique())
        history.add_run(run)
        assert run in history.runs(limit=100)

    def test_runs_come_newest_first_by_kind_and_outcome(self, history: BackupHistory) -> None:
        """The last good one is what an alert asks for."""
        later = NIGHT + timedelta(days=400)
        good = a_run(began_at=later, kind=BackupKind.FULL)
        bad = a_run(began_at=later + MINUTE, kind=BackupKind.FULL, outcome=Outcome.FAIL)
        small = a_run(began_at=later + 2 * MINUTE)
        for run in (small, bad, good):
            history.add_run(run)
        assert history.runs(limit=3) == (small, bad, good)
        assert history.runs(limit=2, kind=BackupKind.FULL) == (bad, good)
        newest = history.runs(limit=1, kind=BackupKind.FULL, outcome=Outcome.PASS)
        assert newest == (good,)

    def test_a_drill_is_read_back_with_what_was_not_measured(self, history: BackupHistory) -> None:
        """`None` stays `None`: it is not zero."""
        record = a_drill(_unique(), rto_s=None)
        assert history.add_drill(record) == record
        found = [r for r in history.drills(limit=100) if r.drill.id == record.drill.id]
        assert found == [record]
        assert found[0].drill.rto_s is None
        assert found[0].drill.rows_ahead is None

    def test_a_drill_is_added_once(self, history: BackupHistory) -> None:
        """A retry gets what the first attempt wrote."""
        name = _unique()
        first = history.add_drill(a_drill(name))
        again = history.add_drill(a_drill(name, outcome=Outcome.FAIL))
        assert again == first

    def test_drills_come_newest_first_by_kind_and_outcome(self, history: BackupHistory) -> None:
        """A fault's drills are told apart from restores."""
        kind, later = _unique(), NIGHT + timedelta(days=500)
        missed = a_drill(_unique(), kind=kind, began_at=later + MINUTE, outcome=Outcome.FAIL)
        caught = a_drill(_unique(), kind=kind, began_at=later)
        restored = a_drill(_unique(), began_at=later + 2 * MINUTE)
        for record in (restored, caught, missed):
            history.add_drill(record)
        assert history.drills(limit=3) == (restored, missed, caught)
        assert history.drills(limit=9, kind=kind) == (missed, caught)
        assert history.drills(limit=9, kind=kind, outcome=Outcome.PASS) == (caught,)

    def test_a_restore_drill_is_never_told_better_than_its_ladder(self) -> None:
        """A failed or unclimbed rung can't become a passed drill."""
        failed = a_drill("x", outcome=Outcome.FAIL).drill
        with pytest.raises(InputError, match="rungs say fail"):
            DrillRecord(kind=RESTORE, drill=failed, outcome=Outcome.PASS)


def _unique() -> str:
    return uuid.uuid4().hex[:12]
