from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from greenlight.adapters.rollout_store import DatabaseJournal, DatabaseLeases
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases
from greenlight.testing.rollout_contract import (
    JournalContract,
    LeaseContract,
    a_rollout,
    an_event,
)


class TestMemory(LeaseContract, JournalContract):
    @pytest.fixture
    def stores(self):
        leases = MemoryLeases(lambda: datetime.now(UTC))
        return leases, MemoryJournal(leases)


class TestPostgres(LeaseContract, JournalContract):
    @pytest.fixture
    def stores(self, database_engine):
        return DatabaseLeases(database_engine), DatabaseJournal(database_engine)

    @pytest.mark.parametrize(
        "statement", ["DELETE FROM rollout_events", "UPDATE rollouts SET version = 9"]
    )
    def test_history_cannot_be_rewritten(self, stores, database_engine, statement):
        stores[1].open_rollout(a_rollout("kept", fleet="f-kept"))
        stores[1].append(an_event("kept"))
        with (
            pytest.raises(IntegrityError, match="append-only"),
            database_engine.begin() as connection,
        ):
            connection.execute(sa.text(statement))
