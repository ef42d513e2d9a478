from dataclasses import replace

import pytest

from greenlight.deploy.colours import Colour
from greenlight.deploy.drift import Found, drift
from greenlight.deploy.journal import Live
from greenlight.deploy.ports import EngineState, EngineStatus, RouterState, ServerMode, ServerState

BLUE, GREEN = Colour.BLUE, Colour.GREEN
DIGEST, FLAGS = "d" * 64, "f" * 64
LIVE = Live(version=2, digest=DIGEST, colour=BLUE, flags_digest=FLAGS, rollout_id="r")
SERVES = EngineStatus(
    state=EngineState.READY, digest=DIGEST, flags_digest=FLAGS, served_digest=DIGEST
)
STOPPED = EngineStatus(state=EngineState.STOPPED)


def server(colour, **changes):
    made = ServerState(
        host="a", colour=colour, weight=100 if colour is BLUE else 0, sessions=0,
        mode=ServerMode.READY if colour is BLUE else ServerMode.MAINT, up=colour is BLUE,
    )  # fmt: skip
    return replace(made, **changes)


def found(**changes):
    made = Found(
        engines={("a", BLUE): SERVES, ("a", GREEN): STOPPED},
        router=RouterState(fence=1, servers=(server(BLUE), server(GREEN))),
        champion=(2, DIGEST),
    )
    return replace(made, **changes)


def engines(**changes):
    return {("a", BLUE): replace(SERVES, **changes), ("a", GREEN): STOPPED}


def router(blue=None, green=None):
    servers = (server(BLUE, **(blue or {})), server(GREEN, **(green or {})))
    return RouterState(fence=1, servers=servers)


def test_what_is_as_it_was_deployed_has_no_drift():
    assert drift(LIVE, found()) == ()


def test_a_fleet_that_serves_nothing_yet_has_no_drift():
    assert drift(None, found(champion=None)) == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"champion": None}, "points nowhere"),
        ({"champion": (3, "e" * 64)}, "moved to version 3"),
        ({"engines": engines(served_digest="e" * 64)}, "host a serves eeeeeeeeeeee, not"),
        ({"engines": engines(flags_digest="0" * 64)}, "serves with flags 000000000000"),
        ({"engines": engines(state=EngineState.FAILED, reason="gone")}, "is failed: gone"),
        ({"engines": {("a", BLUE): "no route"}}, "could not be asked: no route"),
        ({"engines": {("a", GREEN): SERVES}}, "has a green engine"),
        ({"router": "socket is gone"}, "router could not be asked"),
        ({"router": router(blue={"up": False})}, "sends nothing to a blue"),
        ({"router": router(green={"weight": 10, "up": True, "mode": ServerMode.READY})}, "9% to"),
        ({"refusal": "rejected by ben"}, "but rejected by ben"),
        ({"unfinished": "r9"}, "r9 is unfinished"),
    ],
)
def test_each_kind_of_drift_is_named(changes, said):
    problems = drift(LIVE, found(**changes))
    assert any(said in problem for problem in problems), problems
