"""The databases without MLflow's tables; `tests/integration/backup` has those."""

import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from greenlight.adapters import database
from greenlight.adapters.saved_databases import SavedDatabases
from greenlight.core.errors import ConfigError, InputError, UnavailableError
from greenlight.testing.servers import free_port, postgres_binaries, postgres_server

BINARIES = postgres_binaries()
pytestmark = pytest.mark.skipif(BINARIES is None, reason="PostgreSQL is not installed")
NAMES = ("airflow", "mlflow", "greenlight")
ARCHIVES = {"archive_mode": "on", "track_commit_timestamp": "on"}
ARCHIVE_COMMAND = "mkdir -p archived && cp %p archived/%f"
BLOCK = 8192


def at(url, name):
    return sa.make_url(url).set(database=name).render_as_string(hide_password=False)


@contextmanager
def connection(url, name="greenlight"):
    """One that commits every statement."""
    engine = sa.create_engine(at(url, name), isolation_level="AUTOCOMMIT")
    with engine.connect() as open_connection:
        yield open_connection
    engine.dispose()


def execute(url, *statements, name="greenlight"):
    with connection(url, name) as open_connection:
        for statement in statements:
            result = open_connection.execute(sa.text(statement))
        return result.scalars().all() if result.returns_rows else []


def archive_with(url, command):
    execute(url, f"ALTER SYSTEM SET archive_command = '{command}'", "SELECT pg_reload_conf()")


def with_databases(url):
    execute(url, "CREATE DATABASE airflow", "CREATE DATABASE mlflow")
    database.migrate(url)
    return url


@pytest.fixture(scope="module")
def url():
    with postgres_server(BINARIES, settings=ARCHIVES, checksums=True) as url:
        archive_with(url, ARCHIVE_COMMAND)
        yield with_databases(url)


@pytest.fixture(scope="module")
def bare_url():
    """Neither an archive nor checksums."""
    with postgres_server(BINARIES) as url:
        yield with_databases(url)


@pytest.fixture
def databases(url):
    return SavedDatabases(url)


def test_sentinels_come_back_in_order_with_the_time_of_their_commit(databases, url):
    marked = [databases.mark_time() for _ in range(3)]
    assert databases.sentinels()[-3:] == tuple(marked)
    committed = execute(url, "SELECT pg_xact_commit_timestamp(xmin) FROM sentinels ORDER BY number")
    for sentinel, commit in zip(marked, committed[-3:], strict=True):
        assert 0 <= (commit - sentinel.at).total_seconds() < 0.5


def test_rows_of_every_table_of_every_database_are_counted(databases, url):
    execute(
        url,
        'CREATE SCHEMA "odd name"',
        'CREATE TABLE "odd name"."Tab""le" AS SELECT generate_series(1, 7)',
        "CREATE UNLOGGED TABLE forgotten AS SELECT 1",
        name="airflow",
    )
    rows = databases.rows()
    assert rows['airflow.odd name.Tab"le'] == 7
    assert rows["greenlight.public.approvals"] == 0
    assert "airflow.public.forgotten" not in rows


def test_what_was_committed_is_archived_when_the_wait_ends(databases, url):
    databases.mark_time()
    segment = execute(url, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())")[0]
    databases.wait_archived(at_most_s=30)
    archive = Path(execute(url, "SHOW data_directory")[0]) / "archived"
    assert (archive / segment).stat().st_size == 16 * 2**20
    assert databases.archiving().archived_at is not None


