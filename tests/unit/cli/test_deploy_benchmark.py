import pytest
import typer
from typer.testing import CliRunner

from greenlight.cli.deploy_benchmark import benchmark
from greenlight.core.errors import ConfigError, RefusedError


def run(fleet, tmp_path):
    app = typer.Typer()
    app.command()(benchmark)
    environment = {"GREENLIGHT_HOME": str(tmp_path), "COLUMNS": "200"}
    return CliRunner().invoke(app, [fleet], env=environment)


@pytest.mark.parametrize(
    ("fleet", "error"),
    [("no-such-fleet", ConfigError), ("demo", RefusedError)],
    ids=["an unknown fleet", "a stack that is not up"],
)
def test_what_is_wrong_is_said_before_anything_is_sent(fleet, error, tmp_path):
    assert isinstance(run(fleet, tmp_path).exception, error)
