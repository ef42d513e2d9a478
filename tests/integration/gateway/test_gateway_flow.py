"""The real application behind a real HTTP server, asked by the client that users have."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import openai
import pytest

from greenlight.core.clock import SystemClock
from greenlight.core.errors import UnavailableError
from greenlight.gateway.gateway_file import Price
from greenlight.gateway.limits import LimitKind
from greenlight.testing.engine_simulator import EngineSimulator
from greenlight.testing.gateway_worlds import (
    KEY,
    MODEL,
    TENANT,
    GatewayWorld,
    gateway_file,
    principal,
    simulated_gateway,
    write_tokenizer,
)
from greenlight.testing.memory_gateway import MemoryAudit, MemorySpendCaps
from greenlight.testing.memory_limits import MemoryLimits
from greenlight.testing.servers import free_port
from greenlight.testing.simulation import Simulation
from greenlight.testing.spend_caps_contract import a_cap, keep
from greenlight.testing.waiting import wait_for


class Away:
    """A store of limits that never answers."""

    async def _nothing(self, *_: object, **__: object) -> Any:
        raise UnavailableError("away")

    reserve = settle = standing = _nothing


def counted() -> MemoryLimits:
    return MemoryLimits(SystemClock())


HI: list[dict[str, Any]] = [{"role": "user", "content": "hello there"}]
PROMPT_TOKENS = 7
"""`<s> user hello there </s> <s> assistant`, by words."""
TOKENS = 8
USED = TOKENS + 1
"""With the token that ends an answer."""
QUICK = Simulation(first_token_s=0.01, token_s=0.002, tokens=TOKENS)
WAIT_S = 5.0
eventually = partial(wait_for, seconds=WAIT_S)


@pytest.fixture
def engine() -> Iterator[EngineSimulator]:
    with EngineSimulator(QUICK, model=MODEL) as found:
        yield found


@pytest.fixture
def gateway(engine: EngineSimulator, tmp_path: Path) -> Iterator[GatewayWorld]:
    with simulated_gateway(engine.url, tmp_path, limits=counted()) as found:
        yield found


def client(world: GatewayWorld, *, key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{world.url}/v1", api_key=key, max_retries=0)


def post(world: GatewayWorld, body: Any = None, **options: Any) -> httpx.Response:
    given = {"model": MODEL, "messages": HI} if body is None else body
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    content = given if isinstance(given, bytes) else json.dumps(given).encode()
    path = options.pop("path", "/v1/chat/completions")
    headers |= options.pop("headers", {})
    return httpx.post(f"{world.url}{path}", content=content, headers=headers, **options)


def test_an_openai_client_gets_its_answer(gateway: GatewayWorld, engine: EngineSimulator) -> None:
    found = client(gateway).chat.completions.create(model=MODEL, messages=HI, max_tokens=20)
    assert len(str(found.choices[0].message.content).split()) == TOKENS
    assert engine.requests[-1]["max_tokens"] == 20
    record = eventually(lambda: gateway.records)[0]
    assert record["status"] == 200
    assert record["answer_tokens"] == USED
    assert "hello" not in json.dumps(record)


def test_an_openai_client_gets_its_stream_piece_by_piece(gateway: GatewayWorld) -> None:
    stream = client(gateway).chat.completions.create(model=MODEL, messages=HI, stream=True)
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert len(text.split()) == TOKENS
    assert all(chunk.usage is None for chunk in chunks)  # the client did not ask for it
    assert eventually(lambda: gateway.records)[0]["answer_tokens"] == USED


def test_usage_ends_a_stream_for_who_asks_for_it(gateway: GatewayWorld) -> None:
    stream = client(gateway).chat.completions.create(
        model=MODEL, messages=HI, stream=True, stream_options={"include_usage": True}
    )
    usage = list(stream)[-1].usage
    assert usage is not None
    assert usage.completion_tokens == USED


def test_text_completions_are_served_too(gateway: GatewayWorld) -> None:
    found = client(gateway).completions.create(model=MODEL, prompt="once upon", max_tokens=8)
    assert found.choices[0].text


def test_models_are_those_of_the_credential(engine: EngineSimulator, tmp_path: Path) -> None:
    file = gateway_file(engine.url, write_tokenizer(tmp_path))
    who = {KEY: principal(), "other": principal(scopes=["models", "chat", "model:another"])}
    with GatewayWorld(file, limits=counted(), principals=who) as world:
        assert [model.id for model in client(world).models.list()] == [MODEL]
        assert client(world).models.retrieve(MODEL).id == MODEL
        other = client(world, key="other")
        assert list(other.models.list()) == []
        with pytest.raises(openai.NotFoundError):
            other.models.retrieve(MODEL)
        with pytest.raises(openai.NotFoundError, match="no model"):
            other.chat.completions.create(model=MODEL, messages=HI)


def test_a_stranger_is_refused_before_anything_is_read(
    gateway: GatewayWorld, engine: EngineSimulator
) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        client(gateway, key="guessed").chat.completions.create(model=MODEL, messages=HI)
    assert caught.value.code == "invalid_credential"
    assert post(gateway, headers={"Authorization": "Basic eA=="}).status_code == 401
    assert not engine.requests


@pytest.mark.parametrize("route", ["chat", "completions", "models"])
def test_a_scope_that_is_missing_is_named(
    engine: EngineSimulator, tmp_path: Path, route: str
) -> None:
    file = gateway_file(engine.url, write_tokenizer(tmp_path))
    who = {KEY: principal(scopes=["model:*", *({"chat", "completions", "models"} - {route})])}
    with GatewayWorld(file, limits=counted(), principals=who) as world:
        calls: dict[str, Callable[[], object]] = {
            "chat": lambda: client(world).chat.completions.create(model=MODEL, messages=HI),
            "completions": lambda: client(world).completions.create(model=MODEL, prompt="a"),
            "models": lambda: client(world).models.list(),
        }
        with pytest.raises(openai.PermissionDeniedError, match=f"scope '{route}'"):
            calls[route]()


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "not JSON"),
        ({"model": MODEL, "messages": HI, "temperature": 9}, 400, "temperature"),
        ({"model": "gpt-5", "messages": HI}, 404, "'gpt-5'"),
        ({"model": MODEL, "messages": HI, "max_tokens": 4000}, 400, "context of 2048"),
        (b'{"a":"' + b"x" * 2_000_000 + b'"}', 413, "limit is 1048576"),
    ],
)
def test_a_bad_request_is_refused_and_costs_nothing(
    gateway: GatewayWorld, engine: EngineSimulator, body: Any, status: int, says: str
) -> None:
    found = post(gateway, body)
    assert found.status_code == status
    assert says in found.json()["error"]["message"]
    assert not engine.requests
    assert eventually(lambda: gateway.records)[0]["decision"] == "refused"


def test_a_body_that_says_no_length_is_bounded_all_the_same(gateway: GatewayWorld) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 65536

    found = httpx.post(
        f"{gateway.url}/v1/chat/completions",
        content=endless(),
        headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
    )
    assert found.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/chat/completions", 405), ("POST", "/v1/models", 405), ("GET", "/admin", 404)],
)
def test_other_paths_and_methods_are_errors_of_openais_shape(
    gateway: GatewayWorld, method: str, path: str, status: int
) -> None:
    found = httpx.request(method, f"{gateway.url}{path}")
    assert found.status_code == status
    assert set(found.json()["error"]) == {"message", "type", "param", "code"}


def test_limits_refuse_with_what_clients_read(engine: EngineSimulator, tmp_path: Path) -> None:
    tenants = [{"name": "acme", "limits": {"requests_per_minute": 2}}]
    with simulated_gateway(engine.url, tmp_path, limits=counted(), tenants=tenants) as world:
        first = post(world)
        assert first.headers["x-ratelimit-limit-requests"] == "2"
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        post(world)
        with pytest.raises(openai.RateLimitError) as caught:
            client(world).chat.completions.create(model=MODEL, messages=HI)
        assert caught.value.code == "rate_limit_exceeded"
        assert 0 < int(caught.value.response.headers["retry-after"]) <= 61
        assert "2" in str(caught.value)
        assert len(engine.requests) == 2


def test_a_budget_that_is_spent_stops_a_tenant_that_has_no_limit_of_its_own(
    engine: EngineSimulator, tmp_path: Path
) -> None:
    caps = MemorySpendCaps(audit := MemoryAudit())
    until = SystemClock().now() + timedelta(days=1)
    keep((caps, audit), replace(a_cap(TENANT, per_day="0.5"), until=until))
    file = gateway_file(engine.url, write_tokenizer(tmp_path / "tokenizer"))
    price = Price(input_per_million=1e4, output_per_million=1e4)  # a hundredth each token
    models = (file.models[0].model_copy(update={"price": price}),)
    file = file.model_copy(update={"models": models})
    ask = {"model": MODEL, "messages": HI, "max_tokens": 40}
    with GatewayWorld(file, limits=counted(), caps=caps) as world:
        assert post(world, ask).status_code == 200
        refused = post(world, ask)
    assert refused.status_code == 429
    assert "spend_per_day" in refused.json()["error"]["message"]


def settled(world: GatewayWorld, limits: MemoryLimits, kind: LimitKind) -> int:
    """Return what is used of the tenant's limit once nothing is open any more."""
    found = [limit for limit in world.file.limits_of(principal()) if limit.kind is kind]
    return asyncio.run(limits.standing(found))[0]


