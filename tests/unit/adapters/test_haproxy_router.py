import json
import os
import signal
import socket
import time

import pytest

from greenlight.adapters.haproxy.router import HaproxyRouter
from greenlight.adapters.haproxy.runtime import RuntimeApi
from greenlight.core.errors import (
    ConfigError,
    LostLeaseError,
    RefusedError,
    UnavailableError,
)
from greenlight.deploy.colours import Colour
from greenlight.deploy.ports import ServerMode
from greenlight.testing.haproxy_worlds import a_fleet, haproxy_program, haproxy_router, health_pages

pytestmark = pytest.mark.skipif(haproxy_program() is None, reason="HAProxy is not installed")

BLUE, GREEN = Colour.BLUE, Colour.GREEN
TEN = tuple(f"gpu-{number}" for number in range(1, 11))


class Recorder(RuntimeApi):
    """Notes every line, in order."""

    def __init__(self, folder):
        super().__init__(folder)
        self.lines = []

    def ask(self, line):
        self.lines.append(line)
        return super().ask(line)


class Deaf(RuntimeApi):
    """Says yes to a new weight and does nothing."""

    def tell(self, commands):
        super().tell([command for command in commands if "weight" not in command])


@pytest.fixture
def pages():
    with health_pages(("gpu-1", "gpu-2")) as made:
        yield made


def fleet_of(pages, *hosts, **changes):
    return a_fleet({key: p.port for key, p in pages.items() if key[0] in hosts}, **changes)


def set_ready(router, *hosts, fence=1):
    router.set_modes({(h, c): ServerMode.READY for h in hosts for c in Colour}, fence=fence)


def test_the_gaining_colour_is_raised_and_read_back_before_the_other_is_lowered(pages, tmp_path):
    fleet = fleet_of(pages, "gpu-1", "gpu-2")
    with haproxy_router(fleet, tmp_path, runtime=Recorder) as router:
        set_ready(router, "gpu-1", "gpu-2")
        router.shift({BLUE: 100}, fence=1)
        runtime = router._runtime
        runtime.lines.clear()
        router.shift({GREEN: 10, BLUE: 90}, fence=1)
    show = "show servers state engines; show stat engines 4 -1"
    assert runtime.lines == [
        show,
        "set server engines/gpu-1-green weight 10; set server engines/gpu-2-green weight 10",
        show,
        "set server engines/gpu-1-blue weight 90; set server engines/gpu-2-blue weight 90",
        show,
    ]


def test_a_weight_that_did_not_take_is_named_with_what_was_found(pages, tmp_path):
    with haproxy_router(fleet_of(pages, "gpu-1"), tmp_path, runtime=Deaf) as router:
        set_ready(router, "gpu-1")
        with pytest.raises(UnavailableError, match="gpu-1-blue should have weight 100, but has 0"):
            router.shift({BLUE: 100}, fence=1)
        assert {s.weight for s in router._folder.read().servers} == {0}


def test_a_fence_is_kept_before_anything_changes(pages, tmp_path):
    fleet = fleet_of(pages, "gpu-1")
    with haproxy_router(fleet, tmp_path, runtime=Deaf) as router:
        set_ready(router, "gpu-1")
        with pytest.raises(UnavailableError):
            router.shift({BLUE: 100}, fence=9)
        other = HaproxyRouter(fleet, folder=router._folder.path)
        with pytest.raises(RefusedError, match=r"8.*9"):
            other.shift({BLUE: 100}, fence=8)


def test_a_router_that_never_ran_cannot_be_changed(pages, tmp_path):
    router = HaproxyRouter(fleet_of(pages, "gpu-1"), folder=tmp_path / "router")
    with pytest.raises(UnavailableError, match="never ran"):
        router.shift({BLUE: 100}, fence=1)


def test_a_host_comes_in_without_traffic_and_goes_out_again(pages, tmp_path):
    one, two = fleet_of(pages, "gpu-1"), fleet_of(pages, "gpu-1", "gpu-2", address="localhost")
    with haproxy_router(one, tmp_path) as router:
        pid = router.process.pid()
        set_ready(router, "gpu-1")
        router.shift({BLUE: 90, GREEN: 10}, fence=1)
        router.sync(fleet_of(pages, "gpu-1", "gpu-2"), fence=1)
        state = router.state()
        assert [(s.host, s.weight, s.mode) for s in state.of(BLUE)] == [
            ("gpu-1", 90, ServerMode.READY),
            ("gpu-2", 0, ServerMode.MAINT),
        ]
        set_ready(router, "gpu-2")
        assert all(s.up for s in router.state().servers)
        router.sync(one, fence=1)
        assert {s.host for s in router.state().servers} == {"gpu-1"}
        assert router.state().share(GREEN) == 0.1
        with pytest.raises(RefusedError, match="nobody who serves"):
            router.sync(two, fence=1)
        router.shift({BLUE: 100}, fence=1)
        assert router.process.pid() == pid


