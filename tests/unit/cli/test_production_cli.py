import pytest
from typer.testing import CliRunner

from greenlight.cli import production
from greenlight.core.errors import RefusedError


@pytest.mark.parametrize("command", ["prepare", "route"])
def test_every_command_explains_itself(command):
    assert "Usage" in CliRunner().invoke(production.app, [command, "--help"]).output


def test_preparing_without_a_database_says_what_to_set(tmp_path):
    environment = {"GREENLIGHT_HOME": str(tmp_path)}
    done = CliRunner().invoke(production.app, ["prepare", "--make-buckets"], env=environment)
    assert isinstance(done.exception, RefusedError)
    assert "GREENLIGHT_DATABASE_URL_FILE" in str(done.exception)