LIMITED = [{"name": "acme", "limits": {"tokens_per_minute": 1000, "streams": 9}}]


@pytest.mark.parametrize("stream", [False, True])
def test_tokens_are_settled_by_what_was_used(
    engine: EngineSimulator, tmp_path: Path, stream: bool
) -> None:
    limits = counted()
    with simulated_gateway(engine.url, tmp_path, limits=limits, tenants=LIMITED) as world:
        body = {"model": MODEL, "messages": HI, "max_tokens": 500, "stream": stream}
        assert post(world, body).status_code == 200
        used = engine.requests and eventually(lambda: world.records)[0]
        expected = used["prompt_tokens"] + USED
        eventually(lambda: settled(world, limits, LimitKind.TOKENS) == expected)
        eventually(lambda: settled(world, limits, LimitKind.STREAMS) == 0)


def test_a_client_that_leaves_a_stream_frees_the_engine_and_is_settled(
    engine: EngineSimulator, tmp_path: Path
) -> None:
    engine.change(token_s=0.05, tokens=200)
    limits = counted()
    with simulated_gateway(engine.url, tmp_path, limits=limits, tenants=LIMITED) as world:
        asyncio.run(_leave_after(world, pieces=3))
        record = eventually(lambda: world.records)[0]
        assert record["cut_by"] == "client"
        used = settled(world, limits, LimitKind.TOKENS)
        assert PROMPT_TOKENS < used < 100  # not the 500 that were reserved
        eventually(lambda: settled(world, limits, LimitKind.STREAMS) == 0)
        eventually(lambda: _open_requests(engine) == 0)
        assert world.metric("greenlight_gateway_streams_cut_total", model=MODEL, outcome="client")


