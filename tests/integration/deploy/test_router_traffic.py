"""What clients see of a router that changes: real HAProxy, real engines, real connections."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from greenlight.core.errors import RefusedError
from greenlight.deploy.colours import Colour
from greenlight.deploy.ports import ServerMode
from greenlight.testing.haproxy_worlds import a_fleet, haproxy_program, haproxy_router
from greenlight.testing.servers import free_port
from greenlight.testing.waiting import wait_for

pytestmark = [
    pytest.mark.skipif(haproxy_program() is None, reason="HAProxy is not installed"),
    pytest.mark.timeout(60),
]

BLUE, GREEN = Colour.BLUE, Colour.GREEN
ENGINE = Path(__file__).with_name("tiny_engine.py")
COLOUR = "X-Greenlight-Colour"


@contextmanager
def engines(*hosts):
    """Yield processes and ports of the engines of both colours, by host and colour."""
    with ExitStack() as stack:
        found = {}
        for key in [(host, colour) for host in hosts for colour in Colour]:
            process = subprocess.Popen(
                [sys.executable, ENGINE, f"{key[0]}-{key[1]}"], stdout=subprocess.PIPE
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            found[key] = process
        yield found, {key: int(p.stdout.readline()) for key, p in found.items()}


@dataclass
class World:
    router: object
    url: str
    engines: dict
    fleet: object
    metrics_port: int
    ports: dict

    def ready(self, *colours):
        hosts = [host.name for host in self.fleet.hosts]
        self.router.set_modes({(h, c): ServerMode.READY for h in hosts for c in colours}, fence=1)

    def sessions(self, colour):
        return sum(s.sessions for s in self.router.state().of(colour))

    def wait_until(self, holds):
        wait_for(holds, seconds=10, every_s=0.01, why=self.router.state)


@contextmanager
def a_world(tmp_path, *, hosts=("gpu-1",), **router):
    with engines(*hosts) as (processes, ports):
        metrics_port = free_port()
        fleet = a_fleet(ports, metrics_port=metrics_port, **router)
        with haproxy_router(fleet, tmp_path) as running:
            url = f"http://127.0.0.1:{fleet.router.port}"
            world = World(running, url, processes, fleet, metrics_port, ports)
            world.ready(BLUE, GREEN)
            running.shift({BLUE: 100}, fence=1)
            yield world


@pytest.fixture
def world(tmp_path):
    with a_world(tmp_path) as made:
        yield made


@dataclass
class Seen:
    """What clients got: how often each colour answered, and every failure."""

    colours: Counter = field(default_factory=Counter)
    streams: int = 0
    failures: list = field(default_factory=list)


async def unary(session, url, seen, *, seconds=0.0, size=100):
    try:
        async with session.post(f"{url}/unary/{seconds}", data=b"x" * size) as response:
            told = await response.json(content_type=None)
            if response.status != 200 or told["size"] != size:
                seen.failures.append((response.status, told))
            seen.colours[response.headers.get(COLOUR)] += 1
    except aiohttp.ClientError as error:
        seen.failures.append(error)


async def stream(session, url, seen, *, first_s=0.0, count=20, gap_s=0.01):
    try:
        async with session.post(f"{url}/stream/{first_s}/{count}/{gap_s}", data=b"x") as response:
            text = await response.text()
            wanted = "".join(f"data: {n}\n\n" for n in [*range(count), "[DONE]"])
            if response.status != 200 or text != wanted:
                seen.failures.append((response.status, text))
            seen.streams += 1
            seen.colours[response.headers.get(COLOUR)] += 1
    except aiohttp.ClientError as error:
        seen.failures.append(error)


async def ask_many(url, count):
    seen = Seen()
    async with aiohttp.ClientSession() as session:
        for _ in range(count):
            await unary(session, url, seen)
    return seen


async def keep_asking(url, stop, seen):
    """Unary and streaming clients, on kept connections, until told to stop."""

    async def repeat(ask, **how):
        async with aiohttp.ClientSession() as session:
            while not stop.is_set():
                await ask(session, url, seen, **how)

    await asyncio.gather(
        *(repeat(unary, seconds=0.005) for _ in range(4)),
        *(repeat(stream, count=30, gap_s=0.01) for _ in range(4)),
    )


async def while_clients_ask(url, act):
    """Run `act` in a thread while clients go on; return what they saw."""
    stop, seen = asyncio.Event(), Seen()
    clients = asyncio.create_task(keep_asking(url, stop, seen))
    try:
        await asyncio.to_thread(act)
    finally:
        stop.set()
        await clients
    return seen


@pytest.mark.parametrize("percent", [1, 10, 50])
def test_clients_get_the_colours_in_the_shares_that_were_set(world, percent):
    world.router.shift({GREEN: percent, BLUE: 100 - percent}, fence=1)
    seen = asyncio.run(ask_many(world.url, 400))
    assert not seen.failures
    assert abs(seen.colours["green"] - 4 * percent) <= 2, seen.colours
    assert sum(s.requests for s in world.router.state().of(GREEN)) == seen.colours["green"]


def test_nobody_notices_a_rollout_and_a_rollback(tmp_path):
    def roll():
        for percent in (10, 50, 100, 0, 100):
            time.sleep(0.4)
            world.router.shift({GREEN: percent, BLUE: 100 - percent}, fence=1)
        time.sleep(0.4)

    with a_world(tmp_path, hosts=("gpu-1", "gpu-2")) as world:
        seen = asyncio.run(while_clients_ask(world.url, roll))
        assert not seen.failures
        assert min(seen.colours["blue"], seen.colours["green"]) > 50
        assert seen.streams > 20
        assert sum(s.errors for s in world.router.state().servers) == 0


async def ask_while_green_dies(world, *, size):
    """Requests wait at both colours for their first byte when green is killed."""

    def kill():
        world.wait_until(lambda: world.sessions(GREEN) == 20)
        for (_, colour), engine in world.engines.items():
            if colour is GREEN:
                engine.kill()

    seen = Seen()
    async with aiohttp.ClientSession() as session:
        waiting = [unary(session, world.url, seen, seconds=0.5, size=size) for _ in range(20)]
        waiting += [stream(session, world.url, seen, first_s=0.5) for _ in range(20)]
        tasks = [asyncio.create_task(one) for one in waiting]
        await asyncio.to_thread(kill)
        for _ in range(50):
            await unary(session, world.url, seen)
        await asyncio.gather(*tasks)
    return seen


def test_a_killed_engine_costs_no_request_that_waits_for_its_first_byte(world):
    world.router.shift({GREEN: 50, BLUE: 50}, fence=1)
    seen = asyncio.run(ask_while_green_dies(world, size=world.fleet.router.buffer_bytes))
    assert not seen.failures
    assert seen.colours == {"blue": 90}
    world.wait_until(lambda: not world.router.state().of(GREEN)[0].up)
    with pytest.raises(RefusedError, match="nobody would serve"):
        world.router.shift({GREEN: 100}, fence=1)


def test_a_colour_that_dies_costs_none_when_there_are_retries_for_its_engines(tmp_path):
    # A request may meet both engines twice: as they die, and before they are known to be dead.
    with a_world(tmp_path, hosts=("gpu-1", "gpu-2"), health_interval_s=1.0, retries=5) as world:
        world.router.shift({GREEN: 50, BLUE: 50}, fence=1)
        seen = asyncio.run(ask_while_green_dies(world, size=100))
        assert not seen.failures
        assert seen.colours == {"blue": 90}


def test_it_is_the_retries_that_save_these_requests(tmp_path):
    with a_world(tmp_path, retries=0) as world:
        world.router.shift({GREEN: 50, BLUE: 50}, fence=1)
        seen = asyncio.run(ask_while_green_dies(world, size=100))
        assert len(seen.failures) >= 20
        assert sum(s.errors for s in world.router.state().of(GREEN)) >= 20


def test_a_stream_that_began_is_never_sent_again(world):
    async def ask():
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{world.url}/stream/0/1000/0.01", data=b"x") as response,
        ):
            await response.content.readuntil(b"data: 3\n\n")
            world.engines["gpu-1", GREEN].kill()
            return await response.text()

    world.router.shift({GREEN: 100}, fence=1)
    with pytest.raises(aiohttp.ClientPayloadError):
        asyncio.run(ask())
    assert sum(s.requests for s in world.router.state().of(BLUE)) == 0
    world.wait_until(lambda: sum(s.errors for s in world.router.state().of(GREEN)) == 1)


def test_a_request_longer_than_the_buffer_is_served(world):
    async def ask():
        seen = Seen()
        async with aiohttp.ClientSession() as session:
            await unary(session, world.url, seen, size=1_000_000)
        return seen

    assert not asyncio.run(ask()).failures


def test_a_client_that_goes_away_frees_its_engine(world):
    async def ask():
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.2)) as session:
            with pytest.raises(TimeoutError):
                await session.post(f"{world.url}/unary/30", data=b"x")
            await asyncio.to_thread(world.wait_until, lambda: world.sessions(BLUE) == 0)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{world.ports['gpu-1', BLUE]}/seen") as response,
        ):
            return await response.json(content_type=None)

    assert asyncio.run(ask()) == {"requests": 1, "abandoned": 1}


def test_without_an_engine_clients_get_an_error_they_can_read(world):
    async def ask():
        async with aiohttp.ClientSession() as session, session.post(world.url) as response:
            return response.status, (await response.json())["error"]["message"]

    world.router.set_modes({("gpu-1", BLUE): ServerMode.MAINT}, fence=1)
    assert asyncio.run(ask()) == (503, "no engine can answer now; try again")


def test_a_drained_colour_keeps_its_streams_until_they_end(world):
    async def ask():
        seen = Seen()
        async with aiohttp.ClientSession() as session:
            open_stream = asyncio.create_task(
                stream(session, world.url, seen, count=80, gap_s=0.01)
            )
            await asyncio.to_thread(world.wait_until, lambda: world.sessions(BLUE) == 1)
            world.router.shift({GREEN: 100}, fence=1)
            world.router.set_modes({("gpu-1", BLUE): ServerMode.DRAIN}, fence=1)
            for _ in range(20):
                await unary(session, world.url, seen)
            assert seen.colours == {"green": 20}
            assert world.sessions(BLUE) == 1
            await open_stream
        await asyncio.to_thread(world.wait_until, lambda: world.sessions(BLUE) == 0)
        return seen

    seen = asyncio.run(ask())
    assert not seen.failures
    assert seen.colours == {"green": 20, "blue": 1}


def test_a_stop_lets_open_streams_end(world):
    async def ask():
        seen = Seen()
        async with aiohttp.ClientSession() as session:
            task = asyncio.create_task(stream(session, world.url, seen, count=80, gap_s=0.01))
            await asyncio.to_thread(world.wait_until, lambda: world.sessions(BLUE) == 1)
            stop = asyncio.create_task(asyncio.to_thread(world.router.stop, grace_s=20))
            await task
        await stop
        return seen

    seen = asyncio.run(ask())
    assert not seen.failures
    assert world.router.process.pid() is None


def test_a_killed_haproxy_comes_back_as_it_was(tmp_path):
    with a_world(tmp_path, hosts=("gpu-1", "gpu-2", "gpu-3")) as world:
        world.router.shift({GREEN: 10, BLUE: 90}, fence=4)
        world.router.shift({GREEN: 100}, fence=4, hosts=["gpu-2"])
        world.router.set_modes({("gpu-3", GREEN): ServerMode.DRAIN}, fence=4)
        world.router.set_modes({("gpu-2", BLUE): ServerMode.MAINT}, fence=4)

        def told():
            state = world.router.state()
            return state.fence, [(s.host, s.colour, s.weight, s.mode) for s in state.servers]

        before, share = told(), world.router.state().share(GREEN)
        pid = world.router.process.pid()
        os.kill(pid, signal.SIGKILL)
        world.wait_until(lambda: world.router.process.pid() is None)
        assert world.router.ensure_running()
        assert world.router.process.pid() != pid
        assert told() == before
        assert world.router.state().share(GREEN) == share == 110 / 290
        seen = asyncio.run(ask_many(world.url, 290))
        assert not seen.failures
        assert abs(seen.colours["green"] - 110) <= 2
        with pytest.raises(RefusedError):
            world.router.shift({BLUE: 100}, fence=3)


def test_hosts_come_and_go_while_clients_ask(tmp_path):
    with a_world(tmp_path) as world, engines("gpu-2") as (_, more):
        both = a_fleet(world.ports | more, port=world.fleet.router.port)
        second = a_fleet(more, port=world.fleet.router.port)
        pid = world.router.process.pid()

        def change():
            world.router.sync(both, fence=1)
            world.router.set_modes({("gpu-2", BLUE): ServerMode.READY}, fence=1)
            world.router.shift({BLUE: 100}, fence=1, hosts=["gpu-2"])
            time.sleep(0.3)
            world.router.shift({BLUE: 100}, fence=1)
            world.router.sync(second, fence=1)

        seen = asyncio.run(while_clients_ask(world.url, change))
        assert not seen.failures
        assert [(s.host, s.weight) for s in world.router.state().of(BLUE)] == [("gpu-2", 100)]
        assert world.router.process.pid() == pid
        os.kill(pid, signal.SIGKILL)
        world.wait_until(lambda: world.router.process.pid() is None)
        world.router.ensure_running()
        assert [(s.host, s.weight) for s in world.router.state().of(BLUE)] == [("gpu-2", 100)]


def test_prometheus_can_read_it(world):
    async def ask():
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{world.metrics_port}/metrics") as response,
        ):
            return await response.text()

    assert 'haproxy_server_weight{proxy="engines",server="gpu-1-blue"} 100' in asyncio.run(ask())
