import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from greenlight.adapters.backup_store import DatabaseHistory
from greenlight.testing.history_contract import HistoryContract, a_drill, a_run
from greenlight.testing.memory_history import MemoryHistory


class TestMemory(HistoryContract):
    @pytest.fixture
    def history(self):
        return MemoryHistory()


class TestPostgres(HistoryContract):
    @pytest.fixture
    def history(self, database_engine):
        return DatabaseHistory(database_engine)

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE backup_runs SET outcome = 'pass'",
            "DELETE FROM backup_drills",
            "TRUNCATE sentinels",
        ],
    )
    def test_history_cannot_be_rewritten(self, history, database_engine, statement):
        history.add_run(a_run())
        history.add_drill(a_drill("kept"))
        with (
            pytest.raises(IntegrityError, match="append-only"),
            database_engine.begin() as connection,
        ):
            connection.execute(sa.text(statement))
