import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from greenlight.adapters.backup_metrics import (
    HELP,
    write_drill,
    write_faults,
    write_region,
    write_run,
    write_watch,
)
from greenlight.backup.backup_file import Targets
from greenlight.backup.history import BackupRun
from greenlight.backup.ladder import Drill, Outcome, Rung, RungResult
from greenlight.backup.sets import BackupKind
from greenlight.core.metrics import MetricName
from greenlight.testing.region_worlds import DAY, FAIL, PASS, START, changed, nights

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)


def values(folder):
    """Every sample of every file, by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for path in folder.glob("*.prom")
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


def a_drill(*outcomes, region="a", **changes):
    fields = {
        "id": "a-1", "began_at": NOW, "region": region, "set_id": None, "target_at": None,
        "rungs": tuple(
            RungResult(rung=rung, outcome=outcome, says="", seconds=1)
            for rung, outcome in zip(Rung, outcomes, strict=False)
        ),
        "rto_s": 41.5, "rpo_s": 12.0, "rows_lost": 0, "rows_ahead": 0,
    }  # fmt: skip
    return Drill(**(fields | changes))


def watch(folder, **changes):
    fields = {"targets": Targets(), "answered": {"a": True}, "archive_lag_s": 3.0, "at": NOW}
    write_watch(folder, **(fields | changes))


def test_a_region_s_numbers_are_those_of_its_newest_sets(tmp_path):
    write_region(tmp_path, nights([PASS, PASS, FAIL, None]), floor_reached=False)
    assert values(tmp_path) == {
        ("greenlight_backup_last_verified_timestamp_seconds", "a"): (START + DAY).timestamp(),
        ("greenlight_backup_newest_point_timestamp_seconds", "a"): (START + 3 * DAY).timestamp(),
        ("greenlight_backup_retention_floor_reached", "a"): 0,
        ("greenlight_backup_sets", "a", "true"): 2,
        ("greenlight_backup_sets", "a", "false"): 2,
        ("greenlight_backup_bytes", "a", "database"): 1000,
        ("greenlight_backup_bytes", "a", "files"): 100,
    }


def test_a_region_without_a_verified_set_has_no_time_of_one(tmp_path):
    write_region(tmp_path, nights([FAIL, None]), floor_reached=None)
    found = {name for name, *_ in values(tmp_path)}
    assert MetricName.BACKUP_LAST_VERIFIED not in found
    assert MetricName.BACKUP_FLOOR_REACHED not in found
    assert values(tmp_path)["greenlight_backup_sets", "a", "true"] == 0


def test_a_copy_that_is_gone_has_no_size_and_an_unreadable_set_counts_as_unverified(tmp_path):
    world = changed(nights([PASS]), 0, copy=None, lacks=("database copy x",))
    world = dataclasses.replace(world, unreadable=("20260401T000000Z",))
    write_region(tmp_path, world, floor_reached=True)
    found = values(tmp_path)
    assert ("greenlight_backup_bytes", "a", "database") not in found
    assert found["greenlight_backup_sets", "a", "false"] == 2


def test_an_empty_region_has_counts_and_nothing_else(tmp_path):
    write_region(tmp_path, nights([]), floor_reached=False)
    assert {name for name, *_ in values(tmp_path)} == {
        MetricName.BACKUP_SETS, MetricName.BACKUP_FLOOR_REACHED,
    }  # fmt: skip


def test_targets_are_published_in_seconds_beside_what_is_measured(tmp_path):
    watch(tmp_path, answered={"a": True, "b": False})
    found = values(tmp_path)
    assert found["greenlight_backup_target_seconds", "verified_age"] == 26 * 3600
    assert found["greenlight_backup_target_seconds", "rto"] == 900
    assert found["greenlight_backup_region_up", "a"] == 1
    assert found["greenlight_backup_region_up", "b"] == 0
    assert found[MetricName.BACKUP_ARCHIVE_LAG,] == 3
    assert found[MetricName.BACKUP_ARCHIVE_SEEN,] == NOW.timestamp()


def test_a_lag_that_could_not_be_measured_is_absent_and_so_is_when(tmp_path):
    watch(tmp_path)
    watch(tmp_path, archive_lag_s=None, at=NOW + DAY)
    found = values(tmp_path)
    assert (MetricName.BACKUP_ARCHIVE_LAG,) not in found
    assert (MetricName.BACKUP_ARCHIVE_SEEN,) not in found


def test_a_region_that_is_away_keeps_what_was_known(tmp_path):
    write_region(tmp_path, nights([PASS]), floor_reached=False)
    watch(tmp_path, answered={"a": False})
    assert values(tmp_path)[MetricName.BACKUP_LAST_VERIFIED, "a"] == START.timestamp()


def test_a_region_that_is_not_configured_any_more_is_forgotten(tmp_path):
    write_region(tmp_path, nights([PASS]), floor_reached=False)
    write_drill(tmp_path, a_drill(Outcome.PASS), last_passed_at=None)
    (tmp_path / "fleet-a.prom").write_text("")
    watch(tmp_path, answered={"b": True})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.prom", "fleet-a.prom"]


def test_a_failed_run_does_not_move_the_last_success(tmp_path):
    run = BackupRun(
        set_id="20260302T021407Z", kind=BackupKind.FULL, began_at=NOW,
        ended_at=NOW + timedelta(seconds=90), outcome=Outcome.PASS, started_by="x", detail={},
    )  # fmt: skip
    write_run(tmp_path, run)
    before = values(tmp_path)
    assert before[MetricName.BACKUP_LAST_SUCCESS,] == (NOW + timedelta(seconds=90)).timestamp()
    assert before[MetricName.BACKUP_SECONDS,] == 90
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        later = {"outcome": outcome, "ended_at": NOW + DAY}
        write_run(tmp_path, dataclasses.replace(run, **later))
    assert values(tmp_path) == before


def test_every_rung_has_a_result_and_one_that_was_not_climbed_is_not_proven(tmp_path):
    drill = a_drill(Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE, rto_s=None)
    write_drill(tmp_path, drill, last_passed_at=NOW - DAY)
    found = values(tmp_path)
    results = [found[(MetricName.DRILL_RUNG_RESULT, *sorted(("a", str(r))))] for r in Rung]
    assert results == [1, 0, -1] + [-1] * (len(Rung) - 3)
    assert found[MetricName.DRILL_LAST_PASSED, "a"] == (NOW - DAY).timestamp()
    assert found[MetricName.DRILL_RPO, "a"] == 12
    assert (MetricName.DRILL_RTO, "a") not in found


def test_a_drill_in_a_region_where_none_ever_passed_has_no_time_of_one(tmp_path):
    write_drill(tmp_path, a_drill(Outcome.FAIL), last_passed_at=None)
    assert (MetricName.DRILL_LAST_PASSED, "a") not in values(tmp_path)


def test_drills_of_two_regions_stand_side_by_side(tmp_path):
    write_drill(tmp_path, a_drill(Outcome.PASS, region="a"), last_passed_at=None)
    write_drill(tmp_path, a_drill(Outcome.PASS, region="b", rto_s=7.0), last_passed_at=None)
    found = values(tmp_path)
    assert (found[MetricName.DRILL_RTO, "a"], found[MetricName.DRILL_RTO, "b"]) == (41.5, 7)


def test_a_fault_is_noticed_or_not_or_was_not_planted(tmp_path):
    outcomes = {
        "a flipped byte": Outcome.PASS, "wrong key": Outcome.FAIL,
        "dead region": Outcome.INCONCLUSIVE,
    }  # fmt: skip
    write_faults(tmp_path, outcomes, at=NOW)
    found = values(tmp_path)
    name = MetricName.BACKUP_FAULT_DETECTED
    assert [found[name, fault] for fault in outcomes] == [1, 0, -1]
    assert found[MetricName.BACKUP_FAULTS_TRIED,] == NOW.timestamp()


@pytest.mark.parametrize("name", [n for n in MetricName if "backup" in n or "drill" in n])
def test_every_metric_says_what_it_is(name):
    assert HELP[name].endswith(".")
