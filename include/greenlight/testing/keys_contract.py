"""What every store of API keys must do. Subclass it and give it a fixture `stores`.

`stores` are a `KeyStore` and the `AuditStore` that it writes its events to, both empty.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from greenlight.core.errors import InputError, RefusedError
from greenlight.gateway.api_keys import Use, revoke, rotate
from greenlight.gateway.audit import EventName
from greenlight.gateway.key_format import new_key_text
from greenlight.gateway.stores import AuditStore, KeyStore
from greenlight.testing.gateway_access import PEPPER, a_key, an_event, counted_bytes
from greenlight.testing.manual_clock import NOON

Stores = tuple[KeyStore, AuditStore]
MINUTE = timedelta(minutes=1)


class KeysContract:
    """Kept as they were made, changed once, never without a record of it."""

    def test_a_key_is_read_back_as_it_was_made(self, stores: Stores) -> None:
        """Every field of it."""
        store, _ = stores
        key, _ = a_key(lifetime=timedelta(days=90), name="Ana's laptop")
        store.add(key, event=an_event())
        assert store.get(key.id) == key

    def test_a_key_that_never_was_is_nothing(self, stores: Stores) -> None:
        """And no error: somebody mistyped."""
        assert stores[0].get("0000000000000000") is None

    def test_keys_are_listed_oldest_first_with_those_that_ended(self, stores: Stores) -> None:
        """Who had access is asked later, too."""
        store, _ = stores
        late, early = a_key(now=NOON + MINUTE)[0], a_key()[0]
        for key in (late, early):
            store.add(key, event=an_event())
        ended = revoke(early, by="bob", now=NOON + MINUTE)
        store.change(early, ended, event=an_event(EventName.KEY_REVOKED))
        assert store.all_keys() == (ended, late)

    def test_an_id_is_given_once(self, stores: Stores) -> None:
        """And the key that has it stays as it is."""
        store, audit = stores
        key, _ = a_key()
        store.add(key, event=an_event())
        with pytest.raises(InputError, match=key.id):
            store.add(replace(key, tenant="narrow"), event=an_event())
        assert store.get(key.id) == key
        assert len(audit.find()) == 1

    def test_each_change_leaves_a_record(self, stores: Stores) -> None:
        """In the order they were made."""
        store, audit = stores
        key, _ = a_key()
        store.add(key, event=an_event())
        other = rotate(
            key, new_key_text(counted_bytes, key_id=key.id), overlap=MINUTE, lifetime=None,
            pepper=PEPPER, now=NOON,
        )  # fmt: skip
        store.change(key, other, event=an_event(EventName.KEY_ROTATED))
        assert store.get(key.id) == other
        events = [one.record.event for one in audit.find()]
        assert events == [EventName.KEY_CREATED, EventName.KEY_ROTATED]

    def test_of_two_changes_at_once_one_is_refused(self, stores: Stores) -> None:
        """And leaves no record: it did not happen."""
        store, audit = stores
        key, _ = a_key()
        store.add(key, event=an_event())
        ended = revoke(key, by="bob", now=NOON)
        store.change(key, ended, event=an_event(EventName.KEY_REVOKED))
        with pytest.raises(RefusedError, match=key.id):
            store.change(
                key, revoke(key, by="eve", now=NOON), event=an_event(EventName.KEY_REVOKED)
            )
        assert store.get(key.id) == ended
        assert len(audit.find()) == 2

    def test_the_last_use_is_written_and_never_goes_back(self, stores: Stores) -> None:
        """Workers write in any order; the secret before has a time of its own."""
        store, _ = stores
        key, _ = a_key()
        store.add(key, event=an_event())
        store.used([Use(key_id=key.id, at=NOON + MINUTE), Use(key_id="gone", at=NOON)])
        store.used([Use(key_id=key.id, at=NOON), Use(key_id=key.id, at=NOON, previous=True)])
        found = store.get(key.id)
        assert found is not None
        assert (found.last_used_at, found.previous_used_at) == (NOON + MINUTE, NOON)

    def test_a_use_that_is_written_meanwhile_survives_a_change(self, stores: Stores) -> None:
        """The key was read before it."""
        store, _ = stores
        key, _ = a_key()
        store.add(key, event=an_event())
        store.used([Use(key_id=key.id, at=NOON)])
        store.change(key, revoke(key, by="bob", now=NOON), event=an_event(EventName.KEY_REVOKED))
        found = store.get(key.id)
        assert found is not None
        assert found.last_used_at == NOON

    def test_nothing_used_is_nothing_written(self, stores: Stores) -> None:
        """Most minutes of most gateways."""
        stores[0].used([])
