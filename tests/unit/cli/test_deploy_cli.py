import json

import pytest
from typer.testing import CliRunner

from greenlight.cli.main import build

RUN = CliRunner()


def invoke(*arguments, **settings):
    return RUN.invoke(build(), ["deploy", *arguments], **settings)


@pytest.mark.parametrize(
    "command", ["plan", "run", "fleets", "status", "rollback", "history", "start", "stop"]
)
def test_every_command_explains_itself(command):
    shown = invoke(command, "--help")
    assert shown.exit_code == 0
    assert "Usage" in shown.output


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_dead_version_is_given_up_only_by_name(command):
    assert "--replace-dead" in invoke(command, "--help", terminal_width=200).output


def test_fleets_lists_the_example():
    shown = invoke("fleets", "--json")
    assert {fleet["name"] for fleet in json.loads(shown.output)} == {"demo", "drill"}


def test_an_unknown_fleet_is_an_error_with_those_there_are():
    failed = invoke("stop", "nowhere", "--yes")
    assert "no fleet named 'nowhere'; there are demo, drill" in str(failed.exception)


def test_stopping_asks_first():
    assert invoke("stop", "drill").exit_code == 1
