from dataclasses import replace
from datetime import timedelta

import pytest
from backup_homes import BackupHome, TickingClock

from greenlight.backup.backup_file import Retention
from greenlight.backup.ladder import Outcome
from greenlight.backup.sets import BackupKind, Verdict
from greenlight.core.errors import (
    ConfigError,
    GateError,
    InputError,
    RefusedError,
    UnavailableError,
)
from greenlight.entrypoints.backup import Backups


@pytest.fixture
def home(tmp_path):
    return BackupHome(tmp_path)


def test_a_set_is_in_both_regions_and_read_back_in_each(home):
    ended = home.run()
    assert {check.region: check.verdict for check in ended.verifications} == {
        "a": Verdict.PASS,
        "b": Verdict.PASS,
    }
    assert home.states("a") == home.states("b") == {ended.backup.id: "verified"}


def test_the_manifest_lists_every_version_with_its_files(home):
    home.register("two")
    (one, two) = home.run().backup.versions
    assert [file.path for file in two.files] == [
        "mlflow/artifacts/1/run2/artifacts/model/weights.bin"
    ]
    assert one.digest != two.digest


def test_secrets_are_named_and_not_saved(home):
    secret = home.home / "secrets/backup_restic"
    secret.parent.mkdir()
    secret.write_text("a password")
    backup = home.run().backup
    assert backup.excluded == ("backup_restic",)
    listed = home.files.listing("a", backup.copy_in("a").snapshot)
    assert not [path for path in listed if "secrets" in path]


def test_the_first_copy_is_full_and_the_next_is_not_until_it_is_old(home):
    kinds = [home.run().backup.copy_in("b").kind for _ in range(2)]
    home.days_pass(8)
    kinds.append(home.run().backup.copy_in("b").kind)
    assert kinds == [BackupKind.FULL, BackupKind.INCREMENTAL, BackupKind.FULL]


def test_a_version_without_its_files_never_verifies(home):
    folder = home.register("two")
    (folder / "weights.bin").unlink()
    with pytest.raises(GateError, match="small version 2 has no files"):
        home.run()
    assert set(home.states("a").values()) == {"damaged"}


def test_a_version_whose_file_was_changed_never_verifies(home):
    folder = home.register("two")
    (folder / "weights.bin").write_text("changed")
    with pytest.raises(GateError, match="should have digest"):
        home.run()


def test_a_region_that_is_away_fails_the_run_and_the_other_has_its_set(home):
    home.regions.away.add("b")
    with pytest.raises(UnavailableError, match="verified only in a"):
        home.run()
    assert list(home.states("a").values()) == ["verified"]
    home.regions.away.clear()
    assert home.states("b") == {}


def test_a_region_that_is_full_fails_the_run_and_the_other_has_its_set(home):
    home.regions.full.add("a")
    with pytest.raises(Exception, match="verified only in b: region a is full"):
        home.run()
    assert list(home.states("b").values()) == ["verified"]


def test_without_any_region_no_set_is_claimed(home):
    home.regions.away |= {"a", "b"}
    with pytest.raises(UnavailableError, match="no region took the set"):
        home.run()
    home.regions.away.clear()
    assert home.states("a") == {}


def test_a_log_that_does_not_arrive_leaves_no_set(home):
    home.databases.archives = False
    with pytest.raises(UnavailableError, match="not archived"):
        home.run()
    assert home.states("a") == {}


def test_two_at_once_are_refused_with_who_and_since_when(home):
    home.leases.acquire("backup", holder="the other", ttl_s=60)
    with pytest.raises(RefusedError, match="the other since 2026-11-25"):
        home.run()


def test_a_clock_that_went_back_is_refused(home):
    home.run()
    home.days_pass(-1)
    with pytest.raises(RefusedError, match="the clock went back"):
        home.run()


def test_damage_in_one_region_is_found_there_and_only_there(home):
    backup = home.run().backup
    home.copies.damage["b", backup.copy_in("b").database_label] = ["a page is bad"]
    checks = home.backups.verify(say=home.said.append)
    assert [check.verdict for check in checks] == [Verdict.PASS, Verdict.FAIL]
    assert home.states("b") == {backup.id: "damaged"}


