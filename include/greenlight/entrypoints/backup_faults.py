"""The fault matrix: damage a small home's backup in every known way; each must be noticed.

The home is made for it, with real databases, MLflow and two real regions. Healthy sets are read
back between the faults: a check that cries at everything notices nothing.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.backup.history import DrillRecord
from greenlight.backup.ladder import Drill, Outcome, Rung, RungResult
from greenlight.core.clock import Clock, SystemClock
from greenlight.core.errors import GateError, GreenlightError
from greenlight.core.settings import Settings
from greenlight.core.types import JsonDict

if TYPE_CHECKING:
    from greenlight.testing.backup_faults import Fault
    from greenlight.testing.backup_worlds import BackupWorld

log = logging.getLogger(__name__)

BREAKS = {
    Outcome.PASS: Outcome.FAIL,
    Outcome.FAIL: Outcome.PASS,
    Outcome.INCONCLUSIVE: Outcome.INCONCLUSIVE,
}
"""What became of the rung that a fault had to break: it broke when the fault was noticed."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """What became of one fault. `noticed`: what was said; none: nothing was.

    `broken`: why it could not be planted; then nothing is known. `false_alarm`: what was said
    against the healthy set afterwards.
    """

    fault: str
    noticed: str | None
    broken: str | None
    false_alarm: str | None
    seconds: float

    @property
    def outcome(self) -> Outcome:
        """Pass when it was noticed."""
        if self.broken:
            return Outcome.INCONCLUSIVE
        return Outcome.FAIL if self.noticed is None else Outcome.PASS


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """All faults."""

    planted: tuple[Planted, ...]

    @property
    def summary(self) -> JsonDict:
        """Return the counts."""
        return {
            "faults": len(self.planted),
            "detected": sum(one.noticed is not None for one in self.planted),
            "false_success": sum(one.noticed is None and not one.broken for one in self.planted),
            "false_alarm": sum(one.false_alarm is not None for one in self.planted),
        }

    def require_all(self) -> None:
        """Return when every fault was noticed, and no healthy set was accused.

        Raises:
            GateError: naming those that were not.
        """
        missed = [one.fault for one in self.planted if one.noticed is None]
        alarms = [f"{one.fault}: {one.false_alarm}" for one in self.planted if one.false_alarm]
        if missed or alarms:
            raise GateError(
                f"not noticed: {', '.join(missed) or 'none'}; healthy sets accused after: "
                f"{'; '.join(alarms) or 'none'}"
            )


def run(settings: Settings, *, say: Say = log.info, clock: Clock | None = None) -> Matrix:
    """Plant every fault in a small home that is thrown away."""
    settings.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.work, prefix=".faults-") as folder:
        return run_in(Path(folder), say=say, clock=clock or SystemClock())


def run_in(folder: Path, *, say: Say, clock: Clock) -> Matrix:
    """Make a small home in an empty folder, back it up twice, and plant every fault."""
    from greenlight.testing.backup_faults import FAULTS
    from greenlight.testing.backup_worlds import backup_world

    with backup_world(folder) as world:
        world.backups().run(by="fault matrix", say=say)
        world.register("second")
        world.backups().run(by="fault matrix", say=say)
        return plant_all(world, FAULTS, say=say, clock=clock)


def plant_all(world: BackupWorld, faults: Sequence[Fault], *, say: Say, clock: Clock) -> Matrix:
    """Plant one fault after the other; a healthy set is read back after each."""
    planted = []
    for fault in faults:
        one = _plant(world, fault, clock)
        planted.append(one)
        if one.broken:
            say(f"{fault.name}: could not be planted: {one.broken}")
        else:
            say(f"{fault.name}: {one.noticed or 'NOT NOTICED'} ({one.seconds:.1f} s)")
        if one.false_alarm:
            say(f"after {fault.name} the healthy set is accused: {one.false_alarm}")
    return Matrix(planted=tuple(planted))


def drill(settings: Settings, *, folder: Path, clock: Clock | None = None) -> JsonDict:
    """Do the whole matrix in an empty folder, publish it as metrics, and keep it in MLflow.

    Raises:
        GateError: a fault was not noticed, or a healthy set was accused.
    """
    from greenlight.adapters.backup_metrics import write_faults
    from greenlight.entrypoints.backup_tools import open_tools
    from greenlight.entrypoints.models import open_registry
    from greenlight.registry.ports import RunLog

    clock = clock or SystemClock()
    began, matrix = clock.now(), run_in(folder, say=log.info, clock=clock)
    write_faults(settings.metrics, {one.fault: one.outcome for one in matrix.planted}, at=began)
    kept = open_registry(settings).log_run(
        RunLog(
            key=f"backup-faults-{began.isoformat()}",
            name="backup fault drill",
            metrics={name: float(value) for name, value in matrix.summary.items()},
            tables={
                "faults.json": {
                    "fault": [one.fault for one in matrix.planted],
                    "outcome": [str(one.outcome) for one in matrix.planted],
                    "noticed": [one.noticed or one.broken for one in matrix.planted],
                    "seconds": [round(one.seconds, 2) for one in matrix.planted],
                }
            },
            tags={"greenlight.kind": "backup-fault-drill"},
        )
    )
    history = open_tools(settings).history
    for one in matrix.planted:
        history.add_drill(as_drill(one, at=began, report_url=kept.url))
    matrix.require_all()
    return matrix.summary | {"url": kept.url}


def as_drill(one: Planted, *, at: datetime, report_url: str) -> DrillRecord:
    """Return a fault as the history keeps it: with the one rung that had to break under it."""
    from greenlight.testing.backup_faults import REGION

    rung = RungResult(
        rung=Rung.HASHES,
        outcome=BREAKS[one.outcome],
        says=one.noticed or one.broken or "nobody noticed it",
        seconds=one.seconds,
    )
    drill = Drill(
        id=f"{one.fault} {at:%Y%m%dT%H%M%SZ}",
        began_at=at,
        region=REGION,
        set_id=None,
        target_at=None,
        rungs=(rung,),
        rto_s=None,
        rpo_s=None,
        rows_lost=None,
        rows_ahead=None,
    )
    return DrillRecord(kind=one.fault, drill=drill, outcome=one.outcome, report_url=report_url)


def _plant(world: BackupWorld, fault: Fault, clock: Clock) -> Planted:
    from greenlight.testing.backup_faults import read_back

    began, noticed, broken = clock.monotonic(), None, None
    try:
        with fault.plant(world):
            noticed = fault.notice(world)
    except GreenlightError as error:
        broken = f"{type(error).__name__}: {error}"
    seconds = clock.monotonic() - began
    return Planted(
        fault=fault.name,
        noticed=noticed,
        broken=broken,
        false_alarm=read_back(world),
        seconds=seconds,
    )
