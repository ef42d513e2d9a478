from dataclasses import replace
from datetime import UTC, datetime

import pytest

from greenlight.core.errors import InputError, RefusedError
from greenlight.core.settings import PROJECT
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import Fleet
from greenlight.deploy.journal import Live
from greenlight.deploy.plans import Wanted, World, plan_rollout
from greenlight.deploy.request import parse_deploy_request
from greenlight.deploy.rollout_file import load_rollout

GB = 2**30
SETTINGS = PROJECT / "include/config/rollout.example.yaml"
WANTED = Wanted(model="m", version=2, digest="2" * 64, weight_bytes=GB, refusal=None)


def a_fleet(*, hosts=2, memory_gb=8):
    return Fleet.model_validate(
        {
            "name": "f", "model": "m", "engine": {"kind": "simulator", "kv_cache_gb": 1},
            "router": {"port": 8000},
            "hosts": [
                {
                    "name": f"h{n}", "root": "r", "gpu_memory_gb": memory_gb,
                    "slots": {"blue": {"port": 8100 + n}, "green": {"port": 8200 + n}},
                }
                for n in range(hosts)
            ],
        }
    )  # fmt: skip


def the_live(fleet, **changes):
    found = Live(
        version=1, digest="1" * 64, colour=Colour.BLUE, flags_digest=fleet.engine.digest,
        rollout_id="r1",
    )  # fmt: skip
    return replace(found, **changes)


def plan(fleet=None, *, rollout="standard", wanted=WANTED, live=True, replace_dead=False, **world):
    fleet = fleet or a_fleet()
    now = the_live(fleet) if live is True else live
    facts = {"live_weight_bytes": GB if now else None, "unreachable": {}} | world
    return plan_rollout(
        "r2",
        fleet=fleet,
        settings=load_rollout(SETTINGS, rollout),
        wanted=wanted,
        world=World(now=datetime(2026, 11, 24, tzinfo=UTC), live=now, **facts),
        by="ana",
        request={},
        replace_dead=replace_dead,
    )


def replacing(fleet=None, *, live_serves=False, **world):
    """Plan to give up what is live; none of its engines answers unless said."""
    return plan(fleet, replace_dead=True, live_serves=live_serves, **world)


def test_a_plan_goes_to_the_idle_colour_in_steps():
    made = plan()
    made.require_possible()
    assert made.rollout.colour is Colour.GREEN
    assert made.moves == ("10", "50", "100")
    assert made.gatekeeper == "h0"
    assert any("compare it with blue" in line for line in made.steps())


def test_the_first_version_is_compared_with_nothing():
    made = plan(live=None)
    assert (made.rollout.colour, made.moves) == (Colour.BLUE, ("100",))
    assert not any("compare" in line for line in made.steps() if "nothing is compared" not in line)


def test_rolling_moves_host_by_host_and_promises_nothing_that_it_does_not_do():
    made = plan(rollout="rolling")
    assert made.moves == ("h0", "h1")
    text = "\n".join(made.steps())
    assert "compare green with blue on the hosts that still have it" in text
    assert "judge green alone: no host has blue any more" in text
    assert not any(
        word in text for word in ("start it as", "on every host", "keep blue", "of blue")
    )


@pytest.mark.parametrize(
    ("changes", "world", "said"),
    [
        ({"refusal": "it is not approved: nobody"}, {}, "nobody"),
        ({"model": "other"}, {}, "serves m, not other"),
        ({"interface_changes": ("tokenizer.json is a, the parent's b",)}, {}, "would notice"),
        ({"is_baseline": True}, {}, "baseline"),
        ({}, {"unreachable": {"h1": "no route"}}, "h1 cannot be used: no route"),
        ({"weight_bytes": 7 * GB}, {}, "both colours need"),
    ],
)  # fmt: skip
def test_what_is_refused_and_why(changes, world, said):
    made = plan(wanted=replace(WANTED, **changes), **world)
    with pytest.raises(RefusedError, match="nothing was changed") as refused:
        made.require_possible()
    assert said in str(refused.value)


def test_every_reason_is_said_at_once():
    wanted = replace(WANTED, refusal="nobody approved it", model="other")
    assert len(plan(wanted=wanted, unreachable={"h0": "away"}).refusals) == 3


def test_too_little_memory_for_both_is_enough_for_rolling():
    fleet = a_fleet(memory_gb=3)
    assert "choose the strategy rolling" in plan(fleet).refusals[0]
    assert plan(fleet, rollout="rolling").refusals == ()