def test_a_file_that_vanished_from_a_snapshot_is_found(home):
    backup = home.run().backup
    path = backup.versions[0].files[0].path
    home.files.lose("a", backup.copy_in("a").snapshot, path)
    (check,) = home.backups.verify(region="a", say=home.said.append)
    assert check.verdict is Verdict.FAIL


def test_a_region_that_is_away_is_inconclusive_and_keeps_the_verdict_it_had(home):
    backup = home.run().backup
    home.regions.away.add("b")
    with pytest.raises(UnavailableError):
        home.backups.verify(region="b")
    home.regions.away.clear()
    assert home.states("b") == {backup.id: "verified"}


def test_a_manifest_that_was_tampered_with_can_not_be_shown(home):
    backup = home.run().backup
    home.stores["a"].tampered.add(backup.id)
    with pytest.raises(InputError, match="changed after it was signed"):
        home.backups.show(backup.id)
    (inventory, _) = home.backups.inventories()
    assert inventory.unreadable == (backup.id,)


def test_an_unknown_set_is_answered_with_those_there_are(home):
    backup = home.run().backup
    with pytest.raises(InputError, match=backup.id):
        home.backups.show("20200101T000000Z")


def test_an_unknown_region_is_answered_with_those_there_are(home):
    with pytest.raises(ConfigError, match="there are a, b"):
        home.backups.verify(region="c")


def test_every_run_is_remembered_with_its_outcome(home):
    home.run()
    home.regions.away.add("b")
    with pytest.raises(UnavailableError):
        home.run()
    outcomes = [run.outcome for run in home.history.runs(limit=5)]
    assert outcomes == [Outcome.INCONCLUSIVE, Outcome.PASS]


def test_pruning_deletes_what_the_plan_says_and_the_rest_still_verifies(tmp_path):
    home = BackupHome(
        tmp_path,
        retention=Retention(daily=2, weekly=0, monthly=0, min_verified=1),
        full_every_days=1,
    )
    for _ in range(4):
        home.run()
        home.days_pass(1.5)
    plan = home.backups.prune_plan("a")
    home.backups.prune(plan, by="test", say=home.said.append)
    assert len(plan.deleted) == 2
    assert list(home.states("a").values()) == ["verified", "verified"]
    assert len(home.states("b")) == 4


def test_a_plan_that_is_no_longer_true_deletes_nothing(tmp_path):
    home = BackupHome(
        tmp_path,
        retention=Retention(daily=1, weekly=0, monthly=0, min_verified=1),
        full_every_days=1,
    )
    for _ in range(2):
        home.run()
        home.days_pass(1.5)
    plan = home.backups.prune_plan("a")
    home.run()
    with pytest.raises(RefusedError, match="Nothing was deleted"):
        home.backups.prune(plan, by="test")
    assert len(home.states("a")) == 3


def test_a_dry_run_names_what_would_be_saved_and_changes_nothing(home):
    lines = home.backups.plan().lines()
    assert any("mlflow/artifacts, 1 files" in line for line in lines)
    assert "full (region a has none)" in lines[0]
    assert home.states("a") == {}


def test_pruning_gives_back_what_was_deleted_also_when_nothing_goes(tmp_path):
    home = BackupHome(tmp_path, retention=Retention(lock_days=3))
    home.run()
    plan = home.backups.prune_plan("a")
    assert plan.is_empty
    home.backups.prune(plan, by="test", say=home.said.append)
    ((region, before),) = home.given_back
    assert region == "a"
    assert home.clock.time - timedelta(days=3, seconds=10) < before < home.clock.time
    assert before <= home.clock.time - timedelta(days=3)
    assert home.said[-1] == "region a: 1.0 MB of deleted objects given back"


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_not_the_database_servers_makes_no_set(home, hours):
    other = TickingClock()
    other.time += timedelta(hours=hours)
    backups = Backups(replace(home.tools, clock=other))
    with pytest.raises(RefusedError, match=r"3,[56].. s (ahead of|behind) the database server's"):
        backups.run(by="test")
    assert home.states("a") == {}
