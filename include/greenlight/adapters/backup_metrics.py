"""Metrics about backups and drills as Prometheus text files.

What could not be measured is left out, never written as 0: the alerts tell "never" and "unknown"
from a number. A region that is away keeps its file as it was: its values are instants and sizes,
which stay true, and `region_up` says that nobody could look.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from greenlight.adapters.text_metrics import Sample, write_samples
from greenlight.backup.backup_file import Targets
from greenlight.backup.history import BackupRun
from greenlight.backup.inventory import Inventory
from greenlight.backup.ladder import Drill, Outcome, Rung
from greenlight.core.metrics import LabelName, MetricName

REGION_FILE = "backup-region-{}.prom"
DRILL_FILE = "restore-drill-{}.prom"
RESULTS = {Outcome.PASS: 1, Outcome.FAIL: 0, Outcome.INCONCLUSIVE: -1}
"""A rung that was not climbed, or a fault that could not be planted, proved nothing: -1."""

HELP = {
    MetricName.BACKUP_REGION_UP: "1: the region answered when it was last asked; 0: it did not.",
    MetricName.BACKUP_LAST_VERIFIED: "Restore point of the newest set that was read back whole.",
    MetricName.BACKUP_NEWEST_POINT: "Restore point of the newest set, verified or not.",
    MetricName.BACKUP_SETS: "Backup sets that the region keeps.",
    MetricName.BACKUP_BYTES: "What the newest set added to the region.",
    MetricName.BACKUP_FLOOR_REACHED: "1: min_verified keeps a set that the policy would delete.",
    MetricName.BACKUP_LAST_SUCCESS: "End of the last run whose set is verified in every region.",
    MetricName.BACKUP_SECONDS: "Duration of that run.",
    MetricName.BACKUP_ARCHIVE_LAG: "How long the oldest unarchived piece of the log waits.",
    MetricName.BACKUP_ARCHIVE_SEEN: "When the archive's lag was last measured.",
    MetricName.BACKUP_TARGET: "What backup.yaml asks for.",
    MetricName.BACKUP_FAULT_DETECTED: "The planted fault: 1 noticed, 0 not, -1 not planted.",
    MetricName.BACKUP_FAULTS_TRIED: "When faults were last planted.",
    MetricName.DRILL_LAST_PASSED: "Begin of the last restore drill that passed.",
    MetricName.DRILL_RTO: "Recovery time of the last drill.",
    MetricName.DRILL_RPO: "How far behind the region was when the last drill began.",
    MetricName.DRILL_RUNG_RESULT: "The last drill: 1 pass, 0 fail, -1 not proven.",
}


def write_watch(
    folder: Path,
    *,
    targets: Targets,
    answered: Mapping[str, bool],
    archive_lag_s: float | None,
    at: datetime,
) -> None:
    """Replace what is looked at all the time: targets, regions, the log's archive.

    `answered`: every configured region, and whether it answered. Files of regions that are not
    configured any more are removed, or their alerts would never end.
    """
    for pattern in (REGION_FILE, DRILL_FILE):
        wanted = {pattern.format(region) for region in answered}
        for path in folder.glob(pattern.format("*")):
            if path.name not in wanted:
                path.unlink(missing_ok=True)
    seen = at.timestamp() if archive_lag_s is not None else None
    samples = [
        Sample(name=MetricName.BACKUP_ARCHIVE_LAG, value=archive_lag_s),
        Sample(name=MetricName.BACKUP_ARCHIVE_SEEN, value=seen),
    ]
    for region, is_up in answered.items():
        samples.append(_of(region, MetricName.BACKUP_REGION_UP, float(is_up)))
    for target, seconds in (
        ("rto", targets.rto_s),
        ("rpo", targets.rpo_s),
        ("verified_age", targets.verified_age_h * 3600),
        ("drill_age", targets.drill_age_h * 3600),
    ):
        labels = {LabelName.TARGET: target}
        samples.append(Sample(name=MetricName.BACKUP_TARGET, value=seconds, labels=labels))
    _write(folder, "backup.prom", samples)


def write_region(folder: Path, inventory: Inventory, *, floor_reached: bool | None) -> None:
    """Replace what one region keeps. `floor_reached`: none when retention could not be planned.

    An older set that is checked again does not make the backup younger: what counts is its point.
    """
    region, verified = inventory.region, inventory.verified
    newest = inventory.sets[-1] if inventory.sets else None
    unverified = len(inventory.sets) + len(inventory.unreadable) - len(verified)
    samples = [
        _of(region, MetricName.BACKUP_LAST_VERIFIED, _at(v.point_at for v in verified)),
        _of(region, MetricName.BACKUP_NEWEST_POINT, _at(s.point_at for s in inventory.sets)),
        _of(region, MetricName.BACKUP_FLOOR_REACHED, floor_reached),
    ]
    for text, count in (("true", len(verified)), ("false", unverified)):
        samples.append(_of(region, MetricName.BACKUP_SETS, count, {LabelName.VERIFIED: text}))
    for part, kept in (
        ("database", newest and newest.copy),
        ("files", newest and newest.snapshot),
    ):
        size = kept.stored_bytes if kept else None
        samples.append(_of(region, MetricName.BACKUP_BYTES, size, {LabelName.PART: part}))
    _write(folder, REGION_FILE.format(region), samples)


def write_run(folder: Path, run: BackupRun) -> None:
    """Replace when a run last succeeded, and how long it took. Failed runs change nothing."""
    if run.outcome is Outcome.PASS:
        seconds = (run.ended_at - run.began_at).total_seconds()
        _write(
            folder,
            "backup-run.prom",
            [
                Sample(name=MetricName.BACKUP_LAST_SUCCESS, value=run.ended_at.timestamp()),
                Sample(name=MetricName.BACKUP_SECONDS, value=seconds),
            ],
        )


def write_drill(folder: Path, drill: Drill, *, last_passed_at: datetime | None) -> None:
    """Replace the last restore drill of a region. `last_passed_at`: none when none ever passed."""
    region = drill.region
    results = {result.rung: result.outcome for result in drill.rungs}
    passed = last_passed_at.timestamp() if last_passed_at else None
    samples = [
        _of(region, MetricName.DRILL_LAST_PASSED, passed),
        _of(region, MetricName.DRILL_RTO, drill.rto_s),
        _of(region, MetricName.DRILL_RPO, drill.rpo_s),
    ]
    for rung in Rung:
        result = RESULTS[results.get(rung, Outcome.INCONCLUSIVE)]
        samples.append(_of(region, MetricName.DRILL_RUNG_RESULT, result, {LabelName.RUNG: rung}))
    _write(folder, DRILL_FILE.format(region), samples)


def write_faults(folder: Path, outcomes: Mapping[str, Outcome], *, at: datetime) -> None:
    """Replace what became of the faults planted at `at`, by their name. `PASS`: it was noticed."""
    samples = [
        Sample(
            name=MetricName.BACKUP_FAULT_DETECTED,
            value=RESULTS[outcome],
            labels={LabelName.FAULT: fault},
        )
        for fault, outcome in sorted(outcomes.items())
    ]
    samples.append(Sample(name=MetricName.BACKUP_FAULTS_TRIED, value=at.timestamp()))
    _write(folder, "backup-faults.prom", samples)


def _of(
    region: str,
    name: MetricName,
    value: float | None,
    more: Mapping[LabelName, str] | None = None,
) -> Sample:
    return Sample(name=name, value=value, labels={LabelName.REGION: region, **(more or {})})


def _at(instants: Iterable[datetime]) -> float | None:
    return max((at.timestamp() for at in instants), default=None)


def _write(folder: Path, name: str, samples: Iterable[Sample]) -> None:
    write_samples(folder / name, samples, about=HELP)
