import pytest

from greenlight.backup.sets import Recorded
from greenlight.core.errors import InputError
from greenlight.entrypoints.restored_home import RestoredHome, stop


def test_stopping_a_home_where_nothing_runs_is_fine_and_makes_nothing(make_settings, tmp_path):
    stop(make_settings(), tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def test_no_version_is_fetched_before_mlflow_runs(make_settings, tmp_path):
    recorded = Recorded(model="m", version=1, digest=64 * "a", prompt="?", tokens=(1,))
    with (
        RestoredHome(make_settings(), tmp_path) as home,
        pytest.raises(InputError, match="MLflow does not run"),
    ):
        home.fetch(recorded)
