from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from greenlight.cli.simulate_engine import simulate_engine
from greenlight.core.errors import ConfigError
from greenlight.testing.simulation import Simulation

app = typer.Typer()
app.command()(simulate_engine)


def test_help_lists_every_setting() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    for name in set(Simulation.model_fields) - {"answers"}:
        assert f"{name}: " in shown


def test_a_setting_reaches_the_engine(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = CliRunner().invoke(app, ["--model", str(tmp_path), "--set", "death=no such kernel"])
    assert found.exit_code == 1
    assert "no such kernel" in found.output


@pytest.mark.parametrize("setting", ["tokens=0", "no_such=1"])
def test_a_setting_that_makes_no_sense_does_not_start(tmp_path: Path, setting: str) -> None:
    found = CliRunner().invoke(app, ["--model", str(tmp_path), "--set", setting])
    assert found.exit_code == 2
    assert setting.split("=")[0] in found.output


def test_a_setting_without_a_value_is_refused(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["--model", str(tmp_path), "--set", "tokens"])
    assert isinstance(found.exception, ConfigError)
