"""Reads a database's every page and compares every index with its table.

PostgreSQL's own amcheck does it: `verify_heapam` for tables, `bt_index_parent_check` for B-trees,
which also looks up each row in the index. Other relations are read whole (pg_prewarm), so that
their page checksums are verified. Without data checksums only what breaks the structure, or parts
an index from its table, is found: a changed letter in a column that has no index isn't.

Both extensions are made in a transaction that is undone: nothing is left behind. The checks keep
writers out of a table while its index is read, so run them on a restored database, not a live one.
"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from greenlight.core.errors import ConfigError

EXTENSIONS = ("amcheck", "pg_prewarm")
BROKEN = ("XX", "58")
"""Classes of errors: corrupted data or an inner contradiction; a file missing or unreadable."""

FIND = sa.text("""
    SELECT string_agg(DISTINCT quote_ident(nspname), ', ') FROM pg_extension
    JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = ANY(:names)
""")
RELATIONS = sa.text("""
    SELECT CAST(c.oid AS bigint) AS oid, c.oid::regclass::text AS name, c.relkind AS kind,
           CAST(a.amname AS text) AS method
    FROM pg_class c
    LEFT JOIN pg_am a ON a.oid = c.relam
    LEFT JOIN pg_index i ON i.indexrelid = c.oid
    WHERE c.relpersistence <> 't'
      AND (c.relkind IN ('r', 'm', 't', 'S') OR (c.relkind = 'i' AND i.indisvalid AND i.indisready))
    ORDER BY c.relkind = 'i', c.oid
""")
TABLE = sa.text("""
    SELECT format('block %s, row %s: %s', blkno, coalesce(offnum::text, '?'), msg)
    FROM verify_heapam(
        CAST(CAST(:oid AS oid) AS regclass), check_toast => true, on_error_stop => true
    )
    LIMIT 1
""")
BTREE = sa.text("SELECT bt_index_parent_check(CAST(CAST(:oid AS oid) AS regclass), true)")
PAGES = sa.text("SELECT pg_prewarm(CAST(CAST(:oid AS oid) AS regclass), 'buffer')")
CHECKSUMS = sa.text("""
    SELECT checksum_failures FROM pg_stat_database
    WHERE datname = current_database() AND checksum_failures > 0
""")


def find_damage(connection: sa.Connection) -> Iterator[str]:
    """Yield what is wrong, a relation a line; the database is left as it was.

    Raises:
        ConfigError: it cannot be checked: amcheck isn't installed, or the role may not use it.
    """
    undone = connection.begin_nested()
    try:
        _make_extensions(connection)
        for relation in connection.execute(RELATIONS).all():
            if reason := _reason(connection, relation):
                kind = "index" if relation.kind == "i" else "table"
                yield f"{kind} {relation.name}: {reason}"
    finally:
        if undone.is_active:
            undone.rollback()


def checksum_failures(connection: sa.Connection) -> tuple[str, ...]:
    """Return how many pages failed their checksum, whoever read them, since statistics began."""
    return tuple(
        f"{failures} pages failed their checksum"
        for failures in connection.execute(CHECKSUMS).scalars()
    )


def is_damage(error: DBAPIError) -> bool:
    """Tell a broken page or file from a server that is away, busy or full."""
    return (getattr(error.orig, "pgcode", None) or "").startswith(BROKEN)


def said(error: DBAPIError) -> str:
    """Return the server's sentence."""
    return str(error.orig).strip().splitlines()[0]


def _make_extensions(connection: sa.Connection) -> None:
    try:
        for name in EXTENSIONS:
            connection.execute(sa.text(f"CREATE EXTENSION IF NOT EXISTS {name} SCHEMA pg_catalog"))
    except DBAPIError as error:
        if isinstance(error, OperationalError) or is_damage(error):
            raise
        raise ConfigError(
            f"{connection.engine.url.database} cannot be checked: {said(error)}; it takes a "
            "superuser, and the extensions that PostgreSQL's package (or postgresql-contrib) brings"
        ) from error
    schemas = connection.execute(FIND, {"names": list(EXTENSIONS)}).scalar_one()
    connection.execute(sa.text(f"SET LOCAL search_path = pg_catalog, {schemas}"))


def _reason(connection: sa.Connection, relation: sa.Row[tuple[object, ...]]) -> str | None:
    """Return what is wrong with a relation; the savepoint gives back the locks of the check."""
    savepoint = connection.begin_nested()
    try:
        found = connection.execute(_check_of(relation), {"oid": relation.oid}).scalar()
    except DBAPIError as error:
        if isinstance(error, OperationalError | InterfaceError) and not is_damage(error):
            raise
        found = said(error)  # no check fails on a healthy relation, whatever the error's class
    finally:
        if savepoint.is_active:
            savepoint.rollback()
    return found if isinstance(found, str) and found else None


def _check_of(relation: sa.Row[tuple[object, ...]]) -> sa.TextClause:
    if relation.method == "heap" and relation.kind != "S":
        return TABLE
    return BTREE if relation.method == "btree" else PAGES
