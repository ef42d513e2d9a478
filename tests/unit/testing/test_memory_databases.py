from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from greenlight.backup.ports import CatalogueVersion
from greenlight.core.errors import UnavailableError
from greenlight.testing.databases_contract import DatabasesContract
from greenlight.testing.memory_databases import MemoryDatabases

NIGHT = datetime(2026, 11, 24, 2, 14, 7, tzinfo=UTC)
VERSION = CatalogueVersion(
    model="m", version=1, digest="d" * 64, run_id="r", aliases=("champion",),
    folder="mlflow/artifacts/1/r/artifacts/model",
)  # fmt: skip


@pytest.fixture
def databases():
    seconds = count()
    return MemoryDatabases(
        lambda: NIGHT + timedelta(seconds=next(seconds)), versions=[VERSION], tables={"a.b.c": 3}
    )


class TestMemoryDatabases(DatabasesContract):
    def test_a_restore_to_a_time_has_no_later_sentinel(self, databases):
        before, after = databases.mark_time(), databases.mark_time()
        assert databases.restored_to(before.at).sentinels() == (before,)
        assert databases.restored_to(after.at).sentinels() == (before, after)

    def test_databases_that_are_away_say_so(self, databases):
        databases.away = True
        with pytest.raises(UnavailableError):
            databases.rows()

    def test_an_archive_that_fails_is_told_with_its_lag(self, databases):
        databases.wait_archived(at_most_s=1)
        databases.archives = False
        with pytest.raises(UnavailableError, match="archiver last failed"):
            databases.wait_archived(at_most_s=1)
        assert databases.archiving().failures == 1
        assert databases.archiving().lag_s > 0
