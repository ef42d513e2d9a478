"""What the stack itself does in the databases: wait for them, make them, set their passwords."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import psycopg2  # type: ignore[import-untyped]
from psycopg2 import sql
from psycopg2.extensions import encrypt_password  # type: ignore[import-untyped]

from greenlight.adapters.stack.ports import LOOPBACK
from greenlight.adapters.stack.postgres import DATABASES, ROLE, SUPERUSER
from greenlight.adapters.stack.secrets import StackSecrets


def why_not_ready(home: Path, *, port: int) -> str | None:
    """Return why the server can't be used yet; none when it takes writes. `home` is the cluster's.

    A restored cluster answers before it has recovered, but to questions only.
    """
    try:
        with closing(_connect_as_owner(home, port=port)) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT pg_is_in_recovery()")
            return "it is still recovering" if cursor.fetchone()[0] else None
    except (psycopg2.Error, OSError) as error:
        return str(error).strip().splitlines()[0]


def create_databases(home: Path, *, port: int, secrets: StackSecrets) -> None:
    """Make the role and the databases that are missing, and set the passwords. None is logged."""
    passwords = {SUPERUSER: secrets.postgres_superuser, ROLE: secrets.postgres}
    with closing(_connect_as_owner(home, port=port)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            role = sql.Identifier(ROLE)
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE])
            if not cursor.fetchone():
                cursor.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            for name, password in passwords.items():
                hashed = encrypt_password(
                    password, name, scope=connection, algorithm="scram-sha-256"
                )
                statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
                cursor.execute(statement.format(sql.Identifier(name), sql.Literal(hashed)))
            cursor.execute("SELECT datname FROM pg_database")
            there = {name for (name,) in cursor.fetchall()}
            for name in DATABASES:
                if name not in there:
                    statement = "CREATE DATABASE {} OWNER {}"
                    cursor.execute(sql.SQL(statement).format(sql.Identifier(name), role))


def schema_version(database: str, *, port: int, password: str) -> str | None:
    """Return the Alembic revisions a database is at; none: it has no schema yet."""
    reached = {"host": LOOPBACK, "user": ROLE, "password": password}
    with (
        closing(_connect(port=port, database=database, **reached)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT to_regclass('alembic_version')")
        if cursor.fetchone()[0] is None:
            return None
        cursor.execute("SELECT version_num FROM alembic_version ORDER BY 1")
        return ",".join(row[0] for row in cursor.fetchall()) or None


def _connect_as_owner(home: Path, *, port: int) -> psycopg2.extensions.connection:
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return _connect(host=f"/proc/self/fd/{folder}", port=port, user=SUPERUSER)
    finally:
        os.close(folder)


def _connect(
    *, host: str, port: int, user: str, database: str = "postgres", password: str | None = None
) -> psycopg2.extensions.connection:
    return psycopg2.connect(
        host=host,
        port=port,
        user=user,
        password=password,
        dbname=database,
        connect_timeout=5,
        application_name="greenlight stack",
    )
