"""Greenlight's database: opened, and brought to this version's tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from greenlight.adapters.database_tables import METADATA, VERSION_TABLE
from greenlight.core.errors import ConfigError, UnavailableError

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 0x677265656E  # "green"
CONNECT_TIMEOUT_S = 10
IDLE_S = 10
"""A process that stands still in a transaction (frozen, or its host is) loses its locks by then."""


def open_engine(url: str) -> sa.Engine:
    """Return an engine for `url`; nothing is connected yet. Times come back in UTC.

    Raises:
        ConfigError: the address is not one of a PostgreSQL database.
    """
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() != "postgresql":
            raise ConfigError(
                f"database_url must be postgresql+psycopg2://…, not {parsed.drivername}://…"
            )
        return sa.create_engine(
            parsed.set(drivername="postgresql+psycopg2"),
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "options": f"-c timezone=utc -c idle_in_transaction_session_timeout={IDLE_S}s",
            },
        )
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError(f"database_url is no database address: {error}") from error


def migrate(url: str) -> None:
    """Bring the tables to this version. Idempotent, and safe when several processes start at once.

    Raises:
        UnavailableError: the database does not answer.
        ConfigError: the address is wrong.
    """
    engine = open_engine(url)
    try:
        with connected(engine) as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
            command.upgrade(_alembic(connection), "head")
    finally:
        engine.dispose()


def differences(url: str) -> tuple[object, ...]:
    """Return what the migrations and `database_tables` disagree about; nothing is right."""
    engine = open_engine(url)
    try:
        with connected(engine) as connection:
            context = MigrationContext.configure(
                connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
            )
            return tuple(compare_metadata(context, METADATA))
    finally:
        engine.dispose()


@contextmanager
def connected(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a connection in a transaction that commits when the block succeeds.

    Raises:
        UnavailableError: the database does not answer.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except OperationalError as error:
        shown = engine.url.render_as_string(hide_password=True)
        raise UnavailableError(f"the database {shown} did not answer: {error.orig}") from error


def _alembic(connection: sa.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
