"""Memory and Postgres keep schedules in the same way."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from greenlight.adapters import database
from greenlight.adapters.schedule_store import DatabaseSchedules
from greenlight.scaling.ports import ScheduleStore
from greenlight.testing.memory_schedules import MemorySchedules
from greenlight.testing.schedules_contract import SchedulesContract
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


class TestMemory(SchedulesContract):
    @pytest.fixture
    def schedules(self) -> ScheduleStore:
        return MemorySchedules()


@needs_postgres
class TestPostgres(SchedulesContract):
    @pytest.fixture
    def schedules(self, engine) -> ScheduleStore:
        return DatabaseSchedules(engine)

    @pytest.mark.parametrize(
        ("column", "value"),
        [("state", "applied"), ("state", "approved"), ("state", "skipped"), ("applied_at", "now")],
    )
    def test_a_schedule_that_makes_no_sense_is_refused(self, engine, column, value):
        row = {
            "digest": "a" * 64, "fleet": "f", "text": "", "state": "proposed", "made_at": "now",
            "made_by": "", "waits_for": "[]", "decided_by": "", "reason": "", "applied_by": "",
        } | {column: value}  # fmt: skip
        names = ", ".join(row)
        statement = sa.text(
            f"INSERT INTO schedules ({names}) VALUES ({', '.join(f':{n}' for n in row)})"
        )
        with pytest.raises(IntegrityError), engine.begin() as connection:
            connection.execute(statement, row)
