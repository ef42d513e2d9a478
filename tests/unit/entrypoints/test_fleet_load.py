import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from scaling_slots_worlds import Load

from greenlight.core.errors import UnavailableError
from greenlight.deploy.colours import Colour
from greenlight.deploy.ports import ServerMode
from greenlight.entrypoints.fleet_load import EVERY_S, LATEST, PublishedLoad, load_now
from greenlight.testing.manual_clock import ManualClock
from greenlight.testing.memory_router import MemoryRouter

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@dataclass
class Sink:
    told: list = field(default_factory=list)
    away: bool = False

    def publish(self, load, *, at):
        if self.away:
            raise UnavailableError("AWS cloudwatch does not answer")
        self.told.append((load, at))


class World:
    """Two hosts serve blue; green is there too, without traffic."""

    def __init__(self):
        self.clock, self.load, self.sink = ManualClock(NOW), Load(), Sink()
        self.router = MemoryRouter(["a", "b"])
        ready = {(h, c): ServerMode.READY for h in "ab" for c in Colour}
        self.router.set_modes(ready, fence=1)
        self.router.shift({Colour.BLUE: 100}, fence=1)
        self.published = PublishedLoad(
            fleet="f", source=self.load, router=self.router, sink=self.sink, clock=self.clock
        )

    def look(self, *, load, later=EVERY_S, **asked):
        self.load.now = load
        self.clock.advance(later)
        return self.published.look(**asked)


@pytest.fixture
def world():
    return World()


def test_the_load_of_each_host_is_told_once_a_minute(world):
    assert world.look(load=300.0) == ("tokens_per_second is 150.0 for each of 2 hosts",)
    for _ in range(11):
        world.look(load=300.0, later=5)
    assert world.sink.told == [(150.0, NOW + timedelta(minutes=1))]
    world.look(load=400.0, later=5)
    assert [load for load, _ in world.sink.told] == [150.0, 200.0]
    assert world.published.told_at == world.clock.now()


def test_a_measured_zero_is_told(world):
    world.look(load=0.0)
    assert [load for load, _ in world.sink.told] == [0.0]


@pytest.mark.parametrize("why", ["none", "away", "late", "nan"])
def test_a_load_that_is_not_known_is_not_told_and_never_zero(world, why):
    world.load.away = why == "away"
    world.load.age = LATEST + timedelta(minutes=1) if why == "late" else timedelta(minutes=1)
    load = {"none": None, "nan": math.nan}.get(why, 300.0)
    assert (
        "isn't published, so the group's size stays: it isn't measured" in world.look(load=load)[0]
    )
    assert (world.sink.told, world.published.told_at) == ([], None)


def test_a_load_that_nobody_serves_is_no_load_of_a_host(world):
    world.router.dead = {(host, colour) for host in "ab" for colour in Colour}
    assert "nobody serves" in world.look(load=300.0)[0]
    assert world.sink.told == []


def test_hosts_that_drain_do_not_count(world):
    world.router.set_modes({("a", Colour.BLUE): ServerMode.DRAIN}, fence=1)
    world.look(load=300.0)
    assert world.sink.told[0][0] == 300.0


def test_a_host_with_both_colours_counts_once(world):
    world.router.shift({Colour.BLUE: 50, Colour.GREEN: 50}, fence=1)
    world.look(load=300.0)
    assert world.sink.told[0][0] == 150.0


def test_a_dry_run_tells_nobody(world):
    assert "150.0" in world.look(load=300.0, dry_run=True)[0]
    assert (world.sink.told, world.published.told_at) == ([], None)


def test_what_could_not_be_told_is_told_in_the_next_look(world):
    world.sink.away = True
    with pytest.raises(UnavailableError):
        world.look(load=300.0)
    world.sink.away = False
    world.look(load=300.0, later=1)
    assert len(world.sink.told) == 1


def test_the_newest_sample_is_the_load_now():
    load = Load()
    load.now = 12.0
    assert load_now(load, "f", now=NOW) == 12.0
