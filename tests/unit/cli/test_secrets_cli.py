from typer.testing import CliRunner

from greenlight.cli import secrets as command
from greenlight.cli.main import build


def invoke(*arguments):
    return CliRunner().invoke(build(), ["secrets", *arguments])


def test_the_noun_is_registered():
    assert command.app.info.help in invoke("--help").output


def test_names_are_shown_and_no_value_is(tmp_path):
    folder, variables = tmp_path / "some secrets", tmp_path / ".env"
    options = ("--folder", str(folder), "--variables", str(variables))
    said = invoke("init", *options)
    assert said.exit_code == 0, said.output
    assert "made postgres_superuser" in said.output
    for path in folder.iterdir():
        assert path.read_text().strip() not in said.output
    assert "put your own into tls_certificate" in " ".join(said.output.split())
    again = invoke("init", *options)
    assert "0 secrets made" in again.output
    assert "tls_certificate" not in again.output


def test_the_command_explains_itself():
    assert "never show one" in invoke("init", "--help").output
