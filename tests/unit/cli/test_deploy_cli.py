import json

import pytest
import yaml
from typer.testing import CliRunner

from greenlight.cli.deploy import may_start
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
    assert {fleet["name"] for fleet in json.loads(shown.output)} == {"demo", "simulated"}


def test_an_unknown_fleet_is_an_error_with_those_there_are():
    failed = invoke("stop", "nowhere", "--yes")
    assert "no fleet named 'nowhere'; there are demo, simulated" in str(failed.exception)


def test_stopping_asks_first():
    assert invoke("stop", "simulated").exit_code == 1


@pytest.mark.parametrize("arguments", [("stop", "--yes"), ("stop", "simulated", "--local", "--yes"),
                                       ("start",)])  # fmt: skip
def test_one_fleet_is_named_or_all_of_this_machine_are_asked_for(arguments):
    refused = invoke(*arguments)
    assert refused.exit_code == 2
    assert "--local" in refused.output


def test_only_fleets_of_this_machine_are_stopped_with_it(make_settings, monkeypatch):
    settings = make_settings()
    file = yaml.safe_load((settings.config_folder / "fleet.example.yaml").read_text())
    access = {"user": "greenlight", "key_file": "key", "known_hosts": "known_hosts"}
    far = {"runner": "ssh", "address": "10.0.0.11", "root": "/var/lib/greenlight", "ssh": access}
    file["fleets"][1]["hosts"][1] |= far
    config = settings.home / "config"
    config.mkdir(parents=True)
    (config / "fleet.yaml").write_text(yaml.safe_dump(file))
    monkeypatch.setenv("GREENLIGHT_HOME", str(settings.home))
    stopped = invoke("stop", "--local", "--yes")
    assert stopped.output == "fleet demo is stopped\n"


@pytest.mark.parametrize(
    ("now", "started"),
    [
        ({"live": None, "rollout": None}, False),
        ({"live": {"version": 1}, "rollout": {"version": 2}}, False),
        ({"live": {"version": 1}, "rollout": None}, True),
    ],
)
def test_with_the_machine_only_what_was_live_starts(now, started):
    assert may_start(now) is started
