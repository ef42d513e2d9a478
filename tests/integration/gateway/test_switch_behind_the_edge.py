"""nginx, gateway, HAProxy, engines: all real but the engines. Traffic moves between the colours
while clients ask, and nobody notices."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from greenlight.adapters.haproxy.router import HaproxyRouter
from greenlight.adapters.nginx.process import Nginx
from greenlight.core.clock import SystemClock
from greenlight.deploy.colours import Colour
from greenlight.deploy.ports import ServerMode
from greenlight.testing.edge_worlds import certificates_for_tests, edge_settings, trusting
from greenlight.testing.engine_simulator import EngineSimulator
from greenlight.testing.gateway_worlds import (
    KEY,
    MODEL,
    GatewayWorld,
    gateway_file,
    write_tokenizer,
)
from greenlight.testing.haproxy_worlds import a_fleet, haproxy_router
from greenlight.testing.memory_limits import MemoryLimits
from greenlight.testing.simulation import Simulation

TOKENS = 12
CLIENTS = 16
STEPS = (10, 50, 100, 50, 0, 100, 0)
"""Shares of green, one after the other."""
STEP_S = 0.8
BLUE, GREEN = Colour


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Everything between a client and the engines."""

    url: str
    trust: ssl.SSLContext
    router: HaproxyRouter
    engines: dict[Colour, EngineSimulator]
    gateway: GatewayWorld


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    quick = Simulation(first_token_s=0.02, token_s=0.01, tokens=TOKENS)
    with ExitStack() as stack:
        engines = {c: stack.enter_context(EngineSimulator(quick, model=MODEL)) for c in Colour}
        ports = {("a", c): int(engine.url.rpartition(":")[2]) for c, engine in engines.items()}
        fleet = a_fleet(ports)
        router = stack.enter_context(haproxy_router(fleet, tmp_path))
        router.set_modes(dict.fromkeys(ports, ServerMode.READY), fence=0)
        router.shift({BLUE: 100}, fence=0)
        upstream = f"http://127.0.0.1:{fleet.router.port}"
        file = gateway_file(upstream, write_tokenizer(tmp_path / "tokenizer"))
        limits = MemoryLimits(SystemClock())
        gateway = stack.enter_context(GatewayWorld(file, limits=limits))
        certificates = certificates_for_tests(tmp_path / "tls")
        port = int(gateway.url.rpartition(":")[2])
        nginx = Nginx(edge_settings(certificates, upstream_port=port), folder=tmp_path / "nginx")
        nginx.start()
        stack.callback(nginx.stop)
        yield Chain(
            url=nginx.url,
            trust=trusting(certificates),
            router=router,
            engines=engines,
            gateway=gateway,
        )


def test_a_switch_under_load_fails_nothing_and_cuts_nothing(chain: Chain) -> None:
    outcomes: Counter[str] = Counter()

    async def client(session: aiohttp.ClientSession, number: int, until: float) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            outcomes[await _ask(session, chain.url, stream=number % 2 == 0)] += 1

    async def main() -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        connector = aiohttp.TCPConnector(ssl=chain.trust)
        async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
            until = asyncio.get_running_loop().time() + STEP_S * (len(STEPS) + 1)
            clients = [client(session, number, until) for number in range(CLIENTS)]
            await asyncio.gather(*clients, _switch(chain))

    asyncio.run(main())
    assert set(outcomes) == {"whole answer", "whole stream"}, outcomes
    assert min(outcomes.values()) > len(STEPS)
    assert all(engine.requests for engine in chain.engines.values())
    records = chain.gateway.records
    assert len(records) == sum(outcomes.values())
    assert {record["colour"] for record in records} == {"blue", "green"}


def test_an_engine_that_cuts_its_streams_is_noticed_by_this_very_load(chain: Chain) -> None:
    chain.engines[BLUE].change(cut_stream=1.0)

    async def main() -> str:
        headers = {"Authorization": f"Bearer {KEY}"}
        connector = aiohttp.TCPConnector(ssl=chain.trust)
        async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
            return await _ask(session, chain.url, stream=True)

    assert asyncio.run(main()) == "a stream was cut"


async def _switch(chain: Chain) -> None:
    for share in STEPS:
        await asyncio.sleep(STEP_S)
        await asyncio.to_thread(chain.router.shift, {GREEN: share, BLUE: 100 - share}, fence=0)


async def _ask(session: aiohttp.ClientSession, url: str, *, stream: bool) -> str:
    messages = [{"role": "user", "content": "tell me more"}]
    body = {"model": MODEL, "messages": messages, "stream": stream, "temperature": 1}
    try:
        async with session.post(f"{url}/v1/chat/completions", json=body) as response:
            found = await response.read()
            if response.status != 200:
                return f"HTTP {response.status}: {found[:200]!r}"
    except aiohttp.ClientError as error:
        return f"{type(error).__name__}: {error}"
    if not stream:
        return "whole answer" if b'"finish_reason"' in found else "an answer was cut"
    return "whole stream" if found.endswith(b"data: [DONE]\n\n") else "a stream was cut"