def test_rolling_on_one_host_would_leave_nobody_serving():
    assert "two hosts" in plan(a_fleet(hosts=1), rollout="rolling").refusals[0]


def test_a_baseline_that_served_before_may_come_back():
    wanted = replace(WANTED, is_baseline=True)
    assert plan(wanted=wanted, served_before=frozenset({wanted.digest})).refusals == ()


def test_the_same_version_with_other_flags_is_another_deploy():
    fleet = a_fleet()
    same = replace(WANTED, digest="1" * 64)
    assert plan(fleet, wanted=same).nothing_to_do
    other = the_live(fleet, flags_digest="0" * 64)
    assert plan(fleet, wanted=same, live=other).nothing_to_do is None


def test_a_dead_live_version_is_refused_with_both_ways_on():
    (refused,) = plan(live_serves=False).refusals
    assert "`greenlight deploy start f`" in refused
    assert "--replace-dead" in refused


@pytest.mark.parametrize("rollout", ["standard", "blue_green", "rolling"])
def test_a_dead_version_that_is_given_up_is_replaced_as_a_first_one_comes(rollout):
    made = replacing(rollout=rollout)
    made.require_possible()
    assert (made.rollout.colour, made.moves) == (Colour.GREEN, ("100",))
    assert (made.rollout.is_alone, made.rollout.is_first) == (True, False)
    assert made.rollout.previous_version == 1
    assert made.to_json()["replaces_dead"]
    text = "\n".join(made.steps())
    assert "give up version 1, of which no engine answers" in text
    assert "going back means that nobody serves" in text
    assert not any(word in text for word in ("compare it", "keep blue warm", "drain blue"))


@pytest.mark.parametrize(
    ("world", "said"),
    [
        ({"live_serves": True, "live_answers": ("h0", "h1")}, "answers on h0, h1"),
        ({"live_serves": True}, "answers on the router"),
        ({"live_answers": ("h1",)}, "answers on h1. .* `greenlight deploy start f`"),
    ],
)
def test_a_version_that_answers_anywhere_is_not_given_up(world, said):
    made = replacing(**world)
    assert not made.rollout.replaces_dead
    with pytest.raises(RefusedError, match=f"version 1 is not dead: it {said}"):
        made.require_possible()


@pytest.mark.parametrize(
    ("changes", "world"),
    [
        ({"refusal": "it is not approved: nobody"}, {}),
        ({"model": "other"}, {}),
        ({"interface_changes": ("tokenizer.json is a, the parent's b",)}, {}),
        ({"interface_unknown": "there is no version 1"}, {}),
        ({"is_baseline": True}, {}),
        ({}, {"unreachable": {"h1": "no route"}}),
        ({"weight_bytes": 8 * GB}, {}),
    ],
)
def test_giving_up_a_dead_version_lets_nothing_else_through(changes, world):
    made = replacing(wanted=replace(WANTED, **changes), **world)
    assert len(made.refusals) == 1


def test_a_dead_version_takes_no_memory():
    assert replacing(a_fleet(memory_gb=3)).refusals == ()


def test_giving_up_changes_nothing_where_nothing_is_live():
    first = replacing(live=None)
    assert (first.refusals, first.rollout.replaces_dead) == ((), False)
    assert first.steps() == plan(live=None).steps()


def test_the_dead_version_itself_may_be_deployed_again():
    fleet, same = a_fleet(), replace(WANTED, digest="1" * 64)
    assert replacing(fleet, wanted=same).nothing_to_do is None


def test_what_was_left_half_way_is_ended_without_the_dead_version():
    assert replacing(unfinished="r0").steps()[0].startswith("end rollout r0")


@pytest.mark.parametrize("values", [{"fleet": ""}, {}, {"fleet": "f", "versoin": 1}])
def test_a_bad_request_names_the_key(values):
    with pytest.raises(InputError, match="deploy request"):
        parse_deploy_request(values)


@pytest.mark.parametrize("version", [3, "champion"])
def test_a_version_is_a_number_or_an_alias(version):
    assert parse_deploy_request({"fleet": "f", "version": version}).version == version


def test_a_live_version_that_rests_on_a_host_is_not_compared():
    found = plan(resting=("h1",))
    assert any("doesn't serve on h1" in r and "--min 2" in r for r in found.refusals)
    assert plan(resting=()).refusals == ()
    assert not any("rest" in r for r in plan(resting=("h1",), live_serves=False).refusals)
