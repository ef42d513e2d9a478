import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from greenlight.cli import scaling as command
from greenlight.cli import scaling_tables as tables
from greenlight.cli.main import build
from greenlight.core.errors import GateError, InputError, RefusedError
from greenlight.entrypoints.scaling import Applied
from greenlight.entrypoints.scaling_measured import NotPlanned
from greenlight.entrypoints.scaling_slots import Cycle
from greenlight.scaling.demand_profile import NotEnoughData
from greenlight.scaling.kept import ScheduleState
from greenlight.scaling.schedule_changes import ScheduleDiff
from greenlight.scaling.slots import Action, Step
from greenlight.testing.schedules_contract import NIGHT, a_day, a_schedule

RUN = CliRunner()
SMALL = replace(a_schedule("f"), digest="a" * 64, text="fleet: f\n")
LARGE = replace(a_schedule("f", waits_for=("20 hosts more at once",)), digest="b" * 64)


class Scaling:
    """A fleet with two proposals; what was asked of it is noted."""

    def __init__(self):
        self.asked, self.found = [], (LARGE, SMALL)
        self.why_not = None

    def plan(self):
        return NotPlanned(fleet="f", why=("no benchmark: run one",))

    def replay(self):
        return NotEnoughData(why="9 days")

    def newest(self, *, count):
        return self.found[:count]

    def applied(self):
        return SMALL

    def applied_schedule(self):
        return None

    def preview(self, kept):
        return (f"+ rules of {kept.digest[:3]}",)

    def decide(self, digest, *, approved, by, reason):
        self.asked.append((digest[:3], approved, reason))
        return LARGE

    def apply(self, digest, *, by):
        self.asked.append((digest[:3], "apply"))
        return Applied(schedule=LARGE, lines=("+ rule",), why_not=self.why_not)

    def override(self, wanted, *, dry_run):
        self.asked.append((wanted, dry_run))
        return Applied(schedule=LARGE, lines=("~ now: 8 to 9 hosts",))


class Days:
    def newest(self, count):
        return (a_day(NIGHT.date(), worst_hour=None),)

    def look_back(self, day):
        return a_day(day or NIGHT.date(), slo_pct=97.25)


@pytest.fixture
def world(monkeypatch):
    made = Scaling()
    monkeypatch.setattr(command, "_open", lambda fleet: made)
    monkeypatch.setattr(command, "_open_days", lambda fleet: Days())
    return made


def invoke(*arguments):
    return RUN.invoke(build(), ["scaling", *arguments])


@pytest.mark.parametrize(
    "name",
    [
        "plan",
        "show",
        "diff",
        "apply",
        "reject",
        "override",
        "replay",
        "look-back",
        "loop",
        "aws-loop",
    ],
)
def test_every_command_explains_itself(name):
    shown = invoke(name, "--help")
    assert shown.exit_code == 0
    assert "Usage" in shown.output


def test_what_cannot_be_planned_or_replayed_fails_and_says_what_to_measure(world):
    assert "no benchmark: run one" in str(invoke("plan", "f").exception)
    assert isinstance(invoke("replay", "f").exception, GateError)


def test_show_tells_what_runs_what_waits_and_how_days_went(world):
    shown = invoke("show", "f").output
    assert "fleet: f" in shown
    assert "20 hosts more at once" in shown
    assert "99.75 %" in shown
    plain = json.loads(invoke("show", "f", "--json").output)
    assert plain["applied"]["digest"] == "a" * 64
    assert plain["days"][0]["worst_hour"] is None


def test_a_dry_run_applies_nothing(world):
    assert "+ rules of bbb" in invoke("apply", "f", "--dry-run").output
    assert world.asked == []


def test_the_newest_is_applied_or_the_one_that_is_named(world):
    assert invoke("apply", "f").exit_code == 0
    invoke("apply", "f", "--digest", "aa")
    assert world.asked == [("bbb", "apply"), ("aaa", "apply")]


def test_approving_comes_before_applying(world):
    invoke("apply", "f", "--approve", "--reason", "looks right")
    assert world.asked == [("bbb", True, "looks right"), ("bbb", "apply")]


def test_what_may_not_be_applied_fails(world):
    world.why_not = "it waits for approval: 20 hosts more at once"
    shown = invoke("apply", "f")
    assert isinstance(shown.exception, GateError)
    assert "waits for approval" in str(shown.exception)


