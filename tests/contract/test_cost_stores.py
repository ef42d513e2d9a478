from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from greenlight.adapters.cost_store import DatabaseCosts
from greenlight.cost.bill import HOUR
from greenlight.cost.ports import CostStore
from greenlight.testing.costs_contract import CostsContract, a_day, a_line, an_hour
from greenlight.testing.memory_costs import MemoryCosts


class TestMemory(CostsContract):
    @pytest.fixture
    def costs(self) -> CostStore:
        return MemoryCosts()


class TestPostgres(CostsContract):
    @pytest.fixture
    def costs(self, database_engine) -> CostStore:
        return DatabaseCosts(database_engine)

    def test_two_that_save_the_same_hour_at_once_leave_one(self, costs):
        start = a_day()
        hours = [an_hour(start, a_line(start, cost=n), a_line(start, cost=n)) for n in range(1, 9)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(costs.save_hour, hours))
        first, second = costs.lines(start, start + HOUR)
        assert first.cost == second.cost
        assert costs.hours(start, start + HOUR)[0].bill == 2 * first.cost

    @pytest.mark.parametrize(
        "values",
        [
            "('2026-01-01 10:00+00', 'computed', now(), 'a', NULL, 'USD', '[]', '[]')",
            "('2026-01-01 10:30+00', 'computed', now(), 'a', 1, 'USD', '[]', '[]')",
            "('2026-01-01 10:00+00', 'skipped', now(), 'a', 1, 'USD', '[]', '[]')",
        ],
        ids=["without a bill", "not an hour", "another state"],
    )
    def test_an_hour_that_makes_no_sense_is_refused(self, database_engine, values):
        statement = sa.text(f"INSERT INTO cost_hours VALUES {values}")
        with pytest.raises(IntegrityError), database_engine.begin() as connection:
            connection.execute(statement)
