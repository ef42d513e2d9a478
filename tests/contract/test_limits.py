import itertools

import pytest
import redis

from greenlight.adapters.redis_connection import RedisLane, open_redis
from greenlight.adapters.redis_limits import PREFIX, SCRIPT, RedisLimits
from greenlight.testing.limits_contract import LimitsContract
from greenlight.testing.manual_clock import ManualClock
from greenlight.testing.memory_limits import MemoryLimits
from greenlight.testing.redis_servers import redis_is_installed, redis_process

needs_redis = pytest.mark.skipif(not redis_is_installed(), reason="Redis is not installed")
TIME = f"{PREFIX}:time"


class RedisClock(ManualClock):
    """Time in Redis, where the script under test reads it instead of the server's."""

    def __init__(self, client):
        super().__init__()
        self.client = client
        self.set(self.now())

    def set(self, now):
        super().set(now)
        seconds, micros = divmod(round(now.timestamp() * 1e6), 1_000_000)
        self.client.hset(TIME, mapping={"s": seconds, "us": micros})


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_process(tmp_path_factory.mktemp("redis") / "with a space") as process:
        yield process


class TestMemory(LimitsContract):
    @pytest.fixture
    def clock(self):
        return ManualClock()

    @pytest.fixture
    def store(self, clock):
        return MemoryLimits(clock)


@needs_redis
class TestRedis(LimitsContract):
    @pytest.fixture
    def clock(self, server):
        address = server.address
        with redis.Redis.from_url(address.url, password=address.password) as client:
            if keys := list(client.scan_iter("*")):
                client.delete(*keys)
            yield RedisClock(client)

    @pytest.fixture
    def store(self, server, clock, run):
        script = SCRIPT.replace("call('TIME')", f"call('HMGET', '{TIME}', 's', 'us')")
        assert script != SCRIPT
        numbers = itertools.count()
        lane = RedisLane(open_redis(server.address), timeout_s=5)
        store = RedisLimits(lane, new_id=lambda: str(next(numbers)), script=script)
        yield store
        run(store.close())
