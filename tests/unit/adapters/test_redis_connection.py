import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis.exceptions import NoScriptError

from greenlight.adapters.redis_connection import RedisAddress, RedisLane, check_redis, open_redis
from greenlight.adapters.stack.certificates import certificates_in, ensure_certificates
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.testing.redis_servers import PASSWORD, redis_is_installed, redis_process
from greenlight.testing.servers import free_port

pytestmark = pytest.mark.skipif(not redis_is_installed(), reason="Redis is not installed")
KEY = "greenlight:test"


@pytest.fixture(scope="module")
def tls_port():
    return free_port()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("a folder")


@pytest.fixture(scope="module")
def certificates(folder):
    found = certificates_in(folder)
    ensure_certificates(found, now=datetime.now(UTC))
    return found


@pytest.fixture(scope="module")
def server(folder, certificates, tls_port):
    extra = (
        f"tls-port {tls_port}\ntls-auth-clients no\n"
        f'tls-cert-file "{certificates.server}"\ntls-key-file "{certificates.server}"\n'
        f"unixsocket socket\n"
    )
    with redis_process(folder / "redis", extra=extra) as process:
        yield process


@asynccontextmanager
async def lane_to(address, *, timeout_s=5.0):
    lane = RedisLane(open_redis(address), timeout_s=timeout_s)
    try:
        yield lane
    finally:
        await lane.close()


async def said(address):
    async with lane_to(address) as lane:
        return await lane.ask("ECHO", "hello")


def test_redis_is_reached_over_tls_with_the_authority_that_was_named(
    server, certificates, tls_port
):
    address = replace(
        server.address, url=f"rediss://127.0.0.1:{tls_port}/0", ca_file=certificates.ca
    )
    assert asyncio.run(said(address)) == b"hello"


def test_a_certificate_of_an_unknown_authority_is_refused(server, tls_port):
    address = replace(server.address, url=f"rediss://127.0.0.1:{tls_port}/0")
    with pytest.raises(UnavailableError, match="certificate verify failed"):
        asyncio.run(said(address))


def test_redis_is_reached_over_a_unix_socket(server):
    address = replace(server.address, url=f"unix://{server.server.folder}/socket")
    assert asyncio.run(said(address)) == b"hello"


def test_a_wrong_password_is_unavailable_and_found_out_at_start(server):
    wrong = replace(server.address, password="wrong" + "g" * 20)
    with pytest.raises(UnavailableError, match="does not answer: invalid username-password"):
        asyncio.run(said(wrong))
    with pytest.raises(ConfigError, match=r"refuses the password of redis\.password_file"):
        asyncio.run(check_redis(open_redis(wrong), timeout_s=5))


def test_the_password_is_shown_nowhere(server):
    client = open_redis(server.address)
    wrong = replace(server.address, url="redis://127.0.0.1:1/0")
    with pytest.raises(UnavailableError) as error:
        asyncio.run(said(wrong))
    shown = f"{server.address!r} {client!r} {client.connection_pool!r} {error.value!r}"
    assert PASSWORD not in shown
    assert "127.0.0.1:1" in str(error.value)


def test_a_url_that_is_none_is_refused_at_start():
    with pytest.raises(ConfigError, match=r"redis\.url 'http://x' can't be used"):
        open_redis(RedisAddress(url="http://x"))
    with pytest.raises(ConfigError, match=r"redis\.ca_file /no/ca\.pem does not exist"):
        open_redis(RedisAddress(url="rediss://x", ca_file=Path("/no/ca.pem")))


def test_what_a_limit_store_needs_is_checked(server, tmp_path):
    asyncio.run(check_redis(open_redis(server.address), timeout_s=5))
    with (
        redis_process(tmp_path / "other", extra="maxmemory-policy allkeys-lru\n") as forgetful,
        pytest.raises(ConfigError, match="allkeys-lru, which forgets limits"),
    ):
        asyncio.run(check_redis(open_redis(forgetful.address), timeout_s=5))
    with pytest.raises(UnavailableError, match="does not answer"):
        asyncio.run(check_redis(open_redis(forgetful.address), timeout_s=5))


def test_a_thousand_commands_share_one_connection_in_their_order(server):
    async def main():
        async with lane_to(server.address) as lane:
            values = await asyncio.gather(
                *(lane.ask("INCR", f"{KEY}:ordered") for _ in range(1000))
            )
            clients = await lane.ask("INFO", "clients")
        return values, int(re.search(rb"connected_clients:(\d+)", clients)[1])

    values, clients = asyncio.run(main())
    assert values == list(range(1, 1001))
    assert clients == 1


def test_one_bad_command_does_not_hurt_those_beside_it(server):
    async def main():
        async with lane_to(server.address) as lane:
            return await asyncio.gather(
                lane.ask("ECHO", "a"), lane.ask("EVALSHA", "0" * 40, "0"),
                lane.ask("FLUSHALL"), lane.ask("ECHO", "b"), return_exceptions=True,
            )  # fmt: skip

    first, unknown, forbidden, last = asyncio.run(main())
    assert (first, last) == (b"a", b"b")
    assert isinstance(unknown, NoScriptError)
    assert isinstance(forbidden, UnavailableError)
    assert "no permissions to run the 'flushall' command" in str(forbidden)


def test_a_redis_that_hangs_is_given_up_and_used_again_when_it_is_back(tmp_path):
    async def main(server):
        async with lane_to(server.address, timeout_s=0.3) as lane:
            await lane.ask("SET", KEY, "before")
            server.freeze()
            with pytest.raises(UnavailableError, match="does not answer: TimeoutError"):
                await lane.ask("SET", f"{KEY}:lost", "x")
            server.thaw()
            await lane.ask("SET", KEY, "after")
            assert await lane.ask("GET", KEY) == b"after"

    with redis_process(tmp_path / "redis") as server:
        asyncio.run(main(server))


def test_a_caller_that_leaves_takes_no_others_reply(server):
    async def main():
        async with lane_to(server.address) as lane:
            asked = [asyncio.create_task(lane.ask("ECHO", str(n))) for n in range(6)]
            await asyncio.sleep(0)
            asked[0].cancel()
            await asyncio.sleep(0)
            asked[3].cancel()
            replies = await asyncio.gather(*asked, return_exceptions=True)
            return [reply for reply in replies if not isinstance(reply, BaseException)]

    assert asyncio.run(main()) == [b"1", b"2", b"4", b"5"]


def test_what_is_asked_when_the_lane_closes_fails_at_once(server):
    async def main():
        lane = RedisLane(open_redis(server.address), timeout_s=5)
        asked = [asyncio.create_task(lane.ask("ECHO", "x")) for _ in range(200)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await lane.close()
        return await asyncio.gather(*asked, return_exceptions=True)

    assert {type(one) for one in asyncio.run(main())} == {UnavailableError}
