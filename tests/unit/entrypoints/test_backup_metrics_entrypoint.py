import pytest
from backup_homes import BackupHome, a_drill
from prometheus_client.parser import text_string_to_metric_families

from greenlight.backup.history import RESTORE, DrillRecord
from greenlight.backup.ladder import Outcome, Rung
from greenlight.core.metrics import MetricName
from greenlight.entrypoints.backup_metrics import publish


@pytest.fixture
def home(tmp_path):
    return BackupHome(tmp_path)


def values(home):
    """Every sample of every file, by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for path in home.tools.settings.metrics.glob("*.prom")
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


def test_regions_sets_and_the_last_run_are_published(home):
    backup = home.run().backup
    assert publish(home.tools) == {"regions": {"a": True, "b": True}, "archive_lag_s": 0}
    found = values(home)
    assert found[MetricName.BACKUP_LAST_VERIFIED, "b"] == backup.point.at.timestamp()
    assert found[MetricName.BACKUP_REGION_UP, "a"] == 1
    assert found[MetricName.BACKUP_LAST_SUCCESS,] == backup.ended_at.timestamp()


def test_a_region_that_is_away_is_down_and_keeps_what_was_known(home):
    home.run()
    publish(home.tools)
    known = values(home)[MetricName.BACKUP_LAST_VERIFIED, "b"]
    home.regions.away.add("b")
    assert publish(home.tools)["regions"] == {"a": True, "b": False}
    assert values(home)[MetricName.BACKUP_REGION_UP, "b"] == 0
    assert values(home)[MetricName.BACKUP_LAST_VERIFIED, "b"] == known


def test_a_lag_that_can_not_be_measured_is_left_out(home):
    home.run()
    home.databases.away = True
    assert publish(home.tools)["archive_lag_s"] is None
    assert (MetricName.BACKUP_ARCHIVE_LAG,) not in values(home)


def test_before_the_first_drill_there_is_no_number_of_one(home):
    publish(home.tools)
    assert not [key for key in values(home) if "drill" in key[0] and "target" not in key[0]]


def test_the_last_drill_of_each_region_counts_and_the_last_that_passed(home):
    passed = a_drill(number=1)
    failed = a_drill({Rung.HASHES: Outcome.FAIL}, number=2, rto_s=None)
    for drill in (passed, failed):
        home.history.add_drill(DrillRecord(kind=RESTORE, drill=drill, outcome=drill.outcome))
    publish(home.tools)
    found = values(home)
    assert found[MetricName.DRILL_LAST_PASSED, "a"] == passed.began_at.timestamp()
    assert (MetricName.DRILL_RTO, "a") not in found
    assert (MetricName.DRILL_LAST_PASSED, "b") not in found


def test_a_planted_fault_is_no_drill_of_the_region(home):
    fault = a_drill({Rung.HASHES: Outcome.FAIL})
    home.history.add_drill(DrillRecord(kind="flipped byte", drill=fault, outcome=Outcome.FAIL))
    publish(home.tools)
    assert (MetricName.DRILL_RPO, "a") not in values(home)
