import json
from datetime import timedelta

import pytest

from greenlight.core.errors import ConfigError, InputError, RefusedError
from greenlight.entrypoints.gateway_keys import ApiKeys
from greenlight.gateway.audit import EventName
from greenlight.gateway.key_format import read_key_text
from greenlight.testing.gateway_access import PEPPER, a_gateway, counted_bytes
from greenlight.testing.manual_clock import NOON, ManualClock
from greenlight.testing.memory_gateway import MemoryAudit, MemoryKeys

DAY = timedelta(days=1)


class World:
    def __init__(self):
        self.audit, self.clock = MemoryAudit(), ManualClock()
        self.store = MemoryKeys(self.audit)
        self.keys = self.of("ana")

    def of(self, operator, *, pepper=PEPPER):
        return ApiKeys(
            gateway=a_gateway(), store=self.store, pepper=pepper, by=operator,
            clock=self.clock, random=counted_bytes,
        )  # fmt: skip

    def events(self):
        return [(one.record.event, one.subject) for one in self.audit.find()]


@pytest.fixture
def world():
    return World()


def test_a_key_is_kept_hashed_and_its_text_is_told_once(world):
    issued = world.keys.create(tenant="acme", scopes=["chat"], name="batch", lifetime=DAY)
    kept = world.store.get(issued.key.id)
    assert kept == issued.key
    assert (kept.name, kept.created_by, kept.expires_at) == ("batch", "ana", NOON + DAY)
    assert read_key_text(issued.text).matches(kept.hash, PEPPER)
    shown = json.dumps(world.keys.list_keys()) + repr(issued) + str(world.audit.stored)
    assert issued.text not in shown
    assert kept.hash not in shown


def test_every_change_is_in_the_audit_log_with_who_made_it(world):
    issued = world.keys.create(tenant="acme", scopes=["chat"])
    world.of("bob").rotate(issued.key.id, overlap=DAY)
    world.of("eve").revoke(issued.key.id)
    assert world.events() == [
        (EventName.KEY_CREATED, "operator:ana"),
        (EventName.KEY_ROTATED, "operator:bob"),
        (EventName.KEY_REVOKED, "operator:eve"),
    ]
    rotation = world.audit.find(event="key.rotated")[0].record
    assert rotation.tenant == "acme"
    assert rotation.detail == {
        "key": issued.key.id, "scopes": ["chat"], "expires_at": None,
        "previous_until": "2026-11-25T12:00:00+00:00",
    }  # fmt: skip


def test_a_dry_run_changes_nothing_and_refuses_the_same(world):
    issued = world.keys.create(tenant="acme", scopes=["chat"])
    world.keys.create(tenant="acme", scopes=["chat"], dry_run=True)
    world.keys.rotate(issued.key.id, overlap=DAY, dry_run=True)
    assert world.keys.revoke(issued.key.id, dry_run=True).revoked_by == "ana"
    assert world.store.all_keys() == (issued.key,)
    assert len(world.audit.stored) == 1
    with pytest.raises(InputError, match="'chats' is unknown"):
        world.keys.create(tenant="acme", scopes=["chats"], dry_run=True)


def test_a_key_is_found_by_whatever_was_pasted(world):
    issued = world.keys.create(tenant="acme", scopes=["chat"])
    for pasted in (issued.key.id, f"glk_{issued.key.id}", issued.text, issued.text[:30]):
        assert world.keys.get(pasted) == issued.key


def test_a_key_that_is_not_there_is_told_without_its_secret(world):
    with pytest.raises(InputError, match="no key 'gone'; see `greenlight keys list`"):
        world.keys.revoke("glk_gone_secretsecret")


def test_revoking_twice_leaves_one_record(world):
    issued = world.keys.create(tenant="acme", scopes=["chat"])
    first = world.keys.revoke(issued.key.id)
    world.clock.advance(60)
    assert world.of("bob").revoke(issued.key.id) == first
    assert len(world.audit.find(event="key.revoked")) == 1


def test_a_revoked_key_is_not_rotated(world):
    issued = world.keys.create(tenant="acme", scopes=["chat"])
    world.keys.revoke(issued.key.id)
    with pytest.raises(RefusedError, match="is revoked"):
        world.keys.rotate(issued.key.id, overlap=DAY)


def test_with_another_pepper_no_key_is_made_and_the_old_ones_can_be_ended(world):
    issued = world.keys.create(tenant="acme", scopes=["chat"])
    lost = world.of("ana", pepper="another pepper, made anew")
    with pytest.raises(ConfigError, match="put the old secret back"):
        lost.create(tenant="acme", scopes=["chat"])
    lost.revoke(issued.key.id)
    assert lost.create(tenant="acme", scopes=["chat"]).key.state(NOON) == "active"


def test_keys_are_listed_with_their_state(world):
    world.keys.create(tenant="acme", scopes=["chat"], lifetime=DAY)
    world.keys.create(tenant="narrow", scopes=["chat"])
    world.clock.advance(DAY.total_seconds())
    assert [key["state"] for key in world.keys.list_keys()] == ["expired", "active"]
    assert [key["tenant"] for key in world.keys.list_keys(tenant="narrow")] == ["narrow"]


def test_a_key_that_can_ask_no_model_says_so(world):
    assert not world.keys.create(tenant="acme", scopes=["chat"]).opens_a_model
    assert world.keys.create(tenant="acme", scopes=["chat", "model:*"]).opens_a_model
