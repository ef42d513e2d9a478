import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from greenlight.adapters import database
from greenlight.adapters.audit_store import DatabaseAudit
from greenlight.adapters.key_store import DatabaseKeys
from greenlight.adapters.spend_cap_store import DatabaseSpendCaps
from greenlight.core.errors import ConfigError, RefusedError, UnavailableError
from greenlight.gateway.audit import EventName
from greenlight.gateway.audit_check import BreakKind, Verdict
from greenlight.testing.audit_contract import AUDIT_SECRET, AuditContract, checked
from greenlight.testing.gateway_access import a_key, an_event, empty_tables, past_triggers
from greenlight.testing.keys_contract import KeysContract
from greenlight.testing.manual_clock import NOON
from greenlight.testing.memory_gateway import MemoryAudit, MemoryKeys, MemorySpendCaps
from greenlight.testing.servers import free_port
from greenlight.testing.spend_caps_contract import SpendCapsContract, a_cap, keep


@pytest.fixture
def engine(database_engine):
    """A database whose tables are empty."""
    empty_tables(database_engine)
    return database_engine


class TestMemoryKeys(KeysContract):
    @pytest.fixture
    def stores(self):
        audit = MemoryAudit(secret=AUDIT_SECRET)
        return MemoryKeys(audit), audit


class TestMemoryAudit(AuditContract):
    @pytest.fixture
    def audit(self):
        return MemoryAudit(secret=AUDIT_SECRET)


class TestMemorySpendCaps(SpendCapsContract):
    @pytest.fixture
    def stores(self):
        audit = MemoryAudit(secret=AUDIT_SECRET)
        return MemorySpendCaps(audit), audit


class TestPostgresSpendCaps(SpendCapsContract):
    @pytest.fixture
    def stores(self, engine):
        audit = DatabaseAudit(engine, secret=AUDIT_SECRET)
        return DatabaseSpendCaps(engine, audit), audit

    def test_without_its_record_a_cap_is_not_kept(self, engine):
        foreign = DatabaseAudit(engine, secret="another secret of the log")
        DatabaseAudit(engine, secret=AUDIT_SECRET).append([an_event()])
        with pytest.raises(ConfigError, match="gateway_audit"):
            keep((DatabaseSpendCaps(engine, foreign), foreign), a_cap())
        assert DatabaseSpendCaps(engine).all_caps() == ()

    def test_who_only_reads_changes_nothing(self, engine):
        with pytest.raises(RefusedError, match="read only"):
            keep((DatabaseSpendCaps(engine), None), a_cap())


class TestPostgresKeys(KeysContract):
    @pytest.fixture
    def stores(self, engine):
        audit = DatabaseAudit(engine, secret=AUDIT_SECRET)
        return DatabaseKeys(engine, audit), audit

    def test_a_key_is_never_deleted(self, stores, engine):
        stores[0].add(a_key()[0], event=an_event())
        with pytest.raises(IntegrityError, match="append-only"), engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM api_keys"))

    def test_without_its_record_a_key_is_not_made(self, stores, engine):
        store, audit = stores
        audit.append([an_event()])
        foreign = DatabaseKeys(engine, DatabaseAudit(engine, secret="another secret of the log"))
        key, _ = a_key()
        with pytest.raises(ConfigError, match="gateway_audit"):
            foreign.add(key, event=an_event())
        assert store.get(key.id) is None

    def test_a_database_that_is_away_can_be_tried_again(self):
        engine = database.open_engine(f"postgresql://g@127.0.0.1:{free_port()}/greenlight")
        store = DatabaseKeys(engine, DatabaseAudit(engine, secret=AUDIT_SECRET))
        with pytest.raises(UnavailableError):
            store.get("k")


