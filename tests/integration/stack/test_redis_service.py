"""Redis as a service of the stack, alone: the gateway's limits outlive what happens to it."""

import os
import signal
import time

import psutil
import pytest
import redis
from redis.exceptions import NoPermissionError

from greenlight.adapters.stack.embedded import EmbeddedStack
from greenlight.adapters.stack.redis_server import redis_of
from greenlight.adapters.stack.services import ServiceName, State
from greenlight.core.settings import Settings
from greenlight.gateway.gateway_file import RedisSettings
from greenlight.testing.redis_servers import redis_is_installed

pytestmark = pytest.mark.skipif(not redis_is_installed(), reason="Redis is not installed")
ONLY = {ServiceName.REDIS}
KEY = "greenlight:a test's"


def report(step, what):
    """Nobody listens."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("redis") / "a home with spaces")
    stack = EmbeddedStack(settings, environment={})
    try:
        stack.up(report, only=ONLY)
        yield settings
    finally:
        stack.down(report)


def line_of(settings):
    lines = EmbeddedStack(settings, environment={}).status()
    return next(line for line in lines if line.name is ServiceName.REDIS)


def client_of(settings):
    address = redis_of(RedisSettings(), settings)
    return redis.Redis.from_url(address.url, password=address.password)


def test_redis_is_healthy_and_the_rest_is_not_started(home):
    line = line_of(home)
    assert (line.state, line.reason) == (State.RUNNING, None)
    states = {one.name: one.state for one in EmbeddedStack(home, environment={}).status()}
    assert {name for name, state in states.items() if state is State.RUNNING} == ONLY


def test_it_listens_on_loopback_only_and_asks_for_the_password(home):
    line = line_of(home)
    listening = psutil.Process(line.pid).net_connections(kind="tcp")
    assert {(c.laddr.ip, c.laddr.port) for c in listening if c.status == psutil.CONN_LISTEN} == {
        ("127.0.0.1", line.port)
    }
    with redis.Redis(port=line.port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.get(KEY)


@pytest.mark.parametrize("command", ["FLUSHALL", "CONFIG GET *", "KEYS *", "MONITOR", "SHUTDOWN"])
def test_our_own_user_can_neither_read_nor_change_the_server(home, command):
    with client_of(home) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command.split())


def test_another_key_than_ours_cannot_be_written(home):
    with client_of(home) as client, pytest.raises(NoPermissionError):
        client.set("celery", "a task")


def test_up_again_starts_nothing_and_after_a_kill_nothing_is_forgotten(home):
    before = line_of(home).pid
    EmbeddedStack(home, environment={}).up(report, only=ONLY)
    assert line_of(home).pid == before
    with client_of(home) as client:
        client.set(KEY, "counted", ex=600)
    os.kill(before, signal.SIGKILL)
    EmbeddedStack(home, environment={}).up(report, only=ONLY)
    assert line_of(home).pid != before
    with client_of(home) as client:
        assert client.get(KEY) == b"counted"


def test_a_new_password_is_used_after_the_next_up(home):
    with client_of(home) as old:
        old.ping()
        (home.secrets / "redis").write_text("another secret of good length\n")
        EmbeddedStack(home, environment={}).up(report, only=ONLY)
        with client_of(home) as client:
            assert client.get(KEY) == b"counted"
        old.connection_pool.disconnect()
        with pytest.raises(redis.AuthenticationError):
            old.ping()


def test_z_down_takes_no_longer_than_it_needs(home):
    begin = time.monotonic()
    EmbeddedStack(home, environment={}).down(report)
    assert time.monotonic() - begin < 10
    assert line_of(home).state is State.STOPPED
