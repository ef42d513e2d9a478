from datetime import timedelta

import pytest
from backup_homes import BackupHome

from greenlight.core.errors import ConfigError, InputError, RefusedError, UnavailableError
from greenlight.entrypoints.replaced_home import beside
from greenlight.entrypoints.restore import Restores
from greenlight.entrypoints.restored_databases import plan_databases, restore_databases


@pytest.fixture
def home(tmp_path):
    home = BackupHome(tmp_path)
    home.run()
    return home


def plan(home, to, **request):
    return Restores(home.tools).plan(request.pop("region", "a"), to=to, **request)


def test_a_new_folder_gets_the_newest_restore_point(home, tmp_path):
    chosen = plan(home, tmp_path / "new").require_possible()
    (inventory,) = home.backups.inventories("a")
    assert chosen.at == inventory.sets[-1].point_at
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["a file", "a link to the home"])
def test_a_folder_that_holds_something_is_refused_whatever_it_is_called(home, tmp_path, name):
    (tmp_path / "a file").mkdir()
    (tmp_path / "a file/x").touch()
    (tmp_path / "a link to the home").symlink_to(home.home)
    with pytest.raises(RefusedError, match=r"is not empty|is the live home"):
        plan(home, tmp_path / name).require_possible()


def test_a_region_that_is_away_can_not_be_planned_with_and_another_can(home, tmp_path):
    home.regions.away.add("a")
    with pytest.raises(UnavailableError):
        plan(home, tmp_path / "new")
    assert plan(home, tmp_path / "new", region="b").require_possible()


def test_an_unknown_region_is_answered_with_those_there_are(home, tmp_path):
    with pytest.raises(ConfigError, match="there are a, b"):
        plan(home, tmp_path / "new", region="c")


def test_while_the_databases_answer_a_second_after_the_archived_log_is_refused(home, tmp_path):
    late = home.databases.archiving().archived_at + timedelta(seconds=20)
    home.clock.time += timedelta(minutes=1)
    found = plan(home, tmp_path / "new", at=late)
    assert any("last instant whose log was archived" in line for line in found.refusals)


def test_when_the_databases_are_gone_the_same_second_is_possible_with_a_warning(home, tmp_path):
    late = home.databases.archiving().archived_at + timedelta(seconds=20)
    home.clock.time += timedelta(minutes=1)
    home.databases.away = True
    found = plan(home, tmp_path / "new", at=late)
    assert found.require_possible().at == late
    assert any("nobody can say how far the log reaches" in line for line in found.warnings)


def test_databases_and_files_are_written_from_what_was_chosen(home, tmp_path):
    backup = home.run().backup
    chosen = plan(home, tmp_path / "new", region="b").require_possible()
    Restores(home.tools).write(chosen, to=tmp_path / "new", say=home.said.append)
    restored = (tmp_path / "new/postgres/restored").read_text()
    assert restored.startswith(backup.copy_in("b").database_label)
    folder = home.databases.versions[0].folder
    assert (tmp_path / "new" / folder / "weights.bin").read_text() == "one"


def test_files_that_were_deleted_before_the_next_set_are_written_too(home, tmp_path):
    folder = home.register("two")
    home.run()
    at = home.clock.time
    (folder / "weights.bin").unlink()
    home.databases.versions.pop()
    home.run()
    chosen = plan(home, tmp_path / "new", at=at).require_possible()
    Restores(home.tools).write(chosen, to=tmp_path / "new", say=home.said.append)
    found = sorted((tmp_path / "new").rglob("weights.bin"))
    assert [path.read_text() for path in found] == ["one", "two"]


def test_what_is_damaged_is_not_written(home, tmp_path):
    chosen = plan(home, tmp_path / "new").require_possible()
    home.copies.damage["a", chosen.databases.stored.label] = ["a page is bad"]
    with pytest.raises(InputError, match="a page is bad"):
        Restores(home.tools).write(chosen, to=tmp_path / "new")


def databases(home, **request):
    options = {"at": None, "over_live": True, "typed_name": home.home.name}
    return plan_databases(home.tools, "a", **options | request)


def test_databases_alone_go_as_far_as_the_log_does_unless_a_second_is_named(home):
    assert databases(home).require_possible().at is None
    (inventory,) = home.backups.inventories("a")
    at = inventory.sets[-1].point_at
    assert databases(home, at=at).require_possible().at == at


def test_databases_alone_replace_nothing_without_the_flag_and_the_typed_name(home):
    for wrong in ({"over_live": False}, {"typed_name": None}, {"typed_name": "x"}):
        with pytest.raises(RefusedError, match="live home"):
            restore_databases(home.tools, databases(home, **wrong))


def test_what_an_earlier_try_left_is_looked_at_before_it_is_removed(home):
    left = beside(home.home)
    left.mkdir()
    with pytest.raises(RefusedError, match="remove it first"):
        restore_databases(home.tools, databases(home))
    assert left.exists()
