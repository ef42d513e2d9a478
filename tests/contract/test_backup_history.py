import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from greenlight.adapters import database
from greenlight.adapters.backup_store import DatabaseHistory
from greenlight.testing.history_contract import HistoryContract, a_drill, a_run
from greenlight.testing.memory_history import MemoryHistory
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


class TestMemory(HistoryContract):
    @pytest.fixture
    def history(self):
        return MemoryHistory()


@needs_postgres
class TestPostgres(HistoryContract):
    @pytest.fixture
    def history(self, engine):
        return DatabaseHistory(engine)

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE backup_runs SET outcome = 'pass'",
            "DELETE FROM backup_drills",
            "TRUNCATE sentinels",
        ],
    )
    def test_history_cannot_be_rewritten(self, history, engine, statement):
        history.add_run(a_run())
        history.add_drill(a_drill("kept"))
        with pytest.raises(IntegrityError, match="append-only"), engine.begin() as connection:
            connection.execute(sa.text(statement))
