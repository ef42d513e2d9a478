import math

import pytest
from rollout_worlds import Colour, RolloutWorld

from greenlight.core.errors import GateError, UnavailableError
from greenlight.deploy.counters import FirstTokens, LiveCounts, Unread
from greenlight.deploy.journal import Phase, Step
from greenlight.entrypoints.rollout_counters import FIRST_READS, Counters

pytestmark = pytest.mark.timeout(60)
BLUE, GREEN = Colour.BLUE, Colour.GREEN
ASKED = 400
"""Requests of the load that each engine gets."""


@pytest.fixture
def world(tmp_path):
    return RolloutWorld(tmp_path)


def counters(world, serving=None, *, engines=True):
    everywhere = dict.fromkeys((GREEN, BLUE), tuple(world.hosts))
    return Counters(world.tools(), serving or everywhere, engines=engines)


def requests(world, colour, *, requests, errors=0):
    """Say what the router has counted on the colour's first host."""
    world.router.requests["gpu-0", colour] = requests
    world.router.errors["gpu-0", colour] = errors


def tokens(on_time, n):
    return FirstTokens(bounds=(2.5, math.inf), within=(on_time, n))


def test_counting_begins_with_the_step(world):
    requests(world, BLUE, requests=100, errors=1)
    world.engines.within = {20100: (50, 60), 20101: (5, 5)}
    counting = counters(world)
    requests(world, BLUE, requests=130, errors=2)
    world.engines.within = {20100: (58, 70), 20101: (7, 8)}
    counting.look()
    assert counting.live[BLUE] == LiveCounts(requests=30, errors=1)
    assert counting.live[GREEN] == LiveCounts(requests=0, errors=0)
    assert counting.first_tokens == {BLUE: tokens(10, 13), GREEN: tokens(0, 0)}


def test_a_router_that_was_started_again_keeps_what_was_counted_before(world):
    requests(world, BLUE, requests=100, errors=1)
    counting = counters(world)
    for now, errors in ((150, 4), (8, 0), (20, 1)):
        requests(world, BLUE, requests=now, errors=errors)
        counting.look()
    assert counting.live[BLUE] == LiveCounts(requests=70, errors=4)


def test_an_engine_that_was_started_again_keeps_what_was_counted_before(world):
    world.engines.within = {20100: (50, 60), 20101: (900, 900)}
    counting = counters(world)
    for on_time, n in ((53, 64), (1, 2)):
        world.engines.within = {20100: (on_time, n), 20101: (900, 900)}
        counting.look()
    assert counting.first_tokens[BLUE] == tokens(4, 6)


def test_a_colour_is_unread_while_an_engine_is_away_and_complete_when_it_is_back(world):
    counting = counters(world)
    world.engines.within = {20201: None, 20200: (3, 4)}
    counting.look()
    assert counting.first_tokens[GREEN] == Unread(reason="20201 is away")
    assert counting.first_tokens[BLUE] == tokens(0, 0)
    world.engines.within = {20201: (1, 1), 20200: (3, 4)}
    counting.look()
    assert counting.first_tokens[GREEN] == tokens(4, 5)


@pytest.mark.parametrize(("silent", "known"), [(FIRST_READS - 1, True), (FIRST_READS, False)])
def test_an_engine_that_is_silent_when_the_step_begins_is_asked_again_a_few_times(
    world, silent, known
):
    reads = iter(range(100))

    def read():
        world.engines.within = {20100: None if next(reads) < silent else (7, 9)}

    world.engines.on_read = read
    counting = counters(world)
    counting.look()
    found = counting.first_tokens[BLUE]
    assert found == tokens(0, 0) if known else "when the step began" in found.reason


def test_only_engines_that_serve_are_read(world):
    world.engines.within = {20100: None, 20101: (1, 1), 20200: (1, 1), 20201: None}
    counting = counters(world, {GREEN: ("gpu-0",), BLUE: ("gpu-1",)})
    world.engines.within |= {20101: (3, 4), 20200: (6, 7)}
    counting.look()
    assert counting.first_tokens == {GREEN: tokens(5, 6), BLUE: tokens(2, 3)}


def test_engines_are_left_alone_where_no_rule_asks_for_them(world):
    world.engines.on_read = lambda: pytest.fail("an engine was read")
    counting = counters(world, engines=False)
    counting.look()
    assert counting.first_tokens == {}


def test_a_router_that_does_not_answer_is_not_taken_for_silence(world):
    counting = counters(world)
    world.router.away = True
    with pytest.raises(UnavailableError):
        counting.look()


class Clients:
    """Clients who send 100 requests to each engine between two looks; `late` of them wait long."""

    def __init__(self, world):
        self._world, self.late, self.looks = world, {}, 0

    def __call__(self):
        self.looks += 1
        sent = 100 * self.looks
        for number, host in enumerate(self._world.hosts):
            for colour, port in ((BLUE, 20100), (GREEN, 20200)):
                late = self.late.get(colour, 0) * self.looks
                n = sent + (ASKED if self.looks > 1 else 0)
                self._world.engines.within[port + number] = (n - late, n)
                self._world.router.requests[host, colour] = sent


@pytest.fixture
def live(world):
    """Version 1 is live on blue, and clients ask."""
    world.run(1)
    world.clients = world.engines.on_read = Clients(world)
    return world


def judged(world, *, share):
    """Return what the journal says of the live rules at one share."""
    events = world.journal.events("to-2")
    (detail,) = [e.detail for e in events if e.phase is Phase.DONE
                 and (e.step, e.subject) == (Step.ANALYSE, share)]  # fmt: skip
    return {found["rule"]: found for found in detail["rules"]}


def test_a_version_that_serves_clients_as_soon_goes_live(live):
    live.clients.late = {BLUE: 1, GREEN: 1}
    assert live.run(2, "with_clients")["outcome"] == "live"
    first = judged(live, share="10")["live-ttft"]
    assert first["verdict"] == "pass"
    assert first["n_blue"] == first["n_green"] > 100
    assert first["green"] == 0.01
    assert judged(live, share="100")["live-ttft"]["verdict"] == "not applicable"


def test_a_version_that_lets_only_clients_wait_is_gone_again(live):
    live.clients.late = {GREEN: 30}
    with pytest.raises(GateError, match="live-ttft: late live first tokens 30"):
        live.run(2, "with_clients")
    assert live.share(BLUE) == 1


def test_engines_without_histograms_go_live_and_the_journal_says_that_nobody_measured(live):
    live.engines.on_read = lambda: live.engines.within.update({20201: None})
    assert live.run(2, "with_clients")["outcome"] == "live"
    found = judged(live, share="50")["live-ttft"]
    assert (found["verdict"], found["green"]) == ("not measured", None)
    assert "20201 is away" in found["reason"]


def test_a_router_that_is_started_again_during_a_step_takes_nothing_back(live):
    def restarted():
        live.clients()
        if live.clients.looks < 3:
            long = {key: 9_000 + n for key, n in live.router.requests.items()}
            live.router.requests.update(long)

    live.engines.on_read = restarted
    assert live.run(2, "with_clients")["outcome"] == "live"
    assert judged(live, share="10")["live-errors"]["verdict"] == "pass"
