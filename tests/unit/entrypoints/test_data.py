import json

import pytest
from typer.testing import CliRunner

from greenlight.cli.data import app
from greenlight.core.errors import InputError
from greenlight.entrypoints import data
from greenlight.quantize.jobs import DatasetKind

NAMES = [
    "calibration-default",
    "handbook-heldout",
    "python-heldout",
    "wordnet-choice",
    "instructions-default",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("data home")


@pytest.fixture
def run(home, monkeypatch):
    monkeypatch.setenv("GREENLIGHT_HOME", str(home))
    return lambda *words: CliRunner().invoke(app, list(words))


@pytest.fixture
def notes(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_text('{"id": "a", "text": "Some words."}\n')
    return path


def test_the_bundle_holds_every_default_set_and_is_built_once(make_settings):
    settings = make_settings()
    built = data.build_bundle(settings)
    assert [d.name for d in built] == NAMES
    assert [d.version for d in built] == ["1"] * 5
    assert data.build_bundle(settings) == built
    assert set(data.list_datasets(settings)) == set(built)
    assert {d.name: d.rows for d in built}["wordnet-choice"] == 1000
    for name in ("calibration-default", "wordnet-choice", "instructions-default"):
        assert data.check(settings, name).problems == ()


def test_an_own_file_becomes_a_version(make_settings, notes):
    settings = make_settings()
    facts = {"name": "notes", "kind": DatasetKind.TEXT, "licence": "proprietary"}
    added = data.add_file(settings, notes, **facts)
    assert data.add_file(settings, notes, **facts) == added
    notes.write_text('{"id": "a", "text": "Other words."}\n')
    assert data.add_file(settings, notes, **facts).version == "2"
    dataset, rows = data.show(settings, "notes", "1")
    assert (dataset, rows[0].text) == (added, "Some words.")


def test_a_file_that_is_not_there_is_named(make_settings, tmp_path):
    with pytest.raises(InputError, match=r"none\.jsonl cannot be read"):
        data.add_file(
            make_settings(), tmp_path / "none.jsonl", name="n", kind=DatasetKind.TEXT, licence="mit"
        )


def test_the_command_line_adds_lists_shows_and_checks(run, notes):
    words = ["--name", "notes", "--kind", "text", "--licence", "mit"]
    assert run("add", str(notes), *words).exit_code == 0
    (listed,) = json.loads(run("list", "--json").output)
    assert (listed["name"], listed["rows"]) == ("notes", 1)
    assert json.loads(run("show", "notes", "--json").output)["first_rows"] == [
        {"id": "a", "text": "Some words."}
    ]
    assert "Some words." in run("show", "notes").output
    assert run("check", "notes").exit_code == 0


def test_a_check_that_fails_says_why_and_ends_with_1(run, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": "a", "text": "Same."}\n{"id": "b", "text": "same."}\n')
    assert run("add", str(bad), "--name=bad", "--kind=text", "--licence=mit").exit_code == 0
    done = run("check", "bad")
    assert done.exit_code == 1
    assert "problem: 2 of 2 rows say the same as another" in done.output
    report = json.loads(run("check", "bad", "--json").output)
    assert report["success"] is False


def test_an_unknown_set_is_an_error_that_names_the_known_ones(run):
    assert isinstance(run("show", "letters").exception, InputError)
