from datetime import timedelta

import pytest
from scaling_worlds import LONDON, at, constant, local, size

from greenlight.scaling.rules import MomentRule, WeeklyRule, next_time_of, rules_of
from greenlight.scaling.schedule import DatedEntry, Override, WeeklyEntry
from greenlight.scaling.targets import (
    DropRule,
    FastLoop,
    Found,
    PutBounds,
    PutRule,
    lines_of,
    plan_changes,
    wanted_of,
)

NOW = at("2026-03-22T12:00")  # a Sunday


def entry(start, end, hosts):
    return WeeklyEntry(start=start, end=end, size=size(hosts), reason="x")


def week(**more):
    entries = (
        entry(0, 540, 2),
        entry(540, 1020, 8),
        entry(1020, 1440 + 540, 2),
        entry(1440 + 540, 1440 + 1020, 8),
        entry(1440 + 1020, 0, 2),
    )
    return constant(weekly=entries, zone=LONDON, **more)


def holiday(day):
    return DatedEntry(
        start=local(f"{day} 00:00"),
        end=local(f"{day} 00:00") + timedelta(days=1),
        size=size(3),
        reason="x",
    )


def split(rules):
    weekly = {rule.name: rule for rule in rules if isinstance(rule, WeeklyRule)}
    return weekly, [rule for rule in rules if isinstance(rule, MomentRule)]


def test_a_plain_week_is_one_rule_a_change():
    weekly, moments = split(rules_of(week(), NOW))
    assert {name: (rule.minute, rule.size.minimum) for name, rule in weekly.items()} == {
        "week-mon-0900": (540, 8),
        "week-mon-1700": (1020, 2),
        "week-tue-0900": (1980, 8),
        "week-tue-1700": (2460, 2),
    }
    assert moments == []
    assert all(rule.begins is None for rule in weekly.values())


def test_one_size_all_week_is_still_one_rule():
    (rule,) = rules_of(constant(4), NOW)
    assert (rule.minute, rule.size.minimum) == (0, 4)
    same = constant(weekly=(entry(0, 600, 3), entry(600, 0, 3)))
    assert len(rules_of(same, NOW)) == 1


def test_a_holiday_is_moments_and_the_weeks_rules_begin_after_it():
    weekly, moments = split(rules_of(week(dated=(holiday("2026-03-23"),)), NOW))
    assert [(rule.at, rule.size.minimum) for rule in moments] == [
        (at("2026-03-23T00:00"), 3),
        (at("2026-03-24T00:00"), 2),
    ]
    # a week later, in summer time
    assert weekly["week-mon-0900"].begins == at("2026-03-30T08:00")
    assert weekly["week-tue-0900"].begins is None


def test_an_override_is_kept_to_its_limits_and_the_week_comes_back():
    override = Override(
        start=at("2026-03-23T08:00"),
        expires=at("2026-03-23T12:00"),
        minimum=5,
        maximum=None,
        reason="x",
        by="ana",
    )
    weekly, moments = split(rules_of(week(overrides=(override,)), NOW))
    found = [(rule.at.hour, rule.size.minimum, rule.size.desired) for rule in moments]
    assert found == [(8, 5, 5), (9, 5, 8), (12, 8, 8)]
    assert weekly["week-mon-0900"].begins is not None
    assert weekly["week-mon-1700"].begins is None


def test_what_is_over_or_far_away_has_no_rules():
    dated = (holiday("2026-03-20"), holiday("2026-04-06"))
    weekly, moments = split(rules_of(week(dated=dated), NOW))
    assert moments == []
    assert all(rule.begins is None for rule in weekly.values())


def test_no_rule_is_for_a_moment_that_is_over():
    rules = rules_of(week(dated=(holiday("2026-03-23"),)), at("2026-03-23T10:00"))
    _, moments = split(rules)
    assert [rule.at for rule in moments] == [at("2026-03-24T00:00")]


def replayed(rules, moments_from, until):
    """What a scaler that keeps these rules has at each quarter of an hour."""
    fired = []
    for rule in rules:
        if isinstance(rule, MomentRule):
            fired.append((rule.at, rule.size))
            continue
        when = rule.begins or next_time_of(rule.zone, rule.minute, moments_from)
        while when < until:
            fired.append((when, rule.size))
            when = next_time_of(rule.zone, rule.minute, when + timedelta(minutes=1))
    fired.sort(key=lambda pair: pair[0])
    assert len({when for when, _ in fired}) == len(fired), "two rules for one moment"
    return fired


@pytest.mark.parametrize("now", [NOW, at("2026-10-18T12:00"), at("2026-03-23T07:30")])
def test_a_scaler_that_keeps_the_rules_has_what_the_schedule_says(now):
    monday = (now + timedelta(days=(7 - now.weekday()) % 7)).date().isoformat()
    override = Override(
        start=now + timedelta(days=3, hours=2),
        expires=now + timedelta(days=4, hours=5),
        minimum=None,
        maximum=1,
        reason="x",
        by="ana",
    )
    schedule = week(dated=(holiday(monday),), overrides=(override,))
    fired = replayed(rules_of(schedule, now), now, now + timedelta(days=7))
    size_now = schedule.at(now)
    moment = now
    while moment < now + timedelta(days=7):
        past = [size for when, size in fired if when <= moment]
        assert (past[-1] if past else size_now) == schedule.at(moment), moment
        moment += timedelta(minutes=15)


def test_the_next_time_is_local_and_never_over():
    assert next_time_of(LONDON, 540, at("2026-03-23T09:00")) == at("2026-03-23T09:00")
    assert next_time_of(LONDON, 540, at("2026-03-23T09:01")) == at("2026-03-30T08:00")


LOOP = FastLoop(metric="tokens_per_second", target=150.0, warm_up_s=300)


def found(rules=(), bounds=(1, 1), **more):
    values = {"loop": None, "drain_s": None, **more}
    return Found(rules=tuple(rules), bounds=bounds, **values)


def test_a_diff_is_empty_once_it_is_applied():
    asked = wanted_of(week(), now=NOW, loop=LOOP, drain_s=600)
    assert len(plan_changes(found(), asked)) == 4 + 3
    same = found(asked.rules, asked.bounds, loop=LOOP, drain_s=600)
    assert plan_changes(same, asked) == ()


def test_a_dry_run_can_be_read_and_names_what_is_left_alone():
    before = found(rules_of(constant(4), NOW), (9, 9), foreign=("own",))
    asked = wanted_of(week(), now=NOW, loop=LOOP, drain_s=None)
    lines = lines_of(plan_changes(before, asked), before)
    assert "+ mon 09:00 Europe/London: 8 (8 to 8)" in lines
    assert "- mon 00:00 UTC: 4 (4 to 6)" in lines
    assert "~ now: 2 to 2 hosts, was 9 to 9" in lines
    assert "~ fast loop: tokens_per_second at 150 a host" in lines
    assert lines[-1] == "left alone: own"
    assert lines_of((), before)[0] == "nothing to change"


def test_rules_are_put_before_others_are_dropped():
    before = found(rules_of(constant(4), NOW))
    kinds = [
        type(c) for c in plan_changes(before, wanted_of(week(), now=NOW, loop=None, drain_s=None))
    ]
    assert kinds.index(DropRule) > max(i for i, kind in enumerate(kinds) if kind is PutRule)
    assert PutBounds in kinds
