"""A fleet's schedule, from measured demand to what runs: plan, replay, decide, apply."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime, time
from typing import TYPE_CHECKING

from greenlight.core.digest import digest_bytes, short
from greenlight.core.errors import GateError, InputError, RefusedError
from greenlight.entrypoints.scaling_measured import Measured, NotPlanned, not_planned, unmeasured
from greenlight.scaling.calendars import LocalCalendar, zone_of
from greenlight.scaling.demand import learn
from greenlight.scaling.demand_profile import NotEnoughData
from greenlight.scaling.demand_series import DemandSeries
from greenlight.scaling.kept import (
    KeptSchedule,
    ScheduleState,
    as_applied,
    decided,
    refusal,
)
from greenlight.scaling.planning import FleetFacts, plan
from greenlight.scaling.replay.comparison import Comparison, compare
from greenlight.scaling.replay.verdict import why_not_alone
from greenlight.scaling.schedule import Override, Schedule, live_overrides
from greenlight.scaling.schedule_changes import ScheduleDiff, diff, why_large
from greenlight.scaling.schedule_file import read_schedule, write_schedule

if TYPE_CHECKING:
    from greenlight.entrypoints.scaling_tools import ScalingTools

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A schedule with what it changes and how it does. `changes`: `None` for a first one."""

    schedule: Schedule
    before: Schedule | None
    changes: ScheduleDiff | None
    replayed: Comparison | NotEnoughData
    waits_for: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What applying came to. `lines`: what changed; `why_not`: nothing did."""

    schedule: KeptSchedule
    lines: tuple[str, ...] = ()
    why_not: str | None = None


class Scaling:
    """What a person or a DAG can do with one fleet's schedule."""

    def __init__(self, tools: ScalingTools) -> None:
        self._tools = tools
        self._measured = Measured(tools)
        self.fleet = tools.fleet.name

    def plan(self) -> Planned | NotPlanned:
        """Make the schedule of the coming week and replay it; nothing is kept or changed.

        Raises:
            UnavailableError: Prometheus, the registry or the database doesn't answer.
        """
        tools, now = self._tools, self._tools.clock.now()
        facts = self._measured.facts()
        if not isinstance(facts, FleetFacts):
            return unmeasured(self.fleet, facts)
        series = self._measured.demand_to_plan_for(until=now)
        if series is None:
            return not_planned(self.fleet, "no demand was measured")
        calendar = self._measured.calendar(series, now)
        profile = learn(series, calendar, tools.scaling.learn)
        if isinstance(profile, NotEnoughData):
            return not_planned(self.fleet, profile.why)
        before = self.applied_schedule()
        schedule = plan(
            profile,
            facts,
            now=now,
            settings=tools.scaling.plan,
            blackouts=tools.scaling.windows,
            overrides=before.overrides if before else (),
        )
        changes = None if before is None else self.diff(before, schedule)
        replayed = self._compare(series, calendar, facts, before)
        waits = why_large(before, schedule, changes, tools.scaling.changes)
        if changes is None or not changes.is_empty:
            limit = tools.scaling.changes.slo_points
            waits += why_not_alone(replayed, slo_points=limit)
        return Planned(
            schedule=schedule, before=before, changes=changes, replayed=replayed, waits_for=waits
        )

    def propose(self, planned: Planned, *, by: str) -> KeptSchedule:
        """Keep a plan, for whoever decides about it or applies it."""
        return self._tools.store.add(_kept(planned.schedule, by=by, waits_for=planned.waits_for))

    def replay(self) -> Comparison | NotEnoughData | NotPlanned:
        """Try the schedule's rules on the newest days beside other policies.

        Raises:
            UnavailableError: as `plan`.
        """
        now, facts = self._tools.clock.now(), self._measured.facts()
        if not isinstance(facts, FleetFacts):
            return unmeasured(self.fleet, facts)
        series = self._measured.demand_to_plan_for(until=now)
        if series is None:
            return not_planned(self.fleet, "no demand was measured")
        before = self.applied_schedule()
        return self._compare(series, self._measured.calendar(series, now), facts, before)

    def applied_schedule(self) -> Schedule | None:
        """Return what is applied now."""
        kept = self._tools.store.applied(self.fleet)
        return None if kept is None else read_kept(kept)

    def diff(self, before: Schedule, after: Schedule) -> ScheduleDiff:
        """Compare two schedules over the seven days from today."""
        zone = zone_of(after.zone)
        today = self._tools.clock.now().astimezone(zone).date()
        return diff(before, after, start=datetime.combine(today, time(0), tzinfo=zone))

    def applied(self) -> KeptSchedule | None:
        """Return what was applied last, with who did it and when."""
        return self._tools.store.applied(self.fleet)

    def newest(self, *, count: int) -> tuple[KeptSchedule, ...]:
        """Return the newest schedules, the newest first."""
        return self._tools.store.newest(self.fleet, count=count)

    def preview(self, kept: KeptSchedule) -> tuple[str, ...]:
        """Return what applying a schedule would change at the target; nothing is changed.

        Raises:
            RefusedError, GateError: as `apply`.
        """
        found = self._apply(kept, by="", dry_run=True)
        return found.lines or (found.why_not or "",)

    def decide(self, digest: str, *, approved: bool, by: str, reason: str) -> KeptSchedule:
        """Keep a person's answer to the schedule of a digest.

        Raises:
            InputError: there is no such schedule, no name, or a rejection without a reason.
            RefusedError: somebody answered otherwise, or it is applied.
        """
        store, now = self._tools.store, self._tools.clock.now()
        kept = self.require(digest)
        answered = decided(kept, approved=approved, by=by, at=now, reason=reason)
        if answered is not kept:
            store.change(answered, was=kept.state)
            log.info("%s: schedule %s is %s by %s", self.fleet, short(digest), answered.state, by)
        return answered

    def apply(self, digest: str, *, by: str) -> Applied:
        """Bring a schedule to the fleet's target; the second time nothing changes.

        Raises:
            RefusedError: the target isn't one that Greenlight may schedule.
            GateError: the target needs what isn't measured.
            InputError: there is no such schedule.
        """
        kept, now = self.require(digest), self._tools.clock.now()
        applied = self._tools.store.applied(self.fleet)
        if why := refusal(kept, applied, now=now) or _blackout(kept, now=now):
            return Applied(schedule=kept, why_not=why)
        return self._apply(kept, by=by)

    def override(self, wanted: Override, *, dry_run: bool = False) -> Applied:
        """Put a person's override on what is applied, at once, blackouts or not.

        Raises:
            InputError: it has no bound, or bounds or times that don't rise.
            RefusedError: nothing is applied that could be overridden.
        """
        now, before = self._tools.clock.now(), self.applied_schedule()
        _check(wanted, now=now)
        if before is None:
            raise RefusedError(f"nothing is applied to {self.fleet}: plan and apply a schedule")
        overrides = (*live_overrides(before.overrides, now), wanted)
        after = replace(before, made_at=now, overrides=overrides)
        fresh = _kept(after, by=wanted.by)
        kept = decided(fresh, approved=True, by=wanted.by, at=now, reason=wanted.reason)
        if not dry_run:
            kept = self._tools.store.add(kept)
        return self._apply(kept, by=wanted.by, dry_run=dry_run)

    def require(self, digest: str) -> KeptSchedule:
        """Return this fleet's schedule of a digest.

        Raises:
            InputError: there is none.
        """
        kept = self._tools.store.get(digest)
        if kept.fleet != self.fleet:
            raise InputError(f"schedule {short(digest)} is of {kept.fleet}, not of {self.fleet}")
        return kept

    def _apply(self, kept: KeptSchedule, *, by: str, dry_run: bool = False) -> Applied:
        tools, now = self._tools, self._tools.clock.now()
        if tools.applier is None:
            return Applied(schedule=kept, why_not="scaling.yaml names no target for this fleet")
        act = tools.applier.plan if dry_run else tools.applier.apply
        lines = act(read_kept(kept), self._measured.capacity(), now=now)
        if dry_run:
            return Applied(schedule=kept, lines=lines)
        done = as_applied(kept, by=by, at=now)
        if done is not kept:
            tools.store.change(done, was=kept.state)
        log.info("%s: schedule %s is applied: %s", self.fleet, short(kept.digest), "; ".join(lines))
        return Applied(schedule=done, lines=lines)

    def _compare(
        self,
        series: DemandSeries,
        calendar: LocalCalendar,
        facts: FleetFacts,
        before: Schedule | None,
    ) -> Comparison | NotEnoughData:
        scaling = self._tools.scaling
        return compare(
            series,
            calendar,
            facts,
            previous=before,
            reactive=scaling.reactive(facts.capacity.tokens_per_second),
            learning=scaling.learn,
            planning=scaling.plan,
            nowcasting=scaling.nowcast,
            settings=scaling.replay,
        )


