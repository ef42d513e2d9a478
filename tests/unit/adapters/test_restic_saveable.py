import pytest

from greenlight.adapters.restic.saveable import few, require_saveable
from greenlight.core.errors import InputError


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "the home"
    (home / "models/m").mkdir(parents=True)
    (home / "models/m/weights").write_text("w")
    (home / "other").mkdir()
    return home


def test_links_that_stay_inside_and_links_to_nothing_are_fine(home):
    (home / "models/near").symlink_to("m/weights")
    (home / "models/lost").symlink_to("nowhere")
    require_saveable(home, ["models"])


def test_a_link_from_one_saved_place_to_another_is_fine(home):
    (home / "models/far").symlink_to(home / "other")
    require_saveable(home, ["models", "other"])
    with pytest.raises(InputError, match="far leads to"):
        require_saveable(home, ["models"])


def test_a_place_that_is_itself_a_link_would_be_saved_empty(home, tmp_path):
    (tmp_path / "big disk").mkdir()
    (home / "artifacts").symlink_to(tmp_path / "big disk")
    with pytest.raises(InputError, match=r"artifacts leads to .*big disk"):
        require_saveable(home, ["artifacts"])


def test_a_home_behind_a_link_is_fine(home, tmp_path):
    (tmp_path / "link").symlink_to(home)
    (home / "models/near").symlink_to(home / "models/m")
    require_saveable(tmp_path / "link", ["models"])


def test_nothing_to_save_and_a_missing_place_are_refused(home):
    with pytest.raises(InputError, match="nothing to save"):
        require_saveable(home, [])
    with pytest.raises(InputError, match="gone"):
        require_saveable(home, ["models", "gone"])


def test_a_long_list_is_cut_short():
    assert few([str(number) for number in range(7)]) == "0; 1; 2; 3; 4 and 2 more"
