"""The cache in the whole gateway: nothing is answered twice, and nothing is answered wrongly."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import openai
import pytest

from greenlight.adapters.haproxy.router import HaproxyRouter
from greenlight.adapters.memory_answers import MemoryAnswers
from greenlight.core.clock import SystemClock
from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Event, Outcome, Phase, Rollout, Step
from greenlight.deploy.ports import ServerMode
from greenlight.entrypoints.gateway.answers import Answers
from greenlight.gateway.answer_counts import AnswerCounts
from greenlight.gateway.gateway_file import CacheSettings
from greenlight.testing.engine_simulator import EngineSimulator
from greenlight.testing.gateway_worlds import (
    KEY,
    MODEL,
    GatewayWorld,
    gateway_file,
    principal,
    write_tokenizer,
)
from greenlight.testing.haproxy_worlds import a_fleet, haproxy_router
from greenlight.testing.memory_limits import MemoryLimits
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases
from greenlight.testing.simulation import Simulation
from greenlight.testing.waiting import wait_for

GREEDY: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "how are you"}],
    "temperature": 0,
}
FLEET = "gpus"
SEEN_S = 1.5
"""By then the gateway has looked at the journal again."""
WAIT_S = 15.0
eventually = partial(wait_for, seconds=WAIT_S, every_s=0.05)
DIGESTS = {Colour.BLUE: "b" * 64, Colour.GREEN: "c" * 64}


Routed = tuple[HaproxyRouter, str]
"""A router, and where clients ask it."""


class World:
    """An engine that says its colour as the router does, a journal, and the gateway."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        leases = MemoryLeases(lambda: datetime.now(UTC))
        self.journal = MemoryJournal(leases)
        self.numbers = itertools.count()
        self.counts = AnswerCounts()

    def went_live(self, colour: Colour) -> None:
        """Let a rollout end with this colour live."""
        rollout = self.begun(colour)
        self.noted(rollout, Step.FINISH, {"outcome": str(Outcome.LIVE)})

    def begun(self, colour: Colour) -> str:
        """Let a rollout begin."""
        number = next(self.numbers)
        rollout = Rollout(
            id=f"r{number}", fleet=FLEET, model=MODEL, version=number + 1, digest=DIGESTS[colour],
            flags_digest="f" * 64, strategy="canary", colour=colour,
            started_at=datetime.now(UTC), started_by="test", previous_version=None,
            previous_digest=None,
        )  # fmt: skip
        self.journal.open_rollout(rollout)
        return rollout.id

    def noted(self, rollout: str, step: Step, detail: dict[str, Any]) -> None:
        """Let a step be done."""
        event = Event(
            rollout_id=rollout, at=datetime.now(UTC), step=step, phase=Phase.DONE, detail=detail
        )
        self.journal.append(event)

    def gateway(self, url: str) -> GatewayWorld:
        """Return a gateway with a cache of its own."""
        model = {
            "name": MODEL, "upstream": url, "context": 2048, "fleet": FLEET,
            "tokenizer": str(write_tokenizer(self.folder / "tokenizer")),
        }  # fmt: skip
        file = gateway_file(url, self.folder, models=[model], cache={"enabled": True})
        clock = SystemClock()
        answers = Answers(
            MemoryAnswers(max_bytes=10**7, clock=clock, counts=self.counts), None,
            settings=CacheSettings(), counts=self.counts, clock=clock, chance=lambda: 0.0,
            owner="test",
        )  # fmt: skip
        who = {KEY: principal(), "other": principal(subject="k2", scopes=["chat", "model:*"])}
        limits = MemoryLimits(clock)
        return GatewayWorld(
            file, limits=limits, journal=self.journal, answers=answers, principals=who
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    found = World(tmp_path)
    found.went_live(Colour.BLUE)
    return found


QUICK = Simulation(first_token_s=0.02, token_s=0.001, tokens=6)


@pytest.fixture
def engine() -> Iterator[EngineSimulator]:
    with EngineSimulator(QUICK, model=MODEL) as found:
        yield found


@pytest.fixture
def green() -> Iterator[EngineSimulator]:
    with EngineSimulator(QUICK, model=MODEL) as found:
        yield found


@pytest.fixture
def routed(engine: EngineSimulator, green: EngineSimulator, tmp_path: Path) -> Iterator[Routed]:
    """A real HAProxy, which says the colour of every answer; everything goes to blue."""
    ports = {("a", Colour.BLUE): port_of(engine), ("a", Colour.GREEN): port_of(green)}
    fleet = a_fleet(ports)
    with haproxy_router(fleet, tmp_path) as found:
        found.set_modes(dict.fromkeys(ports, ServerMode.READY), fence=0)
        found.shift({Colour.BLUE: 100}, fence=0)
        eventually(lambda: all(server.up for server in found.state().servers))
        yield found, f"http://127.0.0.1:{fleet.router.port}"


def port_of(engine: EngineSimulator) -> int:
    return int(engine.url.rpartition(":")[2])


@pytest.fixture
def gateway(world: World, routed: Routed) -> Iterator[GatewayWorld]:
    with world.gateway(routed[1]) as found:
        yield found


def ask(
    gateway: GatewayWorld, body: Any = None, *, key: str = KEY, wish: str = ""
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}", **({"x-greenlight-cache": wish} if wish else {})}
    return httpx.post(
        f"{gateway.url}/v1/chat/completions", json=body or GREEDY, headers=headers, timeout=30
    )


def test_the_same_greedy_request_is_answered_once(
    gateway: GatewayWorld, engine: EngineSimulator
) -> None:
    first, second = ask(gateway), ask(gateway)
    assert (first.headers["x-cache"], second.headers["x-cache"]) == ("miss", "hit-memory")
    assert first.json() == second.json()
    assert len(engine.requests) == 1
    record = gateway.records[-1]
    assert record["cache"] == "hit-memory"
    assert "answer_tokens" not in record  # it cost nothing


@pytest.mark.parametrize(
    "change",
    [
        {"messages": [{"role": "user", "content": "how are you?"}]},
        {"max_tokens": 5},
        {"top_p": 0.5},
        {"stop": ["x"]},
        {"seed": 1},
        {"logit_bias": {"1": 5}},
        {"frequency_penalty": 0.5},
    ],
)
def test_any_other_request_is_asked(
    gateway: GatewayWorld, engine: EngineSimulator, change: dict[str, Any]
) -> None:
    ask(gateway)
    assert ask(gateway, GREEDY | change).headers["x-cache"] == "miss"
    assert len(engine.requests) == 2


def test_a_request_that_may_be_answered_otherwise_is_always_asked(
    gateway: GatewayWorld, engine: EngineSimulator
) -> None:
    for _ in range(2):
        assert "x-cache" not in ask(gateway, GREEDY | {"temperature": 0.7}).headers
    assert len(engine.requests) == 2


def test_a_request_can_ask_to_be_kept_all_the_same(
    gateway: GatewayWorld, engine: EngineSimulator
) -> None:
    warm = GREEDY | {"temperature": 0.7}
    assert [ask(gateway, warm, wish="always").headers["x-cache"] for _ in range(2)] == [
        "miss", "hit-memory",
    ]  # fmt: skip


def test_who_may_bypass_gets_a_fresh_answer_and_who_may_not_does_not(
    gateway: GatewayWorld, engine: EngineSimulator
) -> None:
    ask(gateway)
    assert ask(gateway, wish="bypass").headers["x-cache"] == "bypass"
    assert len(engine.requests) == 2
    assert ask(gateway, wish="bypass", key="other").headers["x-cache"] == "hit-memory"


@pytest.mark.parametrize("first", [False, True])
def test_a_stream_and_an_answer_in_one_piece_are_the_same_answer(
    gateway: GatewayWorld, engine: EngineSimulator, first: bool
) -> None:
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0)

    def text(*, stream: bool) -> str:
        if not stream:
            answer = client.chat.completions.create(**GREEDY)
            return str(answer.choices[0].message.content)
        chunks = client.chat.completions.create(**GREEDY, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    assert text(stream=first) == text(stream=not first) == text(stream=first)
    assert len(engine.requests) == 1


def test_a_hundred_at_once_are_one_question(gateway: GatewayWorld, engine: EngineSimulator) -> None:
    engine.change(first_token_s=0.3)

    async def main() -> list[str]:
        headers = {"Authorization": f"Bearer {KEY}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            return await asyncio.gather(*(one(session) for _ in range(100)))

    async def one(session: aiohttp.ClientSession) -> str:
        async with session.post(f"{gateway.url}/v1/chat/completions", json=GREEDY) as response:
            assert response.status == 200
            return json.dumps((await response.json())["choices"])

    assert len(set(asyncio.run(main()))) == 1
    assert len(engine.requests) == 1


def test_a_client_that_leaves_lets_the_next_one_ask(
    gateway: GatewayWorld, engine: EngineSimulator
) -> None:
    engine.change(first_token_s=1.0)

    async def main() -> int:
        headers = {"Authorization": f"Bearer {KEY}"}
        url = f"{gateway.url}/v1/chat/completions"
        async with aiohttp.ClientSession(headers=headers) as session:
            first = asyncio.ensure_future(session.post(url, json=GREEDY))
            await asyncio.sleep(0.2)
            second = asyncio.ensure_future(session.post(url, json=GREEDY))
            await asyncio.sleep(0.2)
            first.cancel()
            return (await second).status

    assert asyncio.run(main()) == 200


def test_a_failure_is_not_kept(gateway: GatewayWorld, engine: EngineSimulator) -> None:
    engine.change(error_rate=1.0)
    assert ask(gateway).status_code == 500
    engine.change(error_rate=0.0)
    assert ask(gateway).headers["x-cache"] == "miss"


def test_a_new_champion_gets_no_old_answers(
    world: World, routed: Routed, engine: EngineSimulator, green: EngineSimulator
) -> None:
    with world.gateway(routed[1]) as gateway:
        old = ask(gateway).json()
        rollout = world.begun(Colour.GREEN)
        time.sleep(SEEN_S)
        assert ask(gateway).json() == old
        world.noted(rollout, Step.SHIFT, {"share": 10})
        eventually(lambda: "x-cache" not in ask(gateway).headers)  # nobody knows who answers
        routed[0].shift({Colour.GREEN: 100}, fence=0)
        green.change(wrong_text=True)
        world.noted(rollout, Step.SHIFT, {"share": 100})
        eventually(lambda: ask(gateway).headers.get("x-cache") == "hit-memory")
        assert ask(gateway).json()["choices"] != old["choices"]
        world.noted(rollout, Step.ROLL_BACK, {"share": 0})
        routed[0].shift({Colour.BLUE: 100}, fence=0)
        eventually(lambda: ask(gateway).json() == old)


def test_an_answer_of_another_colour_than_expected_is_not_kept(
    world: World, routed: Routed, gateway: GatewayWorld
) -> None:
    routed[0].shift({Colour.GREEN: 100}, fence=0)  # by hand: the journal knows nothing of it
    for _ in range(2):
        assert ask(gateway).headers["x-cache"] == "miss"


def test_without_a_live_version_nothing_is_kept(
    tmp_path: Path, routed: Routed, engine: EngineSimulator
) -> None:
    with World(tmp_path).gateway(routed[1]) as gateway:
        for _ in range(2):
            assert "x-cache" not in ask(gateway).headers
    assert len(engine.requests) == 2