def test_what_is_archived_already_is_not_waited_for(databases, url):
    lsn = execute(url, "SELECT pg_current_wal_insert_lsn()::text")[0]
    databases.mark_time()
    databases.wait_archived(at_most_s=30)
    now = execute(url, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    databases.wait_archived(lsn, at_most_s=0)
    assert execute(url, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())") == now


def test_a_log_that_has_nothing_new_is_archived_already(databases):
    databases.wait_archived(at_most_s=30)
    databases.wait_archived(at_most_s=0)


def test_a_place_that_the_log_has_not_reached_is_never_called_archived(databases):
    with pytest.raises(UnavailableError, match="was not archived in 0 s"):
        databases.wait_archived("F/0", at_most_s=0)


def test_an_archive_that_fails_is_told_with_its_last_failure_and_its_lag(databases, url):
    before = databases.archiving()
    archive_with(url, "false")
    try:
        databases.mark_time()
        with pytest.raises(UnavailableError, match="not archived in 2 s; the archiver last failed"):
            databases.wait_archived(at_most_s=2)
        failing = databases.archiving()
        assert failing.failures > before.failures
        assert failing.failed_at is not None
        assert failing.lag_s >= 1
    finally:
        archive_with(url, ARCHIVE_COMMAND)
    databases.wait_archived(at_most_s=90)
    assert databases.archiving().lag_s == 0


def test_a_server_that_does_not_archive_is_never_called_up_to_date(bare_url):
    databases = SavedDatabases(bare_url)
    for call in (databases.archiving, lambda: databases.wait_archived(at_most_s=1)):
        with pytest.raises(ConfigError, match="archive_mode is off"):
            call()


def test_a_point_in_a_registry_without_tables_is_refused(databases):
    with pytest.raises(ConfigError, match="no tables of MLflow"):
        databases.freeze("too-early")


def test_a_server_that_is_away_can_be_tried_again():
    away = SavedDatabases(f"postgresql://postgres:hunter2@127.0.0.1:{free_port()}/postgres")
    for call in (away.mark_time, away.rows, away.damage, lambda: away.freeze("x")):
        with pytest.raises(UnavailableError) as caught:
            call()
        assert "hunter2" not in str(caught.value)


def test_refused_credentials_are_a_setting_to_change(bare_url):
    hba = Path(execute(bare_url, "SHOW hba_file")[0])
    hba.write_text(f"host all locked 127.0.0.1/32 scram-sha-256\n{hba.read_text()}")
    execute(bare_url, "CREATE ROLE locked SUPERUSER LOGIN PASSWORD 'x'", "SELECT pg_reload_conf()")
    time.sleep(0.5)
    for user, password in (("locked", "wrong"), ("nobody", None)):
        url = sa.make_url(bare_url).set(username=user, password=password)
        with pytest.raises(ConfigError, match="superuser's address and password"):
            SavedDatabases(url.render_as_string(hide_password=False)).rows()


def test_a_role_that_is_no_superuser_is_a_setting_to_change(bare_url):
    execute(bare_url, "CREATE ROLE plain LOGIN")
    plain = sa.make_url(bare_url).set(username="plain").render_as_string()
    with pytest.raises(ConfigError, match="permission denied"):
        SavedDatabases(plain).sentinels()
    with pytest.raises(ConfigError, match="it takes a superuser"):
        SavedDatabases(plain).damage()


def test_a_healthy_cluster_has_no_damage_and_is_left_as_it_was(databases, url):
    assert databases.damage() == ()
    assert execute(url, "SELECT extname FROM pg_extension", name="mlflow") == ["plpgsql"]


def test_a_database_that_is_missing_is_damage(url):
    assert any(
        "lost cannot be checked" in finding and "does not exist" in finding
        for finding in SavedDatabases(url, names=("greenlight", "lost")).damage()
    )


PROVE = 200
"""Rows of the table that is broken: several pages."""


@contextmanager
def copied_database(url, name="broken"):
    """Yield a database whose files no server has read yet, and a finder of a relation's file."""
    execute(
        url,
        "CREATE TABLE told (id int PRIMARY KEY, said text)",
        f"INSERT INTO told SELECT i, repeat('word ', 100) FROM generate_series(1, {PROVE}) i",
        "CREATE INDEX told_hash ON told USING hash (id)",
        "CHECKPOINT",
        name="airflow",
    )
    execute(url, f"CREATE DATABASE {name} TEMPLATE airflow STRATEGY file_copy")
    paths = {
        relation: execute(url, f"SELECT pg_relation_filepath('{relation}')", name="airflow")[0]
        for relation in ("told", "told_pkey", "told_hash")
    }
    oids = dict.fromkeys(("airflow", name))
    for database_name in oids:
        query = f"SELECT oid FROM pg_database WHERE datname = '{database_name}'"
        oids[database_name] = execute(url, query)[0]
    data = Path(execute(url, "SHOW data_directory")[0])

    def file_of(relation):
        old, new = f"base/{oids['airflow']}/", f"base/{oids[name]}/"
        return data / paths[relation].replace(old, new)

    try:
        yield SavedDatabases(url, names=(name, "greenlight")), file_of
    finally:
        execute(url, f"DROP DATABASE {name} WITH (FORCE)")
        execute(url, "DROP TABLE told", name="airflow")


def flip(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x40
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("relation", "offset"),
    [
        pytest.param("told", 2 * BLOCK - 20, id="a letter of a text"),
        pytest.param("told_pkey", 2 * BLOCK - 20, id="an index"),
        pytest.param("told_hash", 2 * BLOCK - 20, id="an index that amcheck doesn't know"),
    ],
)
def test_a_flipped_byte_anywhere_in_a_page_is_found_by_its_checksum(url, relation, offset):
    with copied_database(url) as (databases, file_of):
        flip(file_of(relation), offset)
        findings = databases.damage()
        assert any(f"public.{relation}: invalid page in block 1" in finding for finding in findings)
        assert any("failed their checksum" in finding for finding in findings)


@pytest.mark.parametrize(
    ("relation", "offset"),
    [
        pytest.param("told", BLOCK + 25, id="a line pointer of a table"),
        pytest.param("told_pkey", 2 * BLOCK - 30, id="a key of an index"),
    ],
)
def test_a_flipped_byte_in_the_structure_is_found_without_checksums(bare_url, relation, offset):
    with copied_database(bare_url) as (databases, file_of):
        assert databases.damage() == ()
    with copied_database(bare_url) as (databases, file_of):
        flip(file_of(relation), offset)
        assert any(relation in finding for finding in databases.damage())


@pytest.mark.parametrize("keep", [None, BLOCK], ids=["gone", "cut short"])
def test_a_file_that_is_gone_or_cut_short_is_found(bare_url, keep):
    with copied_database(bare_url) as (databases, file_of):
        path = file_of("told_pkey")
        path.write_bytes(path.read_bytes()[:keep]) if keep else path.unlink()
        assert any("told_pkey" in finding for finding in databases.damage())


def test_rows_that_cannot_be_read_are_never_counted(url):
    with copied_database(url) as (databases, file_of):
        flip(file_of("told"), 2 * BLOCK - 20)
        with pytest.raises(InputError, match="damaged: invalid page"):
            databases.rows()


def test_a_server_that_goes_away_while_it_is_checked_proves_nothing(url):
    stop = threading.Event()
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'airflow'"

    def end_connections():
        while not stop.is_set():
            execute(url, end)

    thread = threading.Thread(target=end_connections)
    thread.start()
    try:
        with pytest.raises(UnavailableError):
            SavedDatabases(url, names=("airflow",)).damage()
    finally:
        stop.set()
        thread.join()


def test_a_broken_catalogue_is_damage_and_no_crash(url):
    query = "SELECT pg_relation_filepath('pg_class')"
    with copied_database(url) as (databases, file_of):
        catalogue = file_of("told").with_name(Path(execute(url, query, name="airflow")[0]).name)
        flip(catalogue, BLOCK - 20)
        assert any(
            finding.startswith("broken cannot be checked: the databases are damaged")
            for finding in databases.damage()
        )
