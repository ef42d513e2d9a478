"""Keep a drill: in Greenlight's database, and its report in MLflow."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.backup.history import RESTORE, DrillRecord
from greenlight.backup.ladder import Drill, Outcome
from greenlight.registry.ports import RunLog

if TYPE_CHECKING:
    from greenlight.entrypoints.backup_tools import BackupTools
    from greenlight.registry.ports import ModelRegistry

log = logging.getLogger(__name__)

TREND = 60
"""Drills that the report's charts show."""
LOOK_BACK = 400
"""Drills that are looked through: a weekly fault drill keeps one of each fault."""
PAGE = "report.html"


def keep(tools: BackupTools, drill: Drill, *, registry: ModelRegistry | None = None) -> str:
    """Write the report, log it, and keep the drill; return the report's address.

    A retry writes nothing twice.
    """
    from greenlight.entrypoints.models import open_registry

    registry = registry or open_registry(tools.settings)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / PAGE
        page.write_text(_report(tools, drill), encoding="utf-8")
        url = f"{registry.log_run(_run_log(drill, page)).url}/artifacts/{PAGE}"
    tools.history.add_drill(
        DrillRecord(kind=RESTORE, drill=drill, outcome=drill.outcome, report_url=url)
    )
    return url


def _report(tools: BackupTools, drill: Drill) -> str:
    from greenlight.adapters.drill_report import PlantedFault, render_drill

    records = tools.history.drills(limit=LOOK_BACK)
    restores = [record.drill for record in records if record.kind == RESTORE]
    return render_drill(
        drill,
        targets=tools.config.targets,
        past=restores[:TREND],
        faults=[
            PlantedFault(
                name=record.kind,
                outcome=record.outcome,
                says="; ".join(result.says for result in record.drill.rungs),
                at=record.drill.began_at,
            )
            for record in _newest_by_kind(records)
        ],
    )


def _newest_by_kind(records: Sequence[DrillRecord]) -> list[DrillRecord]:
    """Return the last drill of each fault; `records` are newest first."""
    newest: dict[str, DrillRecord] = {}
    for record in records:
        if record.kind != RESTORE:
            newest.setdefault(record.kind, record)
    return list(newest.values())


def says(drill: Drill) -> str:
    """Return the sentence about a drill that a person wants to read."""
    at = f"{drill.target_at:%Y-%m-%d %H:%M:%S} UTC" if drill.target_at else "no instant"
    if drill.outcome is Outcome.PASS:
        return (
            f"the state of {at} was restored from region {drill.region} in {drill.rto_s:.0f} s, "
            f"{drill.rows_lost} rows lost; the champion loaded from it and generated the recorded "
            "tokens"
        )
    rungs = [result for result in drill.rungs if result.outcome is drill.outcome]
    why = f"{rungs[0].rung}: {rungs[0].says}" if rungs else "it was not climbed to the top"
    return f"region {drill.region}: {drill.outcome}: {why}; it was to be as it was at {at}"


def _run_log(drill: Drill, page: Path) -> RunLog:
    numbers = {
        "rto_s": drill.rto_s,
        "rpo_s": drill.rpo_s,
        "rows_lost": drill.rows_lost,
        "rungs_passed": sum(result.outcome is Outcome.PASS for result in drill.rungs),
    } | {f"seconds.{result.rung.name.lower()}": result.seconds for result in drill.rungs}
    return RunLog(
        key=f"restore-drill-{drill.id}",
        name=f"restore drill {drill.id}: {drill.outcome}",
        params={"region": drill.region, "set": drill.set_id or "none"},
        metrics={name: float(value) for name, value in numbers.items() if value is not None},
        artifacts={PAGE: page},
        tags={"greenlight.kind": "restore-drill", "greenlight.outcome": str(drill.outcome)},
    )
