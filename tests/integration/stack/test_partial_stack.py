"""A part of the stack, as drills start it: the stores and the databases, then a restored copy."""

import shutil
import time

import psycopg2
import pytest
import sqlalchemy as sa

from greenlight.adapters.s3 import keys_under, open_client
from greenlight.adapters.stack.embedded import EmbeddedStack
from greenlight.adapters.stack.ports import read_ports
from greenlight.adapters.stack.postgres import superuser_url
from greenlight.adapters.stack.secrets import load_secrets
from greenlight.adapters.stack.services import ServiceName, State
from greenlight.adapters.stack.stores import STORES, embedded_stores, s3_of
from greenlight.core.errors import ConfigError
from greenlight.core.settings import Ports, Settings

pytestmark = pytest.mark.timeout(300)
STORED = {*STORES, ServiceName.POSTGRES}


def report(step, what):
    """Nobody listens."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The settings of a home whose stores and databases run."""
    settings = Settings(home=tmp_path_factory.mktemp("partial") / "a home with spaces")
    stack = EmbeddedStack(settings, environment={})
    try:
        stack.up(report, only=STORED)
        yield settings
    finally:
        stack.down(report)


def states(settings):
    lines = EmbeddedStack(settings, environment={}).status()
    return {line.name: line.state for line in lines}


def connect(settings, user, password):
    port = read_ports(settings.run / "ports.json", Ports).postgres
    return psycopg2.connect(
        host="127.0.0.1", port=port, user=user, password=password, dbname="greenlight"
    )


def test_what_was_asked_for_runs_and_nothing_else(home):
    found = states(home)
    assert {name for name, state in found.items() if state is State.RUNNING} == STORED
    assert {found[name] for name in set(found) - STORED} == {State.STOPPED}


def test_every_region_has_a_bucket_of_its_own_that_keeps_every_version(home):
    buckets = set()
    for region in embedded_stores(home).values():
        store = s3_of(home, region)
        s3 = open_client(store)
        assert s3.get_bucket_versioning(Bucket=store.bucket)["Status"] == "Enabled"
        buckets.add((store.endpoint, store.bucket))
    assert len(buckets) == 2


def test_what_is_committed_is_archived_in_every_region(home):
    engine = sa.create_engine(superuser_url(home), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        segment = connection.scalar(sa.text("SELECT pg_walfile_name(pg_switch_wal())"))
    engine.dispose()
    deadline = time.monotonic() + 60
    for region in embedded_stores(home).values():
        store = s3_of(home, region)
        client = open_client(store)
        while not any(segment in key for key in keys_under(client, store, prefix="pgbackrest/")):
            assert time.monotonic() < deadline, region.name
            time.sleep(0.2)


def test_more_can_be_added_to_what_runs(home):
    stack = EmbeddedStack(home, environment={})
    before = {line.name: line.pid for line in stack.status()}
    stack.up(report, only={ServiceName.POSTGRES})
    assert {line.name: line.pid for line in stack.status()} == before


def test_the_secrets_that_backups_need_are_never_made_anew(home):
    path, elsewhere = home.secrets / "backup_pgbackrest", home.home / "elsewhere"
    path.rename(elsewhere)
    try:
        with pytest.raises(ConfigError, match=r"backup_pgbackrest is gone"):
            EmbeddedStack(home, environment={}).up(report, only=STORED)
    finally:
        elsewhere.rename(path)


def test_z_restored_databases_get_the_passwords_of_their_new_home(home, tmp_path):
    """Named last: the source is stopped for it."""
    EmbeddedStack(home, environment={}).down(report)
    restored = Settings(home=tmp_path / "another home")
    restored.home.mkdir()
    shutil.copytree(home.home / "postgres/data", restored.home / "postgres/data")
    owner = (home.home / "postgres/data").stat()
    for path in [restored.home / "postgres/data", *(restored.home / "postgres/data").rglob("*")]:
        shutil.chown(path, owner.st_uid, owner.st_gid)
    stack = EmbeddedStack(restored, environment={})
    try:
        stack.up(report, only={ServiceName.POSTGRES}, migrate=False)
        stack.up(report, only={ServiceName.POSTGRES}, migrate=False)
        own, old = (load_secrets(settings.secrets) for settings in (restored, home))
        connect(restored, "greenlight", own.postgres).close()
        connect(restored, "postgres", own.postgres_superuser).close()
        for user, password in (("greenlight", old.postgres), ("postgres", old.postgres_superuser)):
            with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
                connect(restored, user, password)
        assert own.postgres_superuser in superuser_url(restored)
        assert not (restored.home / "stores").exists()
    finally:
        stack.down(report)
