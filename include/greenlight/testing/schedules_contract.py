"""What every store of schedules must do. Subclass it and give it a fixture `schedules`."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from greenlight.core.digest import digest_bytes
from greenlight.core.errors import InputError, RefusedError
from greenlight.scaling.kept import KeptSchedule, ScheduleState, as_applied, decided
from greenlight.scaling.look_back import LookBack
from greenlight.scaling.ports import ScheduleStore

NIGHT = datetime(2026, 11, 24, 3, 40, tzinfo=UTC)
HOUR = timedelta(hours=1)


def a_fleet() -> str:
    """Return a fleet that no other test uses."""
    return f"fleet-{uuid.uuid4().hex[:12]}"


def a_schedule(fleet: str, *, made_at: datetime = NIGHT, waits_for: tuple[str, ...] = ()
               ) -> KeptSchedule:  # fmt: skip
    """Return a new proposal."""
    text = f"fleet: {fleet}\nmade_at: '{made_at.isoformat()}'\n"
    return KeptSchedule(
        digest=digest_bytes(text.encode()), fleet=fleet, text=text, state=ScheduleState.PROPOSED,
        made_at=made_at, made_by="Airflow", waits_for=waits_for, expected_slo_pct=99.96,
        gpu_hours=360.5,
    )  # fmt: skip


def a_day(day: date, **changes: object) -> LookBack:
    """Return how a day went."""
    values = {
        "day": day, "share": 0.99, "planned_hours": 40.0, "hours": 42.5, "spare_hours": 3.25,
        "planned_slo_pct": 99.5, "slo_pct": 99.75, "error": 0.125, "worst_hour": 9,
    }  # fmt: skip
    return LookBack(**(values | changes))  # type: ignore[arg-type] # checked by its own class


class SchedulesContract:
    """The suite."""

    def test_a_schedule_is_read_back_as_it_was_kept(self, schedules: ScheduleStore) -> None:
        """What isn't known stays unknown, and is not 0."""
        kept = a_schedule(a_fleet(), waits_for=("the first schedule of this fleet", "another"))
        bare = replace(a_schedule(a_fleet()), expected_slo_pct=None, gpu_hours=None)
        for one in (kept, bare):
            assert schedules.add(one) == one
            assert schedules.get(one.digest) == one

    def test_adding_the_same_again_changes_nothing(self, schedules: ScheduleStore) -> None:
        """A task that is run again gets what became of the first."""
        kept = schedules.add(a_schedule(a_fleet()))
        yes = decided(kept, approved=True, by="ana", at=NIGHT + HOUR, reason="")
        schedules.change(yes, was=ScheduleState.PROPOSED)
        assert schedules.add(kept) == yes

    def test_of_two_answers_the_second_is_refused(self, schedules: ScheduleStore) -> None:
        """Nobody's answer is lost without a word."""
        kept = schedules.add(a_schedule(a_fleet(), waits_for=("large",)))
        yes = decided(kept, approved=True, by="ana", at=NIGHT, reason="fine")
        schedules.change(yes, was=ScheduleState.PROPOSED)
        no = decided(kept, approved=False, by="bo", at=NIGHT, reason="too few")
        with pytest.raises(RefusedError, match="proposed"):
            schedules.change(no, was=ScheduleState.PROPOSED)
        assert schedules.get(kept.digest) == yes

    def test_a_schedule_that_nobody_made_is_refused(self, schedules: ScheduleStore) -> None:
        """Neither shown nor changed."""
        kept = a_schedule(a_fleet())
        with pytest.raises(InputError, match="no schedule"):
            schedules.get(kept.digest)
        with pytest.raises(RefusedError):
            schedules.change(kept, was=ScheduleState.PROPOSED)

    def test_what_was_applied_last_is_what_a_fleet_has(self, schedules: ScheduleStore) -> None:
        """By the time it was applied, of this fleet alone; and by a moment of the past."""
        fleet = a_fleet()
        assert schedules.applied(fleet) is None
        done = []
        for n in range(2):
            kept = schedules.add(a_schedule(fleet, made_at=NIGHT + n * HOUR))
            done.append(as_applied(kept, by="Airflow", at=NIGHT + (n + 2) * HOUR))
            schedules.change(done[-1], was=ScheduleState.PROPOSED)
        schedules.add(a_schedule(fleet, made_at=NIGHT + 9 * HOUR))
        schedules.add(a_schedule(a_fleet(), made_at=NIGHT + 9 * HOUR))
        assert schedules.applied(fleet) == done[1]
        assert schedules.applied_at(fleet, NIGHT + 2 * HOUR) == done[0]
        assert schedules.applied_at(fleet, NIGHT + HOUR) is None

    def test_the_newest_come_first_and_no_more_than_asked_for(
        self, schedules: ScheduleStore
    ) -> None:
        """Of one fleet."""
        fleet = a_fleet()
        made = [schedules.add(a_schedule(fleet, made_at=NIGHT + n * HOUR)) for n in (1, 0, 2)]
        schedules.add(a_schedule(a_fleet()))
        assert schedules.newest(fleet) == (made[2], made[0], made[1])
        assert schedules.newest(fleet, count=1) == (made[2],)

    def test_a_day_that_is_looked_at_again_is_replaced(self, schedules: ScheduleStore) -> None:
        """Both ends of a time are in it; no hour is an answer too."""
        fleet, first = a_fleet(), date(2026, 11, 20)
        days = [a_day(first + timedelta(days=n)) for n in (2, 0, 1)]
        for day in days:
            schedules.save_look_back(fleet, day)
        again = a_day(first, slo_pct=100.0, worst_hour=None)
        schedules.save_look_back(fleet, again)
        found = schedules.look_backs(fleet, first, first + timedelta(days=1))
        assert found == (again, days[2])
        assert schedules.look_backs(a_fleet(), first, first + timedelta(days=9)) == ()
