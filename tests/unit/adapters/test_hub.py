from pathlib import Path

import httpx
import pytest
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from greenlight.adapters.hub import Hub
from greenlight.core.errors import InputError, UnavailableError
from greenlight.testing.model_folders import write_llama

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Snapshots:
    """Stands in for `snapshot_download`."""

    def __init__(self, *, error=None):
        self.error = error
        self.asked = []

    def __call__(self, **asked):
        self.asked.append(asked)
        write_llama(Path(asked["local_dir"]))
        if self.error:
            raise self.error
        return asked["local_dir"]


def failure(kind, status):
    request = httpx.Request("GET", "https://hub.example/x")
    return kind("no", response=httpx.Response(status, request=request))


def fetch(hub, tmp_path):
    return hub.fetch("org/name", revision=COMMIT, target=tmp_path / "snapshot")


def test_one_commit_is_fetched_and_only_accepted_kinds_of_file(tmp_path):
    snapshots = Snapshots()
    folder = fetch(Hub(download=snapshots), tmp_path)
    assert (folder / "config.json").is_file()
    (asked,) = snapshots.asked
    assert (asked["repo_id"], asked["revision"]) == ("org/name", COMMIT)
    assert not {"*.bin", "*.py", "*.pt", "*"} & set(asked["allow_patterns"])


def test_a_commit_is_fetched_once(tmp_path):
    snapshots = Snapshots()
    fetch(Hub(download=snapshots), tmp_path)
    fetch(Hub(download=snapshots), tmp_path)
    assert len(snapshots.asked) == 1


def test_an_unknown_repository_is_permanent(tmp_path):
    error = failure(RepositoryNotFoundError, 404)
    with pytest.raises(InputError, match="has no org/name"):
        fetch(Hub(download=Snapshots(error=error)), tmp_path)


@pytest.mark.parametrize("error", [failure(HfHubHTTPError, 503), OSError("reset")])
def test_a_hub_that_is_away_may_be_tried_again_and_leaves_nothing(tmp_path, error):
    with pytest.raises(UnavailableError, match="did not send"):
        fetch(Hub(download=Snapshots(error=error)), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert fetch(Hub(download=Snapshots()), tmp_path).is_dir()
