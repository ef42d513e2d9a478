"""A schedule on its way: proposed, then approved or rejected, then applied.

Each is known by the digest of its text, so an answer is about the very schedule that was shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from greenlight.core.digest import short
from greenlight.core.errors import InputError, RefusedError

FRESH = timedelta(days=3)
"""How old a schedule may be when it is applied: it was made from the demand before it."""


class ScheduleState(StrEnum):
    """What became of a schedule."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    REJECTED = "rejected"
    APPLIED = "applied"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSchedule:
    """One schedule. `text`: its YAML; `digest`: the SHA-256 of that.

    `waits_for`: why a person has to say yes; none: the change is small. `expected_slo_pct`,
    `gpu_hours`: of its week, `None` where nothing was expected of it.
    """

    digest: str
    fleet: str
    text: str
    state: ScheduleState
    made_at: datetime
    made_by: str
    waits_for: tuple[str, ...] = ()
    expected_slo_pct: float | None = None
    gpu_hours: float | None = None
    decided_at: datetime | None = None
    decided_by: str = ""
    reason: str = ""
    applied_at: datetime | None = None
    applied_by: str = ""


def decided(
    kept: KeptSchedule, *, approved: bool, by: str, at: datetime, reason: str
) -> KeptSchedule:
    """Return it with a person's answer. The same answer again changes nothing.

    Raises:
        InputError: there is no name, or a rejection has no reason.
        RefusedError: it was answered otherwise, or applied.
    """
    if not by.strip():
        raise InputError("a decision needs the name of who made it")
    if not approved and not reason.strip():
        raise InputError("a rejection needs its reason")
    wanted = ScheduleState.APPROVED if approved else ScheduleState.REJECTED
    if kept.state is wanted:
        return kept
    if kept.state is not ScheduleState.PROPOSED:
        raise RefusedError(f"schedule {short(kept.digest)} of {kept.fleet} is {kept.state} already")
    return replace(kept, state=wanted, decided_by=by.strip(), decided_at=at, reason=reason.strip())


def refusal(kept: KeptSchedule, applied: KeptSchedule | None, *, now: datetime) -> str | None:
    """Return why a schedule may not be applied now; `None`: it may, or it is what is applied.

    `applied`: what the fleet has now.
    """
    if kept.state is ScheduleState.REJECTED:
        return f"{kept.decided_by} rejected it: {kept.reason}"
    if kept.state is ScheduleState.PROPOSED and kept.waits_for:
        return f"it waits for approval: {'; '.join(kept.waits_for)}"
    if applied is not None and applied.digest != kept.digest and applied.made_at > kept.made_at:
        return f"a newer one, of {applied.made_at:%Y-%m-%d %H:%M} UTC, is applied"
    if kept.state is not ScheduleState.APPLIED and now - kept.made_at > FRESH:
        return f"it was made on {kept.made_at:%Y-%m-%d}, more than {FRESH.days} days ago: plan anew"
    return None


def as_applied(kept: KeptSchedule, *, by: str, at: datetime) -> KeptSchedule:
    """Return it as applied; what is applied already stays as it is."""
    if kept.state is ScheduleState.APPLIED:
        return kept
    return replace(kept, state=ScheduleState.APPLIED, applied_at=at, applied_by=by)
