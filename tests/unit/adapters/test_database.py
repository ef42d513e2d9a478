import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from greenlight.adapters import database
from greenlight.adapters.database_tables import APPROVALS, METADATA, VERSION_TABLE
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.testing.servers import free_port, postgres_binaries, postgres_server

BINARIES = postgres_binaries()
needs_postgres = pytest.mark.skipif(BINARIES is None, reason="PostgreSQL is not installed")


@pytest.fixture(scope="module")
def server():
    with postgres_server(BINARIES) as url:
        yield url


@pytest.fixture
def url(server):
    """An empty database."""
    engine = database.open_engine(server)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return server


def tables(url):
    engine = database.open_engine(url)
    found = set(sa.inspect(engine).get_table_names())
    engine.dispose()
    return found


def insert_and_fail(connection, row):
    connection.execute(sa.insert(APPROVALS).values(row))
    raise ZeroDivisionError


@needs_postgres
def test_migrating_makes_every_table_and_may_be_repeated(url):
    database.migrate(url)
    database.migrate(url)
    assert tables(url) == {*METADATA.tables, VERSION_TABLE}


@needs_postgres
def test_several_processes_may_migrate_at_once(url):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(database.migrate, [url] * 4))
    assert tables(url) == {*METADATA.tables, VERSION_TABLE}


@needs_postgres
def test_the_migrations_and_the_tables_agree(url):
    database.migrate(url)
    assert database.differences(url) == ()


@needs_postgres
def test_a_table_that_no_migration_makes_is_a_difference(url):
    database.migrate(url)
    engine = database.open_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE approvals DROP COLUMN reason"))
    engine.dispose()
    assert len(database.differences(url)) == 1


@needs_postgres
def test_another_applications_migrations_are_left_alone(url):
    engine = database.open_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num text)"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('airflow')"))
    database.migrate(url)
    with engine.begin() as connection:
        kept = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one()
    engine.dispose()
    assert kept == "airflow"


@needs_postgres
def test_a_block_that_raises_writes_nothing(url):
    database.migrate(url)
    engine = database.open_engine(url)
    row = {
        "decided_at": sa.func.now(), "decided_by": "a", "decision": "approved", "reason": "",
        "model": "m", "version": 1, "digest": "d" * 64, "evidence_digest": "e" * 64,
    }  # fmt: skip
    with pytest.raises(ZeroDivisionError), database.connected(engine) as connection:
        insert_and_fail(connection, row)
    with database.connected(engine) as connection:
        count = connection.execute(sa.select(sa.func.count()).select_from(APPROVALS)).scalar_one()
    engine.dispose()
    assert count == 0


@pytest.mark.parametrize("url", ["", "nonsense", "sqlite:///x.db", "mysql://h/d", "unknown://h/d"])
def test_an_address_that_is_not_postgres_is_a_setting_to_change(url):
    with pytest.raises(ConfigError, match="database_url"):
        database.open_engine(url)


def test_a_database_that_is_away_can_be_tried_again_and_its_password_stays_secret():
    url = f"postgresql://user:hunter2@127.0.0.1:{free_port()}/greenlight"
    with pytest.raises(UnavailableError, match="did not answer") as caught:
        database.migrate(url)
    assert "hunter2" not in str(caught.value)


@needs_postgres
def test_a_process_frozen_in_a_transaction_loses_its_locks_and_is_told(url):
    watcher, engine = database.open_engine(url), database.open_engine(url)
    limit = sa.text("SHOW idle_in_transaction_session_timeout")
    with database.connected(engine) as connection:
        assert connection.execute(limit).scalar_one() == f"{database.IDLE_S}s"

    def stand_still(connection):
        connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = '50ms'"))
        pid = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        query = sa.text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
        with watcher.connect() as other:
            while other.execute(query, {"pid": pid}).scalar_one():
                other.rollback()
                time.sleep(0.02)
        connection.execute(limit)

    with pytest.raises(UnavailableError), database.connected(engine) as connection:
        stand_still(connection)
    watcher.dispose()
    engine.dispose()
