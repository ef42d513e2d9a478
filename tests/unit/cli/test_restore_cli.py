from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from greenlight.cli.main import build
from greenlight.cli.restore import parse_time
from greenlight.core.errors import ConfigError, InputError

RUN = CliRunner()


def invoke(*arguments):
    return RUN.invoke(build(), ["restore", *arguments])


@pytest.mark.parametrize("command", ["plan", "run", "databases", "model", "drill", "drills"])
def test_every_command_explains_itself(command):
    shown = invoke(command, "--help")
    assert shown.exit_code == 0
    assert "Usage" in shown.output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-25T02:14:07", datetime(2026, 11, 25, 2, 14, 7, tzinfo=UTC)),
        ("2026-11-25 02:14:07.5", datetime(2026, 11, 25, 2, 14, 7, 500_000, tzinfo=UTC)),
        ("2026-11-25T03:14:07+01:00", datetime(2026, 11, 25, 2, 14, 7, tzinfo=UTC)),
        ("2026-11-25", datetime(2026, 11, 25, tzinfo=UTC)),
        ("latest", None),
        (None, None),
    ],
)
def test_a_time_without_a_zone_is_utc(text, expected):
    assert parse_time(text) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "02:14", "25.11.2026", "2026-11-25T25:00:00"])
def test_what_is_no_time_is_answered_with_how_to_write_one(text):
    with pytest.raises(InputError, match="write it as 2026-11-25T02:14:07"):
        parse_time(text)


def test_on_a_machine_without_anything_the_plan_says_what_to_bring(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENLIGHT_HOME", str(tmp_path / "home"))
    failed = invoke("plan", "--to", str(tmp_path / "new")).exception
    assert isinstance(failed, ConfigError)
    assert "backup_signing" in str(failed)
