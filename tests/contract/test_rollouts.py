from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from greenlight.adapters import database
from greenlight.adapters.rollout_store import DatabaseJournal, DatabaseLeases
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases
from greenlight.testing.rollout_contract import (
    JournalContract,
    LeaseContract,
    a_rollout,
    an_event,
)
from greenlight.testing.servers import postgres_binaries, postgres_server

BINARIES = postgres_binaries()
needs_postgres = pytest.mark.skipif(BINARIES is None, reason="PostgreSQL is not installed")


@pytest.fixture(scope="module")
def engine():
    with postgres_server(BINARIES) as url:
        database.migrate(url)
        engine = database.open_engine(url)
        yield engine
        engine.dispose()


class TestMemory(LeaseContract, JournalContract):
    @pytest.fixture
    def stores(self):
        leases = MemoryLeases(lambda: datetime.now(UTC))
        return leases, MemoryJournal(leases)


@needs_postgres
class TestPostgres(LeaseContract, JournalContract):
    @pytest.fixture
    def stores(self, engine):
        return DatabaseLeases(engine), DatabaseJournal(engine)

    @pytest.mark.parametrize(
        "statement", ["DELETE FROM rollout_events", "UPDATE rollouts SET version = 9"]
    )
    def test_history_cannot_be_rewritten(self, stores, engine, statement):
        stores[1].open_rollout(a_rollout("kept", fleet="f-kept"))
        stores[1].append(an_event("kept"))
        with pytest.raises(IntegrityError, match="append-only"), engine.begin() as connection:
            connection.execute(sa.text(statement))
