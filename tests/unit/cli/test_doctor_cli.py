"""`greenlight doctor` on a home where nothing runs."""

import json

import pytest
from typer.testing import CliRunner

from greenlight.cli.main import build
from greenlight.core.errors import InputError


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
