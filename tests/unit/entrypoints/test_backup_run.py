import pytest
from backup_homes import BackupHome

from greenlight.core.errors import LostLeaseError, ResourceError, UnavailableError
from greenlight.entrypoints.backup_run import Run, missing_files, none_took_it


@pytest.fixture
def home(tmp_path):
    return BackupHome(tmp_path)


def run(home, check):
    began = home.clock.now()
    return Run(
        tools=home.tools, name=f"{began:%Y%m%dT%H%M%SZ}", began=began, plan=home.backups.plan(),
        check=check, say=home.said.append,
    )  # fmt: skip


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_run_whose_lease_is_lost_on_the_way_leaves_no_set(home, step):
    asked = []

    def check():
        asked.append(home.clock.now())
        if len(asked) == step:
            raise LostLeaseError("another run has it")

    with pytest.raises(LostLeaseError):
        run(home, check).make()
    assert home.states("a") == home.states("b") == {}


def test_a_version_that_is_registered_after_the_point_is_not_in_the_set(home):
    back_up = home.files.back_up

    def register_meanwhile(*args, **options):
        if len(home.databases.versions) == 1:
            home.register("two")
        return back_up(*args, **options)

    home.files.back_up = register_meanwhile
    backup = home.run().backup
    assert [version.version for version in backup.versions] == [1]


def test_a_file_that_a_snapshot_lacks_or_has_in_another_size_is_named(home):
    backup = home.run().backup
    (file,) = backup.versions[0].files
    assert missing_files(backup, {file.path: file.size}) == ()
    assert missing_files(backup, {}) == (f"small version 1: {file.path} is missing",)
    (cut,) = missing_files(backup, {file.path: 1})
    assert cut.endswith("has 1 bytes, not 3")


def test_a_retry_of_a_run_that_no_region_took_helps_when_it_helps_the_first_region():
    away, full = UnavailableError("a is away"), ResourceError("b is full")
    assert isinstance(none_took_it([away, full]), UnavailableError)
    found = none_took_it([full, away])
    assert isinstance(found, ResourceError)
    assert "b is full; a is away" in str(found)
