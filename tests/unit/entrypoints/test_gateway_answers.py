"""The two levels of the cache, and one that answers for all."""

import asyncio
import subprocess
import sys
import time
import uuid

import pytest

from greenlight.adapters.memory_answers import MemoryAnswers
from greenlight.adapters.redis_answers import RedisAnswers
from greenlight.adapters.redis_connection import RedisLane, open_redis
from greenlight.core.clock import SystemClock
from greenlight.entrypoints.gateway.answers import Alone, Answers, Hit, Lead, Level
from greenlight.gateway.answer_counts import AnswerCounts
from greenlight.gateway.gateway_file import CacheSettings
from greenlight.gateway.ports import KeptAnswer
from greenlight.testing.memory_answer_store import MemoryAnswerStore
from greenlight.testing.redis_servers import redis_is_installed, redis_process

needs_redis = pytest.mark.skipif(not redis_is_installed(), reason="Redis is not installed")
KEY = "k" * 64


class Process:
    """The cache of one process, with its counts."""

    def __init__(self, store, *, owner="one", lead_s=10.0, chance=lambda: 0.0, **settings):
        self.clock = SystemClock()
        self.counts = AnswerCounts()
        self.answers = Answers(
            MemoryAnswers(max_bytes=10**6, clock=self.clock, counts=self.counts), store,
            settings=CacheSettings(**settings), counts=self.counts, clock=self.clock,
            chance=chance, owner=owner, lead_s=lead_s,
        )  # fmt: skip

    async def find(self, key=KEY):
        return await self.answers.get_or_lead(key)

    async def keep(self, key=KEY, body=b'{"id": 1}'):
        answer = KeptAnswer(body=body, colour="blue", at_s=time.time())
        await self.answers.keep(key, answer)
        return answer


@pytest.fixture
def store():
    return MemoryAnswerStore(SystemClock())


@pytest.fixture
def process(store):
    return Process(store)


def hit(answer, level):
    return Hit(answer=answer, level=level)


async def soon(coroutine):
    """A task that has run as far as it can at once."""
    task = asyncio.create_task(coroutine)
    for _ in range(20):
        await asyncio.sleep(0)
    return task


def test_the_first_leads_and_what_it_keeps_is_found_in_memory_and_elsewhere(process, store):
    async def main():
        assert await process.find() == Lead()
        answer = await process.keep()
        assert await process.find() == hit(answer, Level.MEMORY)
        other = Process(store, owner="two")
        assert await other.find() == hit(answer, Level.STORE)
        assert await other.find() == hit(answer, Level.MEMORY)
        assert (other.counts.store_hits, other.counts.memory_hits) == (1, 1)

    asyncio.run(main())
    assert (process.counts.misses, process.counts.kept, process.counts.memory_hits) == (1, 1, 1)


def test_a_hundred_at_once_ask_the_engine_once(process):
    async def one():
        found = await process.find()
        if isinstance(found, Lead):
            await asyncio.sleep(0.05)
            await process.keep()
        return found

    async def main():
        return await asyncio.gather(*(one() for _ in range(100)))

    found = asyncio.run(main())
    assert sum(isinstance(one, Lead) for one in found) == 1
    assert {one.level for one in found if isinstance(one, Hit)} == {Level.SHARED}
    counts = process.counts
    assert (counts.misses, counts.shared_hits, counts.waits) == (1, 99, 99)


def test_another_process_waits_for_the_answer_too(process, store):
    async def main():
        other = Process(store, owner="two")
        assert await process.find() == Lead()
        waiting = [await soon(other.find()) for _ in range(3)]
        answer = await process.keep()
        assert await asyncio.gather(*waiting) == [hit(answer, Level.SHARED)] * 3
        assert (other.counts.misses, other.counts.waits) == (0, 3)

    asyncio.run(main())


def test_an_answer_that_is_not_kept_sends_everybody_on_their_own_way(process, store):
    """All at once, and not one after the other."""

    async def main():
        other = Process(store, owner="two")
        assert await process.find() == Lead()
        waiting = [await soon(p.find()) for p in (process, process, other, other)]
        await process.answers.give_up(KEY)
        assert await asyncio.gather(*waiting) == [Alone()] * 4
        assert await other.find() == Alone()

    asyncio.run(main())


def test_after_a_while_an_answer_that_was_not_kept_is_tried_again(process, store):
    async def main():
        assert await process.find() == Lead()
        await process.answers.give_up(KEY)
        assert await process.find() == Alone()
        await asyncio.sleep(2.1)
        assert await process.find() == Lead()

    asyncio.run(main())


