"""The rungs of a restore drill, one above the other, and what they prove together."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from greenlight.backup.sets import RegionName
from greenlight.core.types import Value


class Rung(StrEnum):
    """In the order of climbing."""

    SET_PRESENT = "set present"
    HASHES = "hashes"
    RESTORES = "restores"
    STARTS = "database starts"
    SENTINELS = "point in time"
    ENGINE_CHECKS = "engine checks"
    ROW_COUNTS = "row counts"
    REGISTRY_FILES = "registry and artifacts agree"
    MLFLOW_STARTS = "MLflow starts"
    CHAMPION_LOADS = "champion loads"
    CHAMPION_GENERATES = "champion generates the recorded tokens"


class Outcome(StrEnum):
    """Of a rung, and of a whole drill."""

    PASS = "pass"  # noqa: S105 - an outcome
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    """It could not be tried, which proves nothing."""


class RungResult(Value):
    """What came of one rung."""

    rung: Rung
    outcome: Outcome
    says: str
    seconds: Annotated[float, Field(ge=0)]


class Drill(Value):
    """One restore drill. `None`: it wasn't measured.

    `rto_s`: from the decision to restore until the champion answered. `rpo_s`: how far behind the
    region's newest restorable instant was when the drill began. `rows_lost`: sentinels committed
    up to `target_at` that the restored database lacks; `rows_ahead`: later ones that it has.
    """

    id: str
    began_at: AwareDatetime
    region: RegionName
    set_id: str | None
    target_at: AwareDatetime | None
    rungs: tuple[RungResult, ...]
    rto_s: float | None
    rpo_s: float | None
    rows_lost: int | None
    rows_ahead: int | None

    @property
    def outcome(self) -> Outcome:
        """Fail when one rung failed; pass when every rung there is passed."""
        return outcome_of(self.rungs)


def outcome_of(rungs: Sequence[RungResult]) -> Outcome:
    """Return what rungs prove together. A rung that wasn't climbed proves nothing."""
    found = {result.rung: result.outcome for result in rungs}
    if Outcome.FAIL in found.values():
        return Outcome.FAIL
    if all(found.get(rung) is Outcome.PASS for rung in Rung):
        return Outcome.PASS
    return Outcome.INCONCLUSIVE
