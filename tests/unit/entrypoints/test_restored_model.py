import dataclasses

import pytest
from backup_homes import BackupHome

from greenlight.core.digest import manifest_of
from greenlight.core.errors import (
    ConfigError,
    GateError,
    InputError,
    RefusedError,
    UnavailableError,
)
from greenlight.entrypoints.restored_model import restore_model


@pytest.fixture
def home(tmp_path):
    home = BackupHome(tmp_path)
    home.run()
    home.said.clear()
    return home


@pytest.fixture
def folder(home):
    return home.home / home.databases.versions[0].folder


def restore(home, number=1, **options):
    return restore_model(home.tools, "small", number, say=home.said.append, **options)


def lose(folder):
    (folder / "weights.bin").unlink()
    folder.rmdir()


def test_lost_files_come_back_where_they_were(home, folder):
    lose(folder)
    assert restore(home) == folder
    assert manifest_of(folder).digest == home.databases.versions[0].digest
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    assert list(home.tools.settings.work.iterdir()) == []


def test_damaged_files_are_moved_aside_and_not_deleted(home, folder):
    (folder / "weights.bin").write_text("damaged")
    restore(home)
    assert (folder / "weights.bin").read_text() == "one"
    (aside,) = home.tools.settings.work.iterdir()
    assert (aside / "weights.bin").read_text() == "damaged"
    assert any(str(aside) in line for line in home.said)


def test_files_that_are_whole_stay_as_they_are(home):
    with pytest.raises(RefusedError, match="nothing was changed"):
        restore(home)


def test_a_version_that_the_registry_does_not_have_is_answered_with_those_it_has(home):
    with pytest.raises(InputError, match=r"no version 2 of 'small'; it has: small 1\."):
        restore(home, number=2)


def test_a_version_that_is_younger_than_every_set_is_in_none(home):
    lose(home.register("two"))
    with pytest.raises(InputError, match="no set in region a or b gives the files of small vers"):
        restore(home, number=2)


def test_a_region_whose_files_are_damaged_is_passed_over_and_named(home, folder):
    home.files.damage["a"] = ["a pack is gone"]
    lose(folder)
    restore(home)
    assert "a pack is gone" in home.said[0]
    assert home.said[1].startswith("region b: set ")


def test_a_region_that_is_away_is_passed_over_unless_it_is_the_only_one_asked(home, folder):
    home.regions.away.add("a")
    lose(folder)
    with pytest.raises(UnavailableError):
        restore(home, region="a")
    restore(home)
    assert folder.is_dir()


def test_an_unknown_region_is_answered_with_those_there_are(home, folder):
    lose(folder)
    with pytest.raises(ConfigError, match="there are a, b"):
        restore(home, region="c")


def test_an_older_set_is_taken_when_the_newest_lost_the_file(home, folder):
    newest = home.run().backup
    for region in ("a", "b"):
        snapshot = newest.copy_in(region).snapshot
        home.files.lose(region, snapshot, f"{home.databases.versions[0].folder}/weights.bin")
    lose(folder)
    home.said.clear()
    restore(home, region="b")
    assert (folder / "weights.bin").read_text() == "one"
    assert newest.id in home.said[0]
    assert newest.id not in home.said[1]


def test_a_set_whose_version_of_that_number_is_another_model_is_never_used(home, folder):
    lose(folder)
    home.databases.versions[0] = dataclasses.replace(home.databases.versions[0], digest=64 * "0")
    with pytest.raises(InputError, match="no set"):
        restore(home)
    assert not folder.exists()


def test_files_that_do_not_give_the_digest_are_never_put_in_their_place(tmp_path):
    home = BackupHome(tmp_path)
    folder = home.home / home.databases.versions[0].folder
    (folder / "weights.bin").write_text("changed before it was saved")
    with pytest.raises(GateError, match="should have digest"):
        home.run()
    home.said.clear()
    lose(folder)
    with pytest.raises(InputError, match="no set"):
        restore(home)
    assert "its files give" in home.said[0]
    assert not folder.exists()