def test_a_host_that_moved_comes_back_as_a_new_one(pages, tmp_path):
    both = fleet_of(pages, "gpu-1", "gpu-2")
    moved = a_fleet({
        ("gpu-1", BLUE): pages["gpu-1", BLUE].port, ("gpu-1", GREEN): pages["gpu-1", GREEN].port,
        ("gpu-2", BLUE): pages["gpu-2", GREEN].port, ("gpu-2", GREEN): pages["gpu-2", BLUE].port,
    }, address="127.0.0.1")  # fmt: skip
    with haproxy_router(both, tmp_path) as router:
        set_ready(router, "gpu-1", "gpu-2")
        router.shift({BLUE: 100}, fence=1)
        router.sync(moved, fence=1)
        assert [(s.host, s.weight) for s in router.state().of(BLUE)] == [
            ("gpu-1", 100),
            ("gpu-2", 0),
        ]
        pages["gpu-2", GREEN].kill()
        router.set_modes({("gpu-2", BLUE): ServerMode.READY}, fence=1)
        assert not router.state().of(BLUE)[1].up


def test_a_stale_fence_brings_no_host_in(pages, tmp_path):
    with haproxy_router(fleet_of(pages, "gpu-1"), tmp_path) as router:
        set_ready(router, "gpu-1", fence=5)
        with pytest.raises(RefusedError, match=r"4.*5"):
            router.sync(fleet_of(pages, "gpu-1", "gpu-2"), fence=4)
        assert {s.host for s in router.state().servers} == {"gpu-1"}


@pytest.mark.parametrize(
    ("address", "error"), [("no-such-host.invalid", UnavailableError), ("a; b", ConfigError)]
)
def test_a_host_without_an_address_comes_not_in(pages, tmp_path, address, error):
    wrong = fleet_of(pages, "gpu-1", "gpu-2", address=address)
    with (
        haproxy_router(fleet_of(pages, "gpu-2"), tmp_path) as router,
        pytest.raises(error, match=address),
    ):
        router.sync(wrong, fence=1)


def test_a_shift_reaches_all_ten_hosts(tmp_path):
    with health_pages(TEN) as pages, haproxy_router(fleet_of(pages, *TEN), tmp_path) as router:
        set_ready(router, *TEN)
        for percent in (0, 10, 50, 100):
            router.shift({GREEN: percent, BLUE: 100 - percent}, fence=1)
            assert router.state().share(GREEN) == percent / 100


def killed(router):
    os.kill(router.process.pid(), signal.SIGKILL)
    while router.process.pid():
        time.sleep(0.01)


def bind(probe, port):
    """Take a port as soon as the killed process has let go of it."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return probe.bind(("127.0.0.1", port))
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("ask", ["state", "change"])
def test_a_router_that_was_killed_is_started_again_as_it_was(pages, tmp_path, ask):
    with haproxy_router(fleet_of(pages, "gpu-1", "gpu-2"), tmp_path) as router:
        set_ready(router, "gpu-1", "gpu-2")
        router.set_modes({("gpu-2", GREEN): ServerMode.DRAIN}, fence=3)
        router.shift({BLUE: 50, GREEN: 50}, fence=3)
        before = [(s.host, s.colour, s.mode, s.weight) for s in router.state().servers]
        killed(router)
        if ask == "change":
            router.shift({BLUE: 50, GREEN: 50}, fence=3)
        after = router.state()
        assert [(s.host, s.colour, s.mode, s.weight) for s in after.servers] == before
        assert after.fence == 3
        assert router.process.pid()


def test_a_stale_controller_that_finds_it_dead_changes_nothing(pages, tmp_path):
    with haproxy_router(fleet_of(pages, "gpu-1"), tmp_path) as router:
        set_ready(router, "gpu-1")
        router.shift({BLUE: 50, GREEN: 50}, fence=9)
        killed(router)
        with pytest.raises(LostLeaseError, match=r"8.*9"):
            router.shift({GREEN: 100}, fence=8)
        assert router.state().share(BLUE) == 0.5


def test_a_router_that_was_stopped_stays_stopped(pages, tmp_path):
    with haproxy_router(fleet_of(pages, "gpu-1"), tmp_path) as router:
        router.stop(grace_s=0)
        with pytest.raises(UnavailableError, match="is it running"):
            router.state()
        with pytest.raises(UnavailableError, match="is it running"):
            router.shift({BLUE: 100}, fence=1)
        assert router.process.pid() is None


def test_a_router_that_cannot_be_started_again_says_why(pages, tmp_path):
    with haproxy_router(fleet_of(pages, "gpu-1"), tmp_path) as router:
        killed(router)
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bind(taken, router._fleet.router.port)
            taken.listen()
            with pytest.raises(UnavailableError, match="died and does not start again"):
                router.state()


def test_a_router_of_another_container_is_not_started_here(pages, tmp_path):
    with haproxy_router(fleet_of(pages, "gpu-1"), tmp_path) as router:
        record = router._folder.record.read_text()
        foreign = json.loads(record) | {"identity": "another boot:1"}
        router._folder.record.write_text(json.dumps(foreign))
        assert router.state().servers
        assert json.loads(router._folder.record.read_text()) == foreign
        router._folder.record.write_text(record)
