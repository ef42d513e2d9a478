"""The panel of backups, and of what drills proved of them."""

from __future__ import annotations

from greenlight.adapters.page.panels import BackupsPanel
from greenlight.backup.backup_file import load_backup_file
from greenlight.backup.history import RESTORE, DrillRecord
from greenlight.entrypoints.page.sources import Sources

RUNS = 5
LOOK_BACK = 400
"""Drills that are looked through: a weekly fault drill keeps one of each fault."""


def backups(sources: Sources) -> BackupsPanel:
    """Return the newest runs, and the newest drill of each region and of each planted fault."""
    file = load_backup_file(sources.settings.config_file("backup"))
    regions = tuple(region.name for region in file.regions)
    newest: dict[tuple[str, str], DrillRecord] = {}
    for record in sources.backups.drills(limit=LOOK_BACK):
        of = record.drill.region if record.kind == RESTORE else ""
        newest.setdefault((record.kind, of), record)
    return BackupsPanel(
        runs=sources.backups.runs(limit=RUNS),
        regions=regions,
        drills=tuple(newest[RESTORE, name] for name in regions if (RESTORE, name) in newest),
        faults=tuple(one for (kind, _), one in sorted(newest.items()) if kind != RESTORE),
        rto_s=file.targets.rto_s,
        rpo_s=file.targets.rpo_s,
    )
