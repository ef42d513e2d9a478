import asyncio
import threading
from datetime import timedelta

import pytest

from greenlight.adapters.gateway_auth.keys import KeyAuthenticator
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.gateway.api_keys import revoke, rotate
from greenlight.gateway.key_format import new_key_text
from greenlight.gateway.principals import CredentialKind, Principal
from greenlight.testing.gateway_access import PEPPER, a_gateway, a_key, an_event, counted_bytes
from greenlight.testing.manual_clock import ManualClock
from greenlight.testing.memory_gateway import MemoryAudit, MemoryKeys

HOUR = timedelta(hours=1)


class World:
    def __init__(self, **settings):
        self.clock, self.store = ManualClock(), MemoryKeys(MemoryAudit())
        self.authenticator = KeyAuthenticator(
            a_gateway(key_cache_s=5), self.store, pepper=PEPPER, clock=self.clock, **settings
        )

    def add(self, **about):
        key, text = a_key(**about)
        self.store.add(key, event=an_event())
        return key, text.text

    def change(self, key, after):
        self.store.change(key, after, event=an_event())

    def run(self, work):
        """Run `work(ask)` while the authenticator is open."""

        async def opened():
            async with self.authenticator as open_:
                return await work(open_.authenticate)

        return asyncio.run(opened())


@pytest.fixture
def world():
    return World()


def test_a_key_says_whose_it_is(world):
    key, text = world.add(scopes=("chat", "model:small"), lifetime=HOUR)
    found = world.run(lambda ask: ask(text))
    assert (found.kind, found.subject, found.tenant) == (CredentialKind.API_KEY, key.id, "acme")
    assert found.scopes == {"chat", "model:small"}
    assert found.expires_at == key.expires_at


def test_a_mistyped_key_asks_nobody(world):
    _, text = world.add()
    other = text[:-1] + ("0" if text[-1] != "0" else "1")
    assert "mistyped" in world.run(lambda ask: ask(other)).message
    assert world.store.lookups == 0


def test_the_row_is_read_once_in_the_time_that_is_set(world):
    _, text = world.add()

    async def work(ask):
        for seconds in (0, 4, 2):
            world.clock.advance(seconds)
            await ask(text)

    world.run(work)
    assert world.store.lookups == 2


def test_a_revoked_key_opens_no_longer_than_the_time_that_is_set(world):
    key, text = world.add()

    async def work(ask):
        assert isinstance(await ask(text), Principal)
        world.change(key, revoke(key, by="bob", now=world.clock.now()))
        world.clock.advance(5)
        return await ask(text)

    refusal = world.run(work)
    assert (refusal.status, refusal.code) == (401, "invalid_api_key")
    assert "was revoked" in refusal.message


def test_a_rotated_secret_works_within_a_second(world):
    key, text = world.add()

    async def work(ask):
        await ask(text)
        other = new_key_text(counted_bytes, key_id=key.id)
        after = rotate(
            key, other, overlap=HOUR, lifetime=None, pepper=PEPPER, now=world.clock.now()
        )
        world.change(key, after)
        world.clock.advance(1)
        assert isinstance(await ask(other.text), Principal)
        assert isinstance(await ask(text), Principal)

    world.run(work)


def test_a_new_key_that_was_tried_too_early_works_within_a_second(world):
    key, text = a_key()

    async def work(ask):
        assert "not known" in (await ask(text.text)).message
        world.store.add(key, event=an_event())
        world.clock.advance(1)
        return await ask(text.text)

    assert isinstance(world.run(work), Principal)


def test_a_wrong_secret_makes_the_database_answer_once_a_second(world):
    key, _ = world.add()
    wrong = new_key_text(counted_bytes, key_id=key.id).text

    async def work(ask):
        for _ in range(50):
            assert "not known" in (await ask(wrong)).message

    world.run(work)
    assert world.store.lookups == 1


def test_made_up_keys_push_no_real_key_out():
    world = World(most_known=1)
    _, text = world.add()

    async def work(ask):
        await ask(text)
        for _ in range(20):
            await ask(new_key_text(counted_bytes).text)
        await ask(text)

    world.run(work)
    assert world.store.lookups == 21


def test_all_who_wait_share_one_query(world):
    _, text = world.add()
    slow, read = threading.Event(), world.store.get

    def read_slowly(key_id):
        slow.wait(5)
        return read(key_id)

    world.store.get = read_slowly

    async def work(ask):
        asked = [asyncio.create_task(ask(text)) for _ in range(100)]
        await asyncio.sleep(0.01)
        slow.set()
        return await asyncio.gather(*asked)

    assert all(isinstance(found, Principal) for found in world.run(work))
    assert world.store.lookups == 1


def test_while_the_database_is_away_nobody_new_is_let_in(world):
    _, text = world.add()

    async def work(ask):
        await ask(text)
        world.store.away = True
        world.clock.advance(4)
        assert isinstance(await ask(text), Principal)
        world.clock.advance(1)
        with pytest.raises(UnavailableError):
            await ask(text)
        world.store.away = False
        assert isinstance(await ask(text), Principal)

    world.run(work)


def test_the_last_use_is_written_once_however_often_it_was_used(world):
    key, text = world.add()

    async def work(ask):
        for _ in range(50):
            await ask(text)

    world.run(work)
    assert world.store.writes == 1
    assert world.store.get(key.id).last_used_at == world.clock.now()


def test_a_use_that_could_not_be_written_is_written_later():
    world = World(used_s=0.01)
    key, text = world.add()

    async def work(ask):
        await ask(text)
        world.store.away = True
        await asyncio.sleep(0.05)
        world.store.away = False

    world.run(work)
    assert world.store.get(key.id).last_used_at == world.clock.now()


def test_a_key_that_opens_nothing_is_not_used(world):
    key, _ = world.add()
    wrong = new_key_text(counted_bytes, key_id=key.id).text
    world.run(lambda ask: ask(wrong))
    assert world.store.get(key.id).last_used_at is None


def test_another_pepper_stops_the_start(world):
    world.add()
    world.authenticator._pepper = "another pepper, which is no secret"
    with pytest.raises(ConfigError, match="gateway_key_pepper"):
        world.run(lambda ask: ask(""))


def test_a_known_key_ends_when_it_expires_and_not_later():
    world = World()
    _, text = world.add(lifetime=timedelta(seconds=3))

    async def work(ask):
        assert isinstance(await ask(text), Principal)
        world.clock.advance(2)
        assert isinstance(await ask(text), Principal)
        world.clock.advance(1)
        return await ask(text)

    assert "expired" in world.run(work).message


def test_a_known_secret_ends_with_its_overlap():
    world = World()
    key, text = world.add()

    async def work(ask):
        after = rotate(
            key, new_key_text(counted_bytes, key_id=key.id), overlap=timedelta(seconds=3),
            lifetime=None, pepper=PEPPER, now=world.clock.now(),
        )  # fmt: skip
        world.change(key, after)
        assert isinstance(await ask(text), Principal)
        world.clock.advance(3)
        return await ask(text)

    assert "another secret" in world.run(work).message
    assert world.store.get(key.id).previous_used_at is not None
