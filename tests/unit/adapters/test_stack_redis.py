"""What the embedded Redis is told. The real one runs in tests/integration/stack."""

from dataclasses import replace

import pytest

from greenlight.adapters.stack import redis_server
from greenlight.adapters.stack.ports import write_ports
from greenlight.adapters.stack.redis_server import CONFIG, RedisServer, redis_of
from greenlight.adapters.stack.secrets import load_or_create_secrets
from greenlight.core.errors import ConfigError, RefusedError
from greenlight.core.settings import Ports
from greenlight.gateway.gateway_file import RedisSettings

PASSWORD = "p" * 43


@pytest.fixture
def server(tmp_path):
    return RedisServer(folder=tmp_path / "a home/redis", port=7001, password=PASSWORD)


def directives(server):
    redis_server.prepare(server)
    lines = (server.folder / CONFIG).read_text().splitlines()
    return dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))


def test_redis_listens_on_loopback_only_and_forgets_nothing(server):
    found = directives(server)
    assert (found["bind"], found["port"], found["protected-mode"]) == ("127.0.0.1", "7001", "yes")
    assert (found["appendonly"], found["appendfsync"]) == ("yes", "everysec")
    assert found["maxmemory-policy"] == "noeviction"


def test_the_configuration_is_the_owners_and_does_not_hold_the_password(server):
    redis_server.prepare(server)
    path = server.folder / CONFIG
    assert path.stat().st_mode & 0o777 == 0o600
    assert server.folder.stat().st_mode & 0o777 == 0o700
    assert PASSWORD not in path.read_text()
    assert PASSWORD not in repr(server) + repr(server.address)


def test_redis_is_started_again_when_its_password_or_port_changes(server):
    others = (replace(server, port=7002), replace(server, password="q" * 43))
    digests = {redis_server.service(one, program="sh").digest for one in (server, server, *others)}
    assert len(digests) == 3


def test_a_missing_redis_says_how_to_install_it(server):
    with pytest.raises(ConfigError, match=r"no no-redis.*scripts/setup system"):
        redis_server.service(server, program="no-redis")


def test_the_gateways_redis_is_the_embedded_one(make_settings):
    settings = make_settings()
    with pytest.raises(RefusedError, match=r"never up: run `make up`, or set redis\.url"):
        redis_of(RedisSettings(), settings)
    secrets = load_or_create_secrets(settings.secrets)
    write_ports(settings.run / "ports.json", Ports(redis=7001))
    found = redis_of(RedisSettings(timeout_s=0.5), settings)
    assert found.url == "redis://127.0.0.1:7001/0"
    assert (found.password, found.timeout_s) == (secrets.redis, 0.5)


def test_or_the_one_that_was_configured(make_settings, tmp_path):
    file = tmp_path / "password"
    own = RedisSettings(url="rediss://cache.example.org:6380/0", password_file=file, ca_file=file)
    with pytest.raises(ConfigError, match=r"redis\.password_file .* can't be read"):
        redis_of(own, make_settings())
    file.write_text(" \n")
    with pytest.raises(ConfigError, match=r"redis\.password_file .* is empty"):
        redis_of(own, make_settings())
    file.write_text(f"{PASSWORD}\n")
    found = redis_of(own, make_settings())
    assert (found.url, found.password, found.ca_file) == (own.url, PASSWORD, file)
    assert redis_of(RedisSettings(url="redis://cache"), make_settings()).password is None
