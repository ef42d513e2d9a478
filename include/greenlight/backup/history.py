"""What became of backup runs and drills: the values that Greenlight's database keeps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from greenlight.backup.ladder import Drill, Outcome
from greenlight.backup.sets import BackupKind
from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict

RESTORE = "restore"
"""The kind of a drill that plants no fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRun:
    """One attempt to make a set, written when it has ended; a killed one leaves nothing.

    `kind` is what was asked for. `outcome`: inconclusive when a region could not be written or
    checked. `detail`: bytes, durations and regions, or what went wrong.
    """

    set_id: str
    kind: BackupKind
    began_at: datetime
    ended_at: datetime
    outcome: Outcome
    started_by: str
    detail: JsonDict


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRecord:
    """One drill. `kind` is `restore`, or the name of the fault that was planted.

    With a fault, `outcome` says whether it was detected, and the ladder what the drill climbed.
    """

    kind: str
    drill: Drill
    outcome: Outcome
    report_url: str | None = None

    def __post_init__(self) -> None:
        """Refuse a drill that would be told better than its ladder was.

        Raises:
            InputError: a restore drill's outcome is not that of its rungs.
        """
        if self.kind == RESTORE and self.outcome is not self.drill.outcome:
            raise InputError(
                f"drill {self.drill.id} cannot be kept as {self.outcome}: its rungs say "
                f"{self.drill.outcome}"
            )
