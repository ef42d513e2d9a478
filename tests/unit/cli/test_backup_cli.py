import json

import pytest
from typer.testing import CliRunner

from greenlight.backup.inventory import Inventory
from greenlight.cli import backup
from greenlight.cli.main import build
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.testing.region_worlds import PASS, night, nights

RUN = CliRunner()


class TwoRegions:
    """Sets of which one region does not answer, or another."""

    def __init__(self, away=()):
        self.regions = ("a", "b")
        self.away = away

    def inventories(self, region):
        if region not in self.regions:
            raise ConfigError(f"there is no region {region!r}")
        if region in self.away:
            raise UnavailableError(f"region {region} does not answer")
        return (nights([PASS]),) if region == "a" else (empty(region),)


def empty(region):
    return Inventory(region=region, sets=(), unreadable=(), copies=(), snapshots=())


@pytest.fixture
def regions(monkeypatch):
    def use(**options):
        monkeypatch.setattr(backup, "_open", lambda: TwoRegions(**options))

    use()
    return use


def invoke(*arguments):
    return RUN.invoke(build(), ["backup", *arguments])


@pytest.mark.parametrize("command", ["run", "list", "show", "verify", "prune", "heartbeat"])
def test_every_command_explains_itself(command):
    shown = invoke(command, "--help")
    assert shown.exit_code == 0
    assert "Usage" in shown.output


def test_sets_are_listed_with_their_state(regions):
    shown = invoke("list")
    assert shown.exit_code == 0
    assert night(0) in shown.output
    assert "verified" in shown.output


def test_a_region_that_is_away_hides_no_other_and_the_list_is_not_called_whole(regions):
    regions(away=("b",))
    for arguments in (("list",), ("list", "--json")):
        shown = invoke(*arguments)
        assert night(0) in shown.output
        assert isinstance(shown.exception, UnavailableError)
    assert json.loads(invoke("list", "--json").output)[0]["state"] == "verified"


def test_regions_that_are_all_away_are_not_called_empty(regions):
    regions(away=("a", "b"))
    shown = invoke("list")
    assert "no set yet" not in shown.output
    assert isinstance(shown.exception, UnavailableError)


def test_without_any_set_the_next_step_is_named(regions):
    assert "`greenlight backup run` makes one" in invoke("list", "--region", "b").output


def test_an_unknown_region_is_a_setting_to_correct(regions):
    assert isinstance(invoke("list", "--region", "c").exception, ConfigError)
