from dataclasses import replace
from datetime import timedelta

import pytest

from greenlight.core.errors import InputError, RefusedError
from greenlight.scaling.demand_profile import NotEnoughData
from greenlight.scaling.kept import FRESH, ScheduleState, as_applied, decided, refusal
from greenlight.scaling.replay.comparison import Compared, Comparison
from greenlight.scaling.replay.verdict import why_not_alone
from greenlight.testing.schedules_contract import HOUR, NIGHT, a_schedule

SMALL = a_schedule("f")
LARGE = replace(SMALL, waits_for=("20 hosts more at once",))


def answered(kept, *, approved=True, reason="fine", by="ana"):
    return decided(kept, approved=approved, by=by, at=NIGHT, reason=reason)


def test_a_small_change_may_be_applied_and_a_large_one_waits():
    assert refusal(SMALL, None, now=NIGHT) is None
    assert "20 hosts more at once" in refusal(LARGE, None, now=NIGHT)
    assert refusal(answered(LARGE), None, now=NIGHT) is None


def test_the_same_answer_again_is_no_change_and_another_one_is_refused():
    yes = answered(LARGE)
    assert answered(yes) is yes
    with pytest.raises(RefusedError, match="approved already"):
        answered(yes, approved=False)
    with pytest.raises(RefusedError, match="applied already"):
        answered(as_applied(yes, by="t", at=NIGHT), approved=False)


@pytest.mark.parametrize("bad", [{"by": " "}, {"approved": False, "reason": " "}])
def test_an_answer_has_a_name_and_a_rejection_its_reason(bad):
    with pytest.raises(InputError):
        answered(LARGE, **bad)


def test_a_schedule_grows_old_unless_it_is_what_runs():
    late = NIGHT + FRESH + HOUR
    assert "plan anew" in refusal(SMALL, None, now=late)
    running = as_applied(SMALL, by="t", at=NIGHT)
    assert refusal(running, running, now=late) is None


def test_a_newer_schedule_is_not_replaced_by_an_older_one():
    newer = as_applied(
        replace(SMALL, digest="b" * 64, made_at=NIGHT + HOUR), by="t", at=NIGHT + HOUR
    )
    assert "a newer one" in refusal(SMALL, newer, now=NIGHT + 2 * HOUR)


def test_what_is_applied_stays_as_it_was_applied():
    once = as_applied(SMALL, by="t", at=NIGHT)
    assert as_applied(once, by="u", at=NIGHT + timedelta(days=1)) is once
    assert once.state is ScheduleState.APPLIED


def row(policy, slo_pct, gpu_hours):
    return Compared(
        policy=policy, over_oracle=1.1, slo_pct=slo_pct, served_pct=100.0, gpu_hours=gpu_hours,
        starts=1, stops=1,
    )  # fmt: skip


def replayed(*rows):
    return Comparison(first=NIGHT.date(), last=NIGHT.date(), bridged=0.0, rows=rows)


def test_as_good_as_before_needs_nobody():
    found = replayed(
        row("schedule", 99.9, 100), row("previous", 99.95, 100), row("static", 100, 130)
    )
    assert why_not_alone(found, slo_points=0.5) == ()


def test_worse_than_what_runs_or_than_no_schedule_is_looked_at():
    worse = replayed(row("schedule", 99.0, 100), row("previous", 99.6, 120))
    assert "the schedule before 99.60 %" in why_not_alone(worse, slo_points=0.5)[0]
    useless = replayed(row("schedule", 99.0, 100), row("static", 99.0, 100))
    assert "without any schedule" in why_not_alone(useless, slo_points=0.5)[0]


def test_what_was_not_replayed_is_looked_at():
    lacking = NotEnoughData(why="16 days")
    assert why_not_alone(lacking, slo_points=0.5) == ("it could not be replayed: 16 days",)
    assert why_not_alone(replayed(row("hpa", 99, 1)), slo_points=0.5) == ("it was not replayed",)
