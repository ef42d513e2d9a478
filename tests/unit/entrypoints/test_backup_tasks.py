from pathlib import Path

import pytest

from greenlight.core.errors import GateError
from greenlight.entrypoints import backup_tasks


@pytest.fixture
def settings(make_settings, monkeypatch):
    settings = make_settings()
    monkeypatch.setenv("GREENLIGHT_HOME", str(settings.home))
    return settings


def test_the_scratch_folder_of_a_run_is_in_the_home_whatever_the_run_is_called(settings):
    folder = backup_tasks.scratch_of(settings, "manual__2026-11-25T04:14:00+00:00/../../x")
    assert folder.parent == settings.work
    assert folder != backup_tasks.scratch_of(settings, "manual__2026-11-25T04:14:00+00:00")


def test_scratch_is_made_and_removed_with_all_it_holds_and_twice_is_fine(settings):
    folder = backup_tasks.make_scratch("run")
    assert backup_tasks.make_scratch("run") == folder
    Path(folder, "postgres/data").mkdir(parents=True)
    Path(folder, "link").symlink_to(settings.home)
    backup_tasks.remove_scratch(folder)
    backup_tasks.remove_scratch(folder)
    assert list(settings.work.iterdir()) == []
    assert settings.home.is_dir()


def test_a_drill_that_never_got_to_its_end_is_no_success():
    with pytest.raises(GateError, match="proves nothing"):
        backup_tasks.report(None)
