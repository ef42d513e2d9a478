"""Limits on a real Redis, on its bad days. What it decides: tests/contract/test_limits.py."""

import asyncio
import itertools
import subprocess
import sys
import time
from contextlib import asynccontextmanager

import pytest
import redis

from greenlight.adapters.redis_connection import RedisLane, open_redis
from greenlight.adapters.redis_limits import PREFIX, RedisLimits
from greenlight.core.errors import UnavailableError
from greenlight.gateway.limits import Charge, LimitKind, Reservation
from greenlight.testing.limits_contract import a_limit, admitted, refused, requests, tokens
from greenlight.testing.redis_servers import redis_is_installed, redis_process

pytestmark = pytest.mark.skipif(not redis_is_installed(), reason="Redis is not installed")
NUMBERS = itertools.count()
ONE = Charge(tokens=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_process(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture
def own_server(tmp_path):
    """One that the test may harm."""
    with redis_process(tmp_path / "redis") as process:
        yield process


@pytest.fixture
def subject():
    """A name that no other test's limits have."""
    return f"subject-{next(NUMBERS)}"


@asynccontextmanager
async def limits_on(server, *, timeout_s=5.0):
    """A store that tries again soon."""
    lane = RedisLane(open_redis(server.address), timeout_s=timeout_s)
    limits = RedisLimits(lane, new_id=lambda: str(next(NUMBERS)), again_s=(0.3,) * 50)
    try:
        yield limits
    finally:
        await limits.close()


async def reserve(store, *limits, charge=ONE, expires_s=60.0):
    return await store.reserve(limits, charge, request_id="call", expires_s=expires_s)


async def eventually(condition, *, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < deadline, f"not so after {within_s} s"
        await asyncio.sleep(0.02)


def keys_of(server, pattern):
    with redis.Redis.from_url(server.address.url, password=server.address.password) as client:
        return {key: client.pttl(key) for key in client.scan_iter(f"{PREFIX}{pattern}")}


WORKER = """
import asyncio, itertools, os, sys
from greenlight.adapters.redis_connection import RedisAddress, RedisLane, open_redis
from greenlight.adapters.redis_limits import RedisLimits
from greenlight.gateway.limits import Charge, Holder, Limit, LimitKind, Reservation

url, password, subject = sys.argv[1:]
LIMITS = [
    Limit(kind=kind, holder=Holder.KEY, subject=subject, amount=7000)
    for kind in (LimitKind.REQUESTS, LimitKind.TOKENS)
]

async def ask(store):
    won, lost = 0, 0
    while lost < 3:
        decision = await store.reserve(LIMITS, Charge(tokens=7), request_id="x", expires_s=60)
        won += isinstance(decision, Reservation)
        lost += not isinstance(decision, Reservation)
    return won

async def main():
    address = RedisAddress(url=url, password=password, timeout_s=30)
    numbers = itertools.count()
    lane = RedisLane(open_redis(address), timeout_s=30)
    store = RedisLimits(lane, new_id=lambda: f"{os.getpid()}-{next(numbers)}")
    await store.standing(LIMITS)
    print("ready", flush=True)
    sys.stdin.readline()
    print(sum(await asyncio.gather(*(ask(store) for _ in range(10)))))
    await store.close()

asyncio.run(main())
"""


def test_fifty_workers_in_five_processes_are_admitted_to_the_limit_and_no_further(server, subject):
    command = [
        sys.executable, "-c", WORKER, server.address.url, server.address.password, subject
    ]  # fmt: skip
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen(command, **pipes) for _ in range(5)]
    assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * 5
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    shares = [int(worker.communicate(timeout=120)[0]) for worker in workers]
    assert sum(shares) == 7000 // 7
    assert len([share for share in shares if share]) > 1, "one process alone had them all"


def test_five_streams_at_once_never_overdraw_a_hundred_tokens(server, subject):
    """LiteLLM let 663 through (its issue 18730)."""

    async def main():
        async with limits_on(server) as store:
            limit = tokens(100, subject=subject)
            decisions = await asyncio.gather(
                *(reserve(store, limit, charge=Charge(tokens=40)) for _ in range(5))
            )
            assert sum(isinstance(one, Reservation) for one in decisions) == 2
            assert await store.standing([limit]) == [80]

    asyncio.run(main())


def test_a_step_is_free_again_after_a_minute_of_redis_own_clock(server, subject):
    async def main():
        async with limits_on(server) as store:
            admitted(await reserve(store, requests(1, subject=subject)))
            found = refused(await reserve(store, requests(1, subject=subject)))
            assert 59.5 < found.retry_after_s <= 61

    asyncio.run(main())


def test_a_crash_before_settling_ends_the_stream_and_keeps_the_money(server, subject):
    async def main():
        stream = a_limit(LimitKind.STREAMS, 1, subject=subject)
        money = a_limit(LimitKind.SPEND_DAY, 10, subject=subject)
        async with limits_on(server) as store:  # the worker that is gone when this is left
            await reserve(store, stream, money, charge=Charge(tokens=1, spend=9), expires_s=0.3)
        async with limits_on(server) as other:
            refused(await reserve(other, stream))

            async def free():
                return isinstance(await reserve(other, stream), Reservation)

            await eventually(free)
            refused(await reserve(other, money, charge=Charge(tokens=1, spend=9)))

    asyncio.run(main())


def test_redis_killed_is_unavailable_and_back_it_has_counted_everything(own_server, subject):
    async def main():
        async with limits_on(own_server, timeout_s=2) as store:
            limit = tokens(100, subject=subject)
            call = admitted(await reserve(store, limit, charge=Charge(tokens=80)))
            own_server.kill()
            for _ in range(2):
                with pytest.raises(UnavailableError, match="Redis does not answer"):
                    await reserve(store, limit)
            own_server.start()
            assert refused(await reserve(store, limit, charge=Charge(tokens=30))).remaining == 20
            await store.settle(call, Charge(tokens=10))
            assert await store.standing([limit]) == [10]

    asyncio.run(main())


def test_a_settlement_that_redis_missed_is_made_when_it_is_back(own_server, subject):
    async def main():
        async with limits_on(own_server, timeout_s=2) as store:
            limits = (a_limit(LimitKind.STREAMS, 1, subject=subject), tokens(9, subject=subject))
            call = admitted(await reserve(store, *limits, charge=Charge(tokens=9)))
            own_server.kill()
            with pytest.raises(UnavailableError):
                await store.settle(call, Charge(tokens=2))
            own_server.start()

            async def settled():
                return await store.standing(limits) == [0, 2]

            await eventually(settled)

    asyncio.run(main())


def test_a_reservation_whose_answer_was_lost_is_taken_back(own_server, subject):
    """Else a stall of a second would hold a client's streams until their leases end."""

    async def main():
        async with limits_on(own_server, timeout_s=0.3) as store:
            limit = a_limit(LimitKind.STREAMS, 1, subject=subject)
            await store.standing([limit])
            own_server.freeze()
            with pytest.raises(UnavailableError):
                await reserve(store, limit)
            own_server.thaw()

            async def free():
                return await store.standing([limit]) == [0]

            await eventually(free)

    asyncio.run(main())


def test_a_caller_that_leaves_while_it_is_reserved_holds_nothing(server, subject):
    async def main():
        async with limits_on(server) as store:
            limits = (a_limit(LimitKind.STREAMS, 1, subject=subject), tokens(9, subject=subject))
            for turns in range(6):
                call = asyncio.create_task(reserve(store, *limits, charge=Charge(tokens=9)))
                for _ in range(turns):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)

                async def free():
                    return await store.standing(limits) == [0, 0]

                await eventually(free)

    asyncio.run(main())


def test_a_call_is_settled_although_its_caller_leaves_meanwhile(server, subject):
    async def main():
        async with limits_on(server) as store:
            limits = (a_limit(LimitKind.STREAMS, 1, subject=subject), tokens(9, subject=subject))
            for turns in range(1, 5):
                call = admitted(await reserve(store, *limits, charge=Charge(tokens=9)))
                ending = asyncio.create_task(store.settle(call, Charge(tokens=0)))
                for _ in range(turns):
                    await asyncio.sleep(0)
                ending.cancel()
                await asyncio.gather(ending, return_exceptions=True)

                async def free():
                    return await store.standing(limits) == [0, 0]

                await eventually(free)

    asyncio.run(main())


def test_keys_go_away_by_themselves_and_a_refused_call_makes_none(server, subject):
    kinds = list(LimitKind)

    async def main():
        async with limits_on(server) as store:
            limits = [a_limit(kind, 10, subject=subject) for kind in kinds]
            refused(await reserve(store, *limits, charge=Charge(tokens=11, spend=1)))
            assert keys_of(server, f"*:{subject}") == {}
            call = await reserve(store, *limits, charge=Charge(tokens=5, spend=5), expires_s=60)
            assert len(keys_of(server, f":open:{call.id}")) == 1
            found = keys_of(server, f"*:{subject}")
            await store.settle(call, Charge(tokens=3, spend=3))
            assert keys_of(server, f":open:{call.id}") == {}
            return found, keys_of(server, f"*:{subject}")

    before, after = asyncio.run(main())
    assert len(before) == len(kinds)
    assert len(after) == len(kinds) - 1, "the last stream's set is gone"
    day, month = 86_400_000, 31 * 86_400_000
    for key, lives_ms in (before | after).items():
        most = month if b"month" in key else day if b"day" in key else 62_000
        assert 0 < lives_ms <= most + 60_000


def test_memory_grows_with_the_seconds_of_a_window_and_not_with_calls(server, subject):
    async def main():
        async with limits_on(server) as store:
            for _ in range(20):
                await asyncio.gather(
                    *(reserve(store, tokens(10**9, subject=subject)) for _ in range(50))
                )

    asyncio.run(main())
    with redis.Redis.from_url(server.address.url, password=server.address.password) as client:
        (key,) = keys_of(server, f"*:{subject}")
        assert client.strlen(key) <= 12 * 61 + 8
