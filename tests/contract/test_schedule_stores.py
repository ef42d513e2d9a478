"""Memory and Postgres keep schedules in the same way."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from greenlight.adapters.schedule_store import DatabaseSchedules
from greenlight.scaling.ports import ScheduleStore
from greenlight.testing.memory_schedules import MemorySchedules
from greenlight.testing.schedules_contract import SchedulesContract


class TestMemory(SchedulesContract):
    @pytest.fixture
    def schedules(self) -> ScheduleStore:
        return MemorySchedules()


class TestPostgres(SchedulesContract):
    @pytest.fixture
    def schedules(self, database_engine) -> ScheduleStore:
        return DatabaseSchedules(database_engine)

    @pytest.mark.parametrize(
        ("column", "value"),
        [("state", "applied"), ("state", "approved"), ("state", "skipped"), ("applied_at", "now")],
    )
    def test_a_schedule_that_makes_no_sense_is_refused(self, database_engine, column, value):
        row = {
            "digest": "a" * 64, "fleet": "f", "text": "", "state": "proposed", "made_at": "now",
            "made_by": "", "waits_for": "[]", "decided_by": "", "reason": "", "applied_by": "",
        } | {column: value}  # fmt: skip
        names = ", ".join(row)
        statement = sa.text(
            f"INSERT INTO schedules ({names}) VALUES ({', '.join(f':{n}' for n in row)})"
        )
        with pytest.raises(IntegrityError), database_engine.begin() as connection:
            connection.execute(statement, row)
