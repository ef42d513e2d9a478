from dataclasses import replace
from datetime import date

from scaling_worlds import at, constant

from greenlight.scaling.demand_profile import NotEnoughData
from greenlight.scaling.description import SHOWN, describe_plan, replay_lines
from greenlight.scaling.replay.comparison import Compared, Comparison
from greenlight.scaling.schedule import Expected
from greenlight.scaling.schedule_changes import diff

ROW = Compared(
    policy="schedule", over_oracle=1.1, slo_pct=99.956, served_pct=99.99, gpu_hours=1234.56,
    starts=7, stops=7,
)  # fmt: skip
REPLAYED = Comparison(first=date(2026, 3, 2), last=date(2026, 3, 8), bridged=0.02, rows=(ROW,))


def test_a_first_schedule_says_how_large_it_is():
    first = replace(constant(4), expected=Expected(slo_pct=99.9, gpu_hours=672.0))
    told = describe_plan(first, None, REPLAYED, ("the first schedule of this fleet",))
    assert told.startswith("**Waits because:** the first schedule of this fleet")
    assert "672 GPU-hours a week" in told
    assert "Made from benchmark 7" in told


def test_changes_are_listed_up_to_a_limit_with_the_hours():
    changes = diff(constant(4), constant(6), start=at("2026-03-02"))
    told = describe_plan(constant(6), changes, REPLAYED, ())
    assert "672 → 1008" in told
    assert "- mon 00:00 to mon 00:00: 4 (4 to 6) → 6 (6 to 8)" in told
    many = replace(changes, changed=changes.changed * (SHOWN + 2))
    assert "- and 2 more" in describe_plan(constant(6), many, REPLAYED, ())


def test_no_change_is_said():
    same = diff(constant(4), constant(4), start=at("2026-03-02"))
    assert "Nothing changes" in describe_plan(constant(4), same, REPLAYED, ())


def test_a_replay_is_a_table_that_says_what_was_bridged():
    lines = replay_lines(REPLAYED)
    assert lines[0] == "Replayed on 2026-03-02 to 2026-03-08 (2.0% of the demand is bridged)"
    assert lines[-1] == (
        "| this kind of schedule, planned every night | 99.96 % | 1,234.6 | 1.100× | 7 |"
    )


def test_what_was_not_replayed_is_said_without_figures():
    assert replay_lines(NotEnoughData(why="9 days")) == ["Not replayed: 9 days."]
