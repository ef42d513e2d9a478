"""`greenlight doctor` on a home where nothing runs."""

import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from greenlight.cli.main import build
from greenlight.core.errors import InputError, RefusedError
from greenlight.entrypoints.doctor import preflight


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENLIGHT_HOME", str(tmp_path / "a home"))
    return lambda *words: CliRunner().invoke(build(), ["doctor", *words])


def test_a_home_where_nothing_runs_fails_and_says_what_to_do(run):
    done = run("secrets", "stack", "monitoring", "--json")
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert said["answer"] == "failed"
    answers = {one["part"]: one["answer"] for one in said["findings"]}
    assert answers == {"secrets": "failed", "stack": "failed", "monitoring": "unknown"}
    assert all(one["fix"] for one in said["findings"])


def test_what_is_fit_is_no_failure(run):
    done = run("configuration")
    assert done.exit_code == 0
    assert "3 of 3 lines are ok" in done.stdout


def test_an_unknown_part_is_an_error_that_names_the_known_ones(run):
    error = run("everything").exception
    assert isinstance(error, InputError)
    assert "there are machine, secrets, configuration" in str(error)


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENLIGHT_HOME", str(tmp_path / "a home"))
    (tmp_path / "a home/config").mkdir(parents=True)
    return tmp_path / "a home"


def disk(monkeypatch, free_gb):
    usage = SimpleNamespace(total=500 * 10**9, free=free_gb * 10**9, used=0)
    monkeypatch.setattr("greenlight.entrypoints.doctor.shutil.disk_usage", lambda _: usage)


def test_a_fit_worker_may_begin(home, monkeypatch):
    disk(monkeypatch, free_gb=400)
    assert {one["answer"] for one in preflight() if one["part"] == "configuration"} == {"ok"}


def test_little_room_is_told_and_no_room_lets_nothing_begin(home, monkeypatch):
    disk(monkeypatch, free_gb=9)
    assert "warning" in {one["answer"] for one in preflight()}
    disk(monkeypatch, free_gb=1)
    with pytest.raises(RefusedError, match=r"nothing was begun: 1 GB free of 500 \(keep 10 GB"):
        preflight()


def test_a_wrong_file_lets_nothing_begin(home, monkeypatch):
    disk(monkeypatch, free_gb=400)
    (home / "config/backup.yaml").write_text("regoins: []\n")
    with pytest.raises(RefusedError, match=r"nothing was begun: .*regoins.*correct"):
        preflight()
