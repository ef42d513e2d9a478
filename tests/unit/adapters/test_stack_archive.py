"""Whether the embedded cluster archives its log, and what keeps it from that."""

import json
import os
import shutil

import pytest

from greenlight.adapters.pgbackrest.backups import ARCHIVE
from greenlight.adapters.pgbackrest.config import FOLDER
from greenlight.adapters.pgbackrest.program import PROGRAM
from greenlight.adapters.stack import postgres
from greenlight.adapters.stack.archive import archive_command
from greenlight.adapters.stack.ports import ask_kernel, write_ports
from greenlight.adapters.stack.secrets import load_or_create_secrets
from greenlight.core.settings import Ports

IS_ROOT = os.geteuid() == 0
pytestmark = pytest.mark.skipif(
    shutil.which(PROGRAM) is None or postgres.INSTALLED.exists() is False,
    reason="PostgreSQL or pgBackRest is not installed",
)


@pytest.fixture
def settings(make_settings):
    """A home whose only region is nowhere."""
    found = make_settings()
    store = {"endpoint": f"https://127.0.0.1:{ask_kernel()}", "bucket": "nowhere"}
    path = found.home / "config/backup.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"regions": [{"name": "far", "s3": store}]}))
    load_or_create_secrets(found.secrets)
    write_ports(found.run / "ports.json", Ports(postgres=5432))
    return found


@pytest.fixture
def cluster(settings):
    found = postgres.find_cluster(postgres.home_in(settings), is_root=IS_ROOT)
    postgres.own_folder(found)
    return found


@pytest.fixture
def ask(settings, cluster):
    """Return the command, and what was reported."""

    def call():
        told = []
        command = archive_command(
            settings, cluster, is_running=False, report=lambda name, what: told.append(what)
        )
        return command, told

    return call


def test_a_log_that_no_region_ever_took_does_not_pile_up(ask):
    command, told = ask()
    assert command is None
    assert "its log can't go to region far" in told[0]


def test_a_log_that_was_taken_before_waits_for_a_region_that_is_away(ask, cluster):
    folder = cluster.home / FOLDER
    folder.mkdir()
    postgres.give(cluster, folder)
    (folder / ARCHIVE).touch()
    command, told = ask()
    assert command is not None
    assert command.startswith("pgbackrest --config=/proc/self/fd/")
    assert command.endswith(" archive-push %p")
    assert "its log can't go to region far" in told[0]
    assert (folder / ARCHIVE).stat().st_mode & 0o777 == 0o600


def test_a_restored_cluster_never_writes_where_it_came_from(ask, cluster):
    (cluster.home / postgres.RESTORED).touch()
    (cluster.home / FOLDER).mkdir()
    (cluster.home / FOLDER / ARCHIVE).touch()
    command, told = ask()
    assert command is None
    assert told == ["restored from a backup, so its log is not archived"]


def test_a_server_without_a_command_does_not_archive_whatever_its_files_say(cluster):
    def archiving(command):
        service = postgres.server(cluster, home=cluster.home, port=1, archive_command=command)
        return [word for word in service.command if word.startswith("archive_")]

    assert archiving(None) == ["archive_mode=off"]
    assert "archive_command=x %p" in archiving("x %p")
    assert "archive_mode=on" in archiving("x %p")
