"""The evidence pack of a review period: who had access, what was changed, what was proven."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from greenlight.backup.history import DrillRecord
from greenlight.backup.ports import BackupHistory
from greenlight.core.digest import manifest_of
from greenlight.core.errors import RefusedError
from greenlight.core.files import folder_in_the_making, write_json
from greenlight.core.settings import Settings
from greenlight.core.types import JsonDict
from greenlight.entrypoints.approvals import open_approvals
from greenlight.entrypoints.gateway_access import open_stores
from greenlight.entrypoints.gateway_audit import AuditLog, Checked, open_log
from greenlight.entrypoints.stack import open_database
from greenlight.gateway.audit import EventName
from greenlight.gateway.stores import KeyStore
from greenlight.registry.ports import ApprovalStore

MANIFEST = "manifest.json"
CHANGES = {"key-changes.json": "key", "limit-changes.json": "limits", "log-changes.json": "audit"}
"""Files, and what the events in each begin with."""
MOST_DRILLS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A review period; `until` is not in it."""

    since: datetime
    until: datetime

    def __contains__(self, time: datetime) -> bool:
        """Return whether an instant is in it."""
        return self.since <= time < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the evidence is."""

    audit: AuditLog
    keys: KeyStore
    approvals: ApprovalStore
    drills: BackupHistory


def open_sources(settings: Settings, *, by: str) -> Sources:
    """Return the sources in the configured database.

    Raises:
        ConfigError: a secret is missing.
        RefusedError: no database is configured, and the stack is not up.
    """
    from greenlight.adapters.backup_store import DatabaseHistory

    return Sources(
        audit=open_log(settings, by=by),
        keys=open_stores(settings)[0],
        approvals=open_approvals(settings),
        drills=DatabaseHistory(open_database(settings)),
    )


def write_pack(folder: Path, period: Period, *, sources: Sources, by: str) -> Checked:
    """Write the pack, whole or not at all, and return what the check of the log found.

    A log that is not proven is evidence too: the pack is written, and says so.

    Raises:
        RefusedError: the folder exists.
    """
    if folder.exists():
        raise RefusedError(f"{folder} exists; a pack goes into a new folder")
    checked = sources.audit.verify()
    with folder_in_the_making(folder) as making:
        for name, content in _contents(period, sources, checked).items():
            write_json(making / name, content)
        files = manifest_of(making)
        about = {
            "since": period.since.isoformat(),
            "until": period.until.isoformat(),
            "made_at": sources.audit.clock.now().isoformat(),
            "made_by": by,
            "audit_log": str(checked.verification.verdict),
        }
        write_json(making / MANIFEST, about | files.to_json())
    sources.audit.tell(
        EventName.EXPORTED,
        {"since": about["since"], "until": about["until"], "digest": files.digest},
    )
    return checked


def _contents(period: Period, sources: Sources, checked: Checked) -> dict[str, object]:
    decisions = sources.approvals.approvals()
    found: dict[str, object] = {
        "access.json": _access(period, sources.keys),
        "approvals.json": [one.to_json() for one in decisions if one.decided_at in period],
        "drills.json": _drills(period, sources.drills.drills(limit=MOST_DRILLS)),
        "verification.json": checked.to_json(),
    }
    for name, event in CHANGES.items():
        found[name] = sources.audit.find(event=event, since=period.since, until=period.until)
    return found


def _access(period: Period, keys: KeyStore) -> list[JsonDict]:
    """Return every key that opened something in the period, as it stood at its end."""
    found = []
    for key in keys.all_keys():
        if key.created_at < period.until and key.state(period.since) == "active":
            found.append(key.to_json() | {"state": key.state(period.until)})
    return found


def _drills(period: Period, records: Iterable[DrillRecord]) -> list[JsonDict]:
    return [
        record.drill.model_dump(mode="json")
        | {"kind": record.kind, "outcome": str(record.outcome), "report_url": record.report_url}
        for record in records
        if record.drill.began_at in period
    ]