def read_kept(kept: KeptSchedule) -> Schedule:
    """Return the schedule of a kept text."""
    return read_schedule(kept.text, where=f"schedule {short(kept.digest)} of {kept.fleet}")


def require_planned(found: Planned | NotPlanned) -> Planned:
    """Return the plan.

    Raises:
        GateError: there is none; the message has all reasons.
    """
    if isinstance(found, NotPlanned):
        raise GateError(f"no schedule for {found.fleet}: {'; '.join(found.why)}")
    return found


def _kept(schedule: Schedule, *, by: str, waits_for: tuple[str, ...] = ()) -> KeptSchedule:
    text, expected = write_schedule(schedule), schedule.expected
    return KeptSchedule(
        digest=digest_bytes(text.encode()),
        fleet=schedule.fleet,
        text=text,
        state=ScheduleState.PROPOSED,
        made_at=schedule.made_at,
        made_by=by,
        waits_for=waits_for,
        expected_slo_pct=expected.slo_pct if expected else None,
        gpu_hours=expected.gpu_hours if expected else None,
    )


def _blackout(kept: KeptSchedule, *, now: datetime) -> str | None:
    """Return why nothing is applied now. The windows are those that its plan was made with."""
    found = read_kept(kept).blackout_at(now)
    return None if found is None else f"nothing changes now: {found.reason}"


def _check(wanted: Override, *, now: datetime) -> None:
    low, high = wanted.minimum, wanted.maximum
    if low is None and high is None:
        raise InputError("an override needs a minimum, a maximum, or both")
    if low is not None and high is not None and low > high:
        raise InputError(f"minimum {low} is above maximum {high}")
    if not wanted.start < wanted.expires or wanted.expires <= now:
        raise InputError(
            f"an override from {wanted.start:%Y-%m-%d %H:%M} must expire after that and after now, "
            f"not at {wanted.expires:%Y-%m-%d %H:%M} UTC"
        )
