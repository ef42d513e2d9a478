"""What every schedule target must do. Subclass it and give it the fixtures named below.

`target`: of a fleet that Greenlight may schedule, with one rule that somebody else made, called
`somebody-else`. `unmanaged`: of a fleet that it may not schedule.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from greenlight.core.errors import RefusedError
from greenlight.scaling.ports import ScheduleTarget
from greenlight.scaling.rules import MomentRule, Rule, WeeklyRule, next_time_of
from greenlight.scaling.schedule import Size
from greenlight.scaling.targets import FastLoop, Found, Wanted, plan_changes

FOREIGN = "somebody-else"
LOOP = FastLoop(metric="tokens_per_second", target=150.0, warm_up_s=300)


def size(hosts: int) -> Size:
    """Return a size with some room above."""
    return Size(minimum=hosts, desired=hosts, maximum=hosts + 2)


def weekly(name: str, minute: int, hosts: int, *, begins: datetime | None = None) -> WeeklyRule:
    """Return a rule of the week in London."""
    return WeeklyRule(
        name=name, minute=minute, zone="Europe/London", size=size(hosts), begins=begins
    )


def once(name: str, hosts: int, *, days: int = 3) -> MomentRule:
    """Return a rule of a whole minute some days from now."""
    at = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(days=days)
    return MomentRule(name=name, at=at, size=size(hosts))


def wanted(
    *rules: Rule,
    bounds: tuple[int, int] = (1, 4),
    loop: FastLoop | None = None,
    drain_s: int | None = None,
) -> Wanted:
    """Return what a target should have."""
    return Wanted(rules=rules, bounds=bounds, loop=loop, drain_s=drain_s)


def bring(target: ScheduleTarget, asked: Wanted) -> int:
    """Apply, and return how many changes that took."""
    changes = plan_changes(target.read(), asked)
    target.apply(changes)
    return len(changes)


class ScheduleTargetContract:
    """The suite."""

    def test_what_was_applied_is_what_is_read(self, target: ScheduleTarget) -> None:
        """Weekly rules, those that begin later, moments, bounds, loop and draining."""
        later = next_time_of("Europe/London", 7170, datetime.now(UTC) + timedelta(days=8))
        rules = (
            weekly("week-mon-0000", 0, 2),
            weekly("week-fri-2330", 7170, 3, begins=later),
            once("once-20990101-0000", 5),
        )
        asked = wanted(*rules, bounds=(2, 6), loop=LOOP, drain_s=600)
        bring(target, asked)
        found = target.read()
        assert set(found.rules) == set(rules)
        assert (found.bounds, found.loop, found.drain_s) == ((2, 6), LOOP, 600)

    def test_applying_twice_changes_nothing(self, target: ScheduleTarget) -> None:
        """The second plan is empty."""
        asked = wanted(weekly("week-mon-0000", 0, 2), once("once-x", 4), loop=LOOP, drain_s=300)
        assert bring(target, asked) > 0
        assert bring(target, asked) == 0

    def test_the_same_changes_can_be_made_again(self, target: ScheduleTarget) -> None:
        """A task that is run again does no harm."""
        asked = wanted(weekly("week-mon-0000", 0, 2), loop=LOOP, drain_s=300)
        changes = plan_changes(target.read(), asked)
        target.apply(changes)
        target.apply(changes)
        assert plan_changes(target.read(), asked) == ()

    def test_only_what_differs_is_changed(self, target: ScheduleTarget) -> None:
        """One rule of two."""
        bring(target, wanted(weekly("week-mon-0000", 0, 2), weekly("week-tue-0000", 1440, 3)))
        again = wanted(weekly("week-mon-0000", 0, 2), weekly("week-tue-0000", 1440, 4))
        assert bring(target, again) == 1

    def test_what_is_no_longer_wanted_goes(self, target: ScheduleTarget) -> None:
        """Rules, loop and draining."""
        bring(target, wanted(weekly("week-mon-0000", 0, 2), loop=LOOP, drain_s=300))
        bring(target, wanted())
        found = target.read()
        assert (found.rules, found.loop, found.drain_s) == ((), None, None)

    def test_what_somebody_else_made_is_told_and_left_alone(self, target: ScheduleTarget) -> None:
        """Its name is all that is said of it."""
        bring(target, wanted(weekly("week-mon-0000", 0, 2)))
        bring(target, wanted())
        assert target.read().foreign == (FOREIGN,)

    def test_a_fleet_that_is_not_marked_is_not_touched(self, unmanaged: ScheduleTarget) -> None:
        """It is refused before anything is changed."""
        with pytest.raises(RefusedError):
            unmanaged.read()
        asked = wanted(weekly("week-mon-0000", 0, 2))
        changes = plan_changes(_nothing(), asked)
        with pytest.raises(RefusedError):
            unmanaged.apply(changes)


def _nothing() -> Found:
    return Found(rules=(), bounds=(0, 0), loop=None, drain_s=None)
