import pytest

from greenlight.adapters.redis_answers import RedisAnswers
from greenlight.adapters.redis_connection import RedisLane, open_redis
from greenlight.core.clock import SystemClock
from greenlight.gateway.answer_counts import AnswerCounts
from greenlight.testing.answers_contract import AnswersContract
from greenlight.testing.memory_answer_store import MemoryAnswerStore
from greenlight.testing.redis_servers import redis_is_installed, redis_process

needs_redis = pytest.mark.skipif(not redis_is_installed(), reason="Redis is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_process(tmp_path_factory.mktemp("redis")) as process:
        yield process


class TestMemory(AnswersContract):
    @pytest.fixture
    def store(self):
        return MemoryAnswerStore(SystemClock())


@needs_redis
class TestRedis(AnswersContract):
    @pytest.fixture
    def store(self, server, run):
        lane = RedisLane(open_redis(server.address), timeout_s=5)
        store = RedisAnswers(lane, secret=b"a secret for tests", counts=AnswerCounts())
        yield store
        run(store.close())
