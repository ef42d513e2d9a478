"""Sealed answers on a real Redis. What a store must do: tests/contract/test_answer_stores.py."""

import asyncio
import os
import uuid

import pytest
import redis

from greenlight.adapters.redis_answers import PREFIX, RedisAnswers
from greenlight.adapters.redis_connection import RedisLane, open_redis
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.gateway.answer_counts import AnswerCounts
from greenlight.testing.answers_contract import an_answer
from greenlight.testing.redis_servers import redis_is_installed, redis_process

pytestmark = pytest.mark.skipif(not redis_is_installed(), reason="Redis is not installed")
SECRET = b"the secret of this test"
ANSWER = an_answer(b"what the model said about a person")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_process(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture(scope="module")
def plain(server):
    """Redis as somebody sees it who broke in."""
    address = server.address
    with redis.Redis.from_url(address.url, password=address.password) as client:
        yield client


@pytest.fixture
def key():
    return uuid.uuid4().hex


def with_store(server, use, *, secret=SECRET):
    """What `use` returns, and what the store counted."""
    counts = AnswerCounts()

    async def main():
        lane = RedisLane(open_redis(server.address), timeout_s=5)
        store = RedisAnswers(lane, secret=secret, counts=counts)
        try:
            return await use(store)
        finally:
            await store.close()

    return asyncio.run(main()), counts


def put(server, key, **more):
    return with_store(server, lambda store: store.put(key, ANSWER, ttl_s=60), **more)[1]


def get(server, key, **more):
    return with_store(server, lambda store: store.get(key), **more)


def name(key):
    return f"{PREFIX}:answer:{key}"


def test_redis_holds_nothing_that_can_be_read(server, plain, key):
    put(server, key)
    sealed = plain.get(name(key))
    for word in (b"person", b"model", b"blue", SECRET):
        assert word not in sealed
    put(server, key)
    assert plain.get(name(key)) != sealed, "the same answer is never sealed the same way"
    assert 0 < plain.pttl(name(key)) <= 60_000


def test_another_secret_opens_nothing_and_is_counted(server, key):
    put(server, key)
    found, counts = get(server, key, secret=b"another secret as long")
    assert (found, counts.unreadable) == (None, 1)
    assert get(server, key)[0] == ANSWER


@pytest.mark.parametrize("place", [0, 1, 12, 13, 20, -1])
def test_a_flipped_bit_is_a_miss_and_never_an_answer(server, plain, key, place):
    put(server, key)
    sealed = bytearray(plain.get(name(key)))
    sealed[place] ^= 1
    plain.set(name(key), bytes(sealed))
    found, counts = get(server, key)
    assert (found, counts.unreadable) == (None, 1)


@pytest.mark.parametrize("value", [b"", b"\x01", b"\x01" + b"x" * 12, os.urandom(300), b"{}"])
def test_what_somebody_else_wrote_is_a_miss(server, plain, key, value):
    plain.set(name(key), value)
    found, counts = get(server, key)
    assert (found, counts.unreadable) == (None, 1)


def test_an_answer_that_was_put_under_another_key_does_not_open(server, plain, key):
    """Else who can write to Redis could give one tenant's answer to another."""
    put(server, key)
    plain.copy(name(key), name(f"{key}2"))
    found, counts = get(server, f"{key}2")
    assert (found, counts.unreadable) == (None, 1)


def test_a_weak_secret_is_refused(server):
    with pytest.raises(ConfigError, match="has 5 bytes, at least 16"):
        get(server, "x", secret=b"short")


def test_a_full_redis_keeps_room_for_limits(tmp_path, key):
    with redis_process(tmp_path / "redis", extra="maxmemory 8mb\n") as small:
        large = an_answer(os.urandom(1_000_000))

        async def fill(store):
            for number in range(12):
                await store.put(f"{key}{number}", large, ttl_s=60)

        _, counts = with_store(small, fill)
        assert counts.full > 0
        address = small.address
        with redis.Redis.from_url(address.url, password=address.password) as client:
            assert client.info("memory")["used_memory"] < 8 * 1024**2
            client.set("greenlight:a limit", "may still be written")


def test_an_answer_survives_a_killed_redis(tmp_path, key):
    with redis_process(tmp_path / "redis") as server:
        put(server, key)
        server.kill()
        with pytest.raises(UnavailableError):
            get(server, key)
        server.start()
        assert get(server, key)[0] == ANSWER