@pytest.mark.parametrize("body", [b"x" * 101, b""])
def test_an_answer_that_is_too_long_or_empty_is_not_kept(store, body):
    async def main():
        process = Process(store, answer_bytes=100)
        assert await process.find() == Lead()
        waiting = await soon(process.find())
        await process.keep(body=body)
        assert await waiting == Alone()
        assert (process.counts.kept, process.counts.not_kept) == (0, 1)

    asyncio.run(main())


def test_when_the_leaders_client_leaves_one_of_those_who_wait_leads(process, store):
    async def main():
        other = Process(store, owner="two")
        assert await process.find() == Lead()
        here = [await soon(process.find()) for _ in range(5)]
        there = await soon(other.find())
        await process.answers.give_up(KEY, to_another=True)
        done, _ = await asyncio.wait([*here, there], return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [Lead()]
        answer = await process.keep()
        found = await asyncio.gather(*here, there)
        assert found.count(Lead()) == 1
        assert found.count(hit(answer, Level.SHARED)) == 5

    asyncio.run(main())


def test_when_the_one_who_looks_it_up_leaves_another_does(store):
    """It waits for another process, on behalf of all in this one."""

    async def main():
        leader, process = Process(store, owner="leader"), Process(store)
        assert await leader.find() == Lead()
        waiting = [await soon(process.find()) for _ in range(3)]
        waiting[0].cancel()
        answer = await leader.keep()
        assert await asyncio.gather(*waiting[1:]) == [hit(answer, Level.SHARED)] * 2

    asyncio.run(main())


def test_one_who_leaves_while_waiting_hurts_nobody(process):
    async def main():
        assert await process.find() == Lead()
        waiting = [await soon(process.find()) for _ in range(3)]
        waiting[1].cancel()
        answer = await process.keep()
        assert await asyncio.gather(waiting[0], waiting[2]) == [hit(answer, Level.SHARED)] * 2

    asyncio.run(main())


def test_a_leader_that_dies_is_replaced_when_its_lead_lapses(store):
    async def main():
        dead, other = Process(store, owner="dead", lead_s=0.3), Process(store, owner="two")
        assert await dead.find() == Lead()
        dead.answers._keeper.cancel()  # as when its process is killed
        began = time.monotonic()
        assert await other.find() == Lead()
        assert 0.2 < time.monotonic() - began < 5

    asyncio.run(main())


def test_a_leader_that_takes_long_goes_on_leading(store):
    async def main():
        slow, other = Process(store, owner="slow", lead_s=0.3), Process(store, owner="two")
        assert await slow.find() == Lead()
        waiting = await soon(other.find())
        await asyncio.sleep(1)
        assert not waiting.done()
        answer = await slow.keep()
        assert await waiting == hit(answer, Level.SHARED)
        await asyncio.sleep(0.3)
        assert slow.answers._keeper is None, "nothing is prolonged any more"
        assert await store.lead(KEY, owner="anybody", ttl_s=1)

    asyncio.run(main())


def test_nobody_waits_longer_than_was_configured(process, store):
    async def main():
        here = Process(store, owner="here", wait_s=0.2)
        assert await process.find() == Lead()
        assert await asyncio.gather(*(here.find() for _ in range(3))) == [Alone()] * 3
        leading = Process(None, wait_s=0.2)
        assert await leading.find() == Lead()
        assert await leading.find() == Alone()

    asyncio.run(main())


def test_while_the_store_is_away_memory_works_alone(process, store):
    async def main():
        store.away = True
        assert await process.find() == Lead()
        waiting = await soon(process.find())
        answer = await process.keep()
        assert await waiting == hit(answer, Level.SHARED)
        assert await process.find() == hit(answer, Level.MEMORY)
        asked = store.calls
        assert await process.find("other") == Lead()
        assert store.calls == asked == 1, "it is left alone for a moment"
        assert process.counts.store_errors == 1
        await asyncio.sleep(1.05)
        store.away = False
        assert await process.find("third") == Lead()
        assert store.calls > asked

    asyncio.run(main())


def test_without_a_store_memory_works_alone():
    async def main():
        process = Process(None)
        assert await process.find() == Lead()
        answer = await process.keep()
        assert await process.find() == hit(answer, Level.MEMORY)

    asyncio.run(main())


def test_an_answer_that_was_kept_between_two_looks_is_not_asked_for_again(store):
    """The leader keeps it and steps down just after we looked for it."""

    class Late(MemoryAnswerStore):
        async def lead(self, key, *, owner, ttl_s):
            if owner == "late":
                answer = KeptAnswer(body=b"x", colour="blue", at_s=time.time())
                await self.put(key, answer, ttl_s=60)
            return await super().lead(key, owner=owner, ttl_s=ttl_s)

    async def main():
        store = Late(SystemClock())
        found = await Process(store, owner="late").find()
        assert isinstance(found, Hit)
        assert found.level is Level.SHARED
        assert await store.lead(KEY, owner="another", ttl_s=1), "it did not go on leading"

    asyncio.run(main())


def test_an_answer_of_the_store_is_kept_in_memory_for_what_is_left_of_its_time(process, store):
    async def main():
        old = KeptAnswer(body=b"x", colour="blue", at_s=time.time() - 3599.7)
        await store.put(KEY, old, ttl_s=60)
        assert await process.find() == hit(old, Level.STORE)
        await asyncio.sleep(0.4)
        assert await process.find() == Lead()
        assert process.counts.store_expired >= 1

    asyncio.run(main())


def test_a_time_to_live_is_up_to_a_tenth_shorter():
    class Store(MemoryAnswerStore):
        async def put(self, key, answer, *, ttl_s):
            self.ttl_s = ttl_s

    async def ttl_of(chance):
        store = Store(SystemClock())
        await Process(store, chance=lambda: chance, ttl_s=1000, jitter=0.1).keep()
        return store.ttl_s

    assert asyncio.run(ttl_of(0.0)) == 1000
    assert asyncio.run(ttl_of(0.5)) == pytest.approx(950)


def test_a_fresh_answer_replaces_the_kept_one_without_leading(process):
    async def main():
        await process.find()
        await process.keep(body=b"old")
        fresh = await process.keep(body=b"fresh")
        assert await process.find() == hit(fresh, Level.MEMORY)

    asyncio.run(main())


def test_a_process_that_ends_lets_another_lead_at_once(process, store):
    async def main():
        assert await process.find() == Lead()
        waiting = await soon(Process(store, owner="two").find())
        await process.answers.close()
        assert await waiting == Lead()

    asyncio.run(main())


WORKER = """
import asyncio, os, random, sys, time
from greenlight.adapters.memory_answers import MemoryAnswers
from greenlight.adapters.redis_answers import RedisAnswers
from greenlight.adapters.redis_connection import RedisAddress, RedisLane, open_redis
from greenlight.core.clock import SystemClock
from greenlight.entrypoints.gateway.answers import Answers, Hit, Lead
from greenlight.gateway.answer_counts import AnswerCounts
from greenlight.gateway.gateway_file import CacheSettings
from greenlight.gateway.ports import KeptAnswer

url, password, key = sys.argv[1:]

async def main():
    lane = RedisLane(open_redis(RedisAddress(url=url, password=password)), timeout_s=10)
    counts, clock = AnswerCounts(), SystemClock()
    answers = Answers(
        MemoryAnswers(max_bytes=10**6, clock=clock, counts=counts),
        RedisAnswers(lane, secret=b"a secret for tests", counts=counts),
        settings=CacheSettings(), counts=counts, clock=clock, chance=random.random,
        owner=str(os.getpid()), lead_s=0.5,
    )
    asked = 0

    async def one():
        nonlocal asked
        found = await answers.get_or_lead(key)
        if isinstance(found, Lead):
            asked += 1
            await asyncio.sleep(1.5)
            await answers.keep(key, KeptAnswer(body=b"{}", colour="blue", at_s=time.time()))
            return b"{}"
        assert isinstance(found, Hit), found
        return found.answer.body

    print("ready", flush=True)
    sys.stdin.readline()
    bodies = await asyncio.gather(*(one() for _ in range(50)))
    assert set(bodies) == {b"{}"}
    print(asked)
    await answers.close()
    await lane.close()

asyncio.run(main())
"""


@needs_redis
def test_a_hundred_in_two_processes_ask_the_engine_once(tmp_path):
    with redis_process(tmp_path / "redis") as server:
        command = [
            sys.executable, "-c", WORKER, server.address.url, server.address.password,
            uuid.uuid4().hex,
        ]  # fmt: skip
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        workers = [subprocess.Popen(command, **pipes) for _ in range(2)]
        assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * 2
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        asked = [int(worker.communicate(timeout=120)[0]) for worker in workers]
    assert sum(asked) == 1


@needs_redis
def test_an_answer_is_found_again_after_a_restart_of_everything(tmp_path):
    async def with_process(server, use):
        lane = RedisLane(open_redis(server.address), timeout_s=5)
        counts = AnswerCounts()
        process = Process(RedisAnswers(lane, secret=b"a secret for tests", counts=counts))
        try:
            return await use(process)
        finally:
            await lane.close()

    async def lead_and_keep(process):
        assert await process.find() == Lead()
        return await process.keep()

    with redis_process(tmp_path / "redis") as server:
        answer = asyncio.run(with_process(server, lead_and_keep))
        server.kill()
        server.start()
        found = asyncio.run(with_process(server, lambda process: process.find()))
    assert found == hit(answer, Level.STORE)