def test_a_rejection_needs_its_reason(world):
    assert invoke("reject", "f").exit_code != 0
    invoke("reject", "f", "--digest", "bb", "--reason", "too few")
    assert world.asked == [("bbb", False, "too few")]


@pytest.mark.parametrize("digest", ["c", "bbbbc"])
def test_an_unknown_digest_is_refused(world, digest):
    assert isinstance(invoke("apply", "f", "--digest", digest).exception, InputError)
    world.found = ()
    assert "no schedule was planned yet" in str(invoke("apply", "f").exception)


def test_a_beginning_that_two_have_is_refused(world):
    world.found = (SMALL, replace(SMALL, digest="a" * 63 + "b"))
    assert "give more of it" in str(invoke("diff", "f", "--digest", "aa").exception)


def test_an_override_lasts_as_long_as_was_said(world):
    shown = invoke("override", "f", "--min", "8", "--for", "90m", "--reason", "launch", "--dry-run")
    assert "8 to 9 hosts" in shown.output
    ((wanted, dry_run),) = world.asked
    assert (wanted.minimum, wanted.maximum, wanted.reason, dry_run) == (8, None, "launch", True)
    assert wanted.expires - wanted.start == timedelta(minutes=90)
    assert abs(wanted.start - datetime.now(UTC)) < timedelta(minutes=1)
    assert invoke("override", "f", "--min", "8", "--for", "soon", "--reason", "x").exit_code != 0


def test_a_day_is_looked_back_at(world):
    assert "97.25 %" in invoke("look-back", "f").output
    found = json.loads(invoke("look-back", "f", "--day", "2026-11-20", "--json").output)
    assert found["day"] == "2026-11-20"
    assert isinstance(invoke("look-back", "f", "--day", "friday").exception, InputError)


def test_diff_shows_the_target_and_why_it_waits(world):
    shown = invoke("diff", "f").output
    assert "waits: 20 hosts more at once" in shown
    assert "+ rules of bbb" in shown


def test_the_loop_looks_once_and_says_what_it_would_do(monkeypatch):
    class Loop:
        def cycle(self, *, dry_run):
            step = Step(action=Action.START, host="gpu-1", why="2 are wanted")
            return Cycle(why="2 asked for", steps=(step,))

    monkeypatch.setattr(command, "_open_loop", lambda fleet: Loop())
    assert "would start gpu-1: 2 are wanted" in invoke("loop", "f", "--dry-run").output
    assert "\nstart gpu-1" in invoke("loop", "f", "--once").output


def test_a_fleet_that_something_else_scales_has_no_loop(monkeypatch):
    from greenlight.entrypoints import scaling_tools

    monkeypatch.setattr(scaling_tools, "open_loop", lambda fleet: None)
    assert isinstance(invoke("loop", "f").exception, RefusedError)


def test_the_aws_loop_looks_once_and_says_what_it_would_do(monkeypatch):
    class Loop:
        def cycle(self, *, dry_run):
            return ("would drain gpu-0: it is taken in 117 s",) if dry_run else ()

    monkeypatch.setattr(command, "_open_aws_loop", lambda fleet: Loop())
    assert "would drain gpu-0" in invoke("aws-loop", "f", "--dry-run").output
    assert "nothing to do" in invoke("aws-loop", "f", "--once").output


def test_a_notice_is_looked_for_often_enough():
    assert invoke("aws-loop", "f", "--every", "60").exit_code == 2


def test_a_fleet_without_a_group_has_no_aws_loop(monkeypatch):
    from greenlight.entrypoints import aws_loop

    monkeypatch.setattr(aws_loop, "open_aws_loop", lambda fleet: None)
    assert isinstance(invoke("aws-loop", "f").exception, RefusedError)


def test_states_are_shown_as_words(world):
    world.found = (replace(SMALL, state=ScheduleState.REJECTED, reason="too few"),)
    shown = invoke("show", "f").output
    assert "rejected" in shown
    assert "too few" in shown


def test_every_change_is_printed_and_so_is_that_there_is_none(capsys):
    diff = ScheduleDiff(
        changed=(), gpu_hours_before=10.0, gpu_hours_after=10.0, fewer_hosts=0, more_hosts=0,
        facts=(),
    )  # fmt: skip
    tables.print_diff(diff)
    assert "nothing changes" in capsys.readouterr().out
    tables.print_diff(replace(diff, facts=("floor: 1 → 2",), gpu_hours_after=12.5))
    shown = capsys.readouterr().out
    assert "floor: 1 → 2" in shown
    assert "GPU-hours: 10 → 12.5" in shown