def test_a_client_that_leaves_before_its_answer_pays_what_was_reserved(
    engine: EngineSimulator, tmp_path: Path
) -> None:
    engine.change(first_token_s=30)
    limits = counted()
    with simulated_gateway(engine.url, tmp_path, limits=limits, tenants=LIMITED) as world:
        body = {"model": MODEL, "messages": HI, "max_tokens": 500}
        with pytest.raises(httpx.ReadTimeout):
            post(world, body, timeout=0.5)
        assert eventually(lambda: world.records)[0]["cut_by"] == "client"
        assert settled(world, limits, LimitKind.TOKENS) == PROMPT_TOKENS + 500
        eventually(lambda: settled(world, limits, LimitKind.STREAMS) == 0)
        eventually(lambda: _open_requests(engine) == 0)


async def _leave_after(world: GatewayWorld, *, pieces: int) -> None:
    body = {"model": MODEL, "messages": HI, "stream": True, "max_tokens": 500}
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session,
        session.post(f"{world.url}/v1/chat/completions", json=body) as response,
    ):
        for _ in range(pieces):
            await response.content.readuntil(b"\n\n")
        response.close()


def _open_requests(engine: EngineSimulator) -> int:
    text = httpx.get(f"{engine.url}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("vllm:num_requests_running")]
    return int(float(lines[0].split()[-1]))


def test_a_stream_that_the_engine_cuts_ends_with_an_error_the_client_sees(
    engine: EngineSimulator, gateway: GatewayWorld
) -> None:
    engine.change(cut_stream=1.0)
    stream = client(gateway).chat.completions.create(model=MODEL, messages=HI, stream=True)
    with pytest.raises(openai.APIError, match="ended before its last event"):
        list(stream)
    assert eventually(lambda: gateway.records)[0]["cut_by"] == "engine"


def test_a_cut_stream_is_counted_also_while_limits_are_not(
    engine: EngineSimulator, tmp_path: Path
) -> None:
    engine.change(cut_stream=1.0)
    away = {"when_away": "open"}
    with simulated_gateway(engine.url, tmp_path, limits=Away(), redis=away) as world:
        with pytest.raises(openai.APIError):
            list(client(world).chat.completions.create(model=MODEL, messages=HI, stream=True))
        eventually(lambda: world.records)
        name = "greenlight_gateway_streams_cut_total"
        assert world.metric(name, model=MODEL, outcome="engine") == 1


def test_what_the_engine_refuses_reaches_the_client_and_costs_nothing(
    engine: EngineSimulator, tmp_path: Path
) -> None:
    engine.change(error_rate=1.0)
    limits = counted()
    with simulated_gateway(engine.url, tmp_path, limits=limits, tenants=LIMITED) as world:
        with pytest.raises(openai.InternalServerError, match="engine has failed"):
            client(world).chat.completions.create(model=MODEL, messages=HI)
        eventually(lambda: settled(world, limits, LimitKind.TOKENS) == 0)


def test_no_engine_is_an_error_with_a_time_to_come_back(tmp_path: Path) -> None:
    upstream = {"retries": 0}
    with simulated_gateway(
        f"http://127.0.0.1:{free_port()}", tmp_path, limits=counted(), upstream=upstream
    ) as world:
        found = post(world)
        assert found.status_code == 503
        assert found.headers["retry-after"] == "1"
        assert httpx.get(f"{world.url}/readyz").status_code == 503
        assert httpx.get(f"{world.url}/healthz").status_code == 200


def test_a_balancer_may_ask_with_head(gateway: GatewayWorld) -> None:
    found = httpx.head(f"{gateway.url}/readyz")
    assert (found.status_code, found.content) == (200, b"")


def test_ready_means_that_an_engine_answers_behind_it(gateway: GatewayWorld) -> None:
    assert httpx.get(f"{gateway.url}/readyz").json() == {"status": "ready"}


@pytest.mark.parametrize(("choice", "status"), [("closed", 503), ("open", 200)])
def test_what_happens_without_the_limits_store_is_the_operators_choice(
    engine: EngineSimulator, tmp_path: Path, choice: str, status: int
) -> None:
    with simulated_gateway(
        engine.url, tmp_path, limits=Away(), redis={"when_away": choice}
    ) as world:
        assert post(world).status_code == status
        outcome = "unavailable" if choice == "closed" else "uncounted"
        name = "greenlight_gateway_limit_decisions_total"
        assert world.metric(name, outcome=outcome, limit="none") == 1


def test_many_at_once_get_each_their_own_answer(
    engine: EngineSimulator, gateway: GatewayWorld
) -> None:
    async def main() -> list[str]:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session:
            return await asyncio.gather(*(_ask(session, number) for number in range(100)))

    async def _ask(session: aiohttp.ClientSession, number: int) -> str:
        body = {"model": MODEL, "messages": [{"role": "user", "content": f"say {number}"}]}
        async with session.post(f"{gateway.url}/v1/chat/completions", json=body) as response:
            assert response.status == 200
            text: str = (await response.json())["choices"][0]["message"]["content"]
            return text

    engine.change(answers={f"say {number}": f"number {number}" for number in range(100)})
    assert asyncio.run(main()) == [f"number {number}" for number in range(100)]


def test_metrics_have_few_series_whatever_strangers_ask_for(gateway: GatewayWorld) -> None:
    for number in range(50):
        httpx.get(f"{gateway.url}/path-{number}")
        post(gateway, {"model": f"made-up-{number}", "messages": HI})
    endpoints = {
        sample.labels["endpoint"]
        for family in gateway.counted().collect()
        for sample in family.samples
        if sample.name == "http_requests_total"
    }
    assert endpoints == {"none", "/v1/chat/completions"}