class TestPostgresAudit(AuditContract):
    @pytest.fixture
    def audit(self, engine):
        return DatabaseAudit(engine, secret=AUDIT_SECRET)

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE audit_records SET tenant = 'other'",
            "DELETE FROM audit_records WHERE number = 2",
            "TRUNCATE audit_records",
        ],
    )
    def test_history_cannot_be_rewritten(self, audit, engine, statement):
        audit.append([an_event(), an_event(), an_event()])
        with pytest.raises(IntegrityError, match="append-only"), engine.begin() as connection:
            connection.execute(sa.text(statement))

    def test_an_anchor_of_retention_lets_nothing_younger_go(self, audit, engine):
        audit.append([an_event(), an_event(), an_event()])
        audit.prune(audit.find()[0].record, event=an_event(EventName.PRUNED))
        with pytest.raises(IntegrityError, match="record 4"), engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM audit_records"))

    @pytest.mark.parametrize(
        ("statements", "kind", "first", "last"),
        [
            (["UPDATE audit_records SET tenant = 'x' WHERE number = 2"], BreakKind.EDITED, 2, 2),
            (["UPDATE audit_records SET detail = '{}' WHERE number = 4"], BreakKind.EDITED, 4, 4),
            (["DELETE FROM audit_records WHERE number IN (2, 3)"], BreakKind.DELETED, 2, 3),
            (["DELETE FROM audit_records WHERE number > 2"], BreakKind.DELETED, 3, 4),
            (["DELETE FROM audit_records"], BreakKind.DELETED, 1, 4),
            (["DELETE FROM audit_anchors"], BreakKind.DELETED, 1, 4),
            (
                [
                    "UPDATE audit_records SET number = -number WHERE number IN (2, 3)",
                    "UPDATE audit_records SET number = 5 + number WHERE number < 0",
                ],
                BreakKind.REORDERED, 2, 2,
            ),
            (
                [
                    "DELETE FROM audit_records WHERE number = 1",
                    "UPDATE audit_records SET number = number - 1",
                ],
                BreakKind.REORDERED, 1, 1,
            ),
            (
                [
                    "INSERT INTO audit_records SELECT 5, at, event, subject, tenant, detail, hash, "
                    "repeat('a', 64) FROM audit_records WHERE number = 4"
                ],
                BreakKind.FORGED, 5, 5,
            ),
            (["UPDATE audit_anchors SET number = 3"], BreakKind.FORGED, 3, 3),
        ],
    )  # fmt: skip
    def test_what_an_owner_of_the_database_does_is_found(
        self, audit, engine, statements, kind, first, last
    ):
        tenants = ("one", "two", "three", "four")
        audit.append([an_event(tenant=name) for name in tenants])
        assert checked(audit).verdict is Verdict.PASS
        relaxed = ["ALTER TABLE audit_records DROP CONSTRAINT audit_records_number_check"]
        strict = "ALTER TABLE audit_records ADD CONSTRAINT audit_records_number_check"
        past_triggers(engine, *relaxed, *statements, f"{strict} CHECK (number > 0)")
        found = checked(audit)
        assert found.verdict is Verdict.FAIL
        assert (found.finding.kind, found.finding.first, found.finding.last) == (kind, first, last)

    def test_who_knows_only_the_database_cannot_shorten_it_by_retention(self, audit, engine):
        audit.append([an_event(), an_event()])
        past_triggers(
            engine,
            "INSERT INTO audit_anchors SELECT 'pruned', 1, hash, at, repeat('b', 64) "
            "FROM audit_records WHERE number = 1",
            "DELETE FROM audit_records WHERE number = 1",
        )
        assert checked(audit).finding.kind is BreakKind.FORGED

    def test_nothing_follows_an_end_that_we_did_not_sign(self, audit, engine):
        audit.append([an_event()])
        past_triggers(engine, "UPDATE audit_anchors SET number = 7")
        with pytest.raises(ConfigError, match="greenlight audit verify"):
            audit.append([an_event()])

    def test_several_writers_share_one_chain(self, engine):
        stores = [DatabaseAudit(engine, secret=AUDIT_SECRET) for _ in range(4)]
        ready = threading.Barrier(len(stores))

        def write(store):
            ready.wait()
            for _ in range(10):
                store.append([an_event(subject="shared"), an_event(subject=None)])

        with ThreadPoolExecutor(len(stores)) as pool:
            list(pool.map(write, stores))
        assert (checked(stores[0]).verdict, checked(stores[0]).records) == (Verdict.PASS, 80)
        assert len({one.record.subject for one in stores[0].find(subject="shared")}) == 1

    def test_a_long_log_is_read_in_pieces(self, audit):
        audit.append([an_event(at=NOON) for _ in range(4100)])
        assert checked(audit).records == 4100
