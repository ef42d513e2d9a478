"""One instant in several databases: a restore point that nobody's writing straddles.

Every table is locked against writers (SHARE), each database's snapshot is taken, the restore point
is written to the log, and the locks go again: a few milliseconds. A writer that had committed is in
the snapshot, and every other one commits behind the point in the log. So what the snapshots show is
exactly what a restore to the point will have. Without the locks a transaction could be in the log
before the point and not yet be visible.

We never wait long for a lock, because those who come after us would wait with us, and never as
long as Postgres waits before it looks for a deadlock: if anybody gives up, it's us. Then we try
again. A table that is still written (or vacuumed) after many attempts is left out, unless it is
needed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from greenlight.adapters.database import connected
from greenlight.backup.sets import RestorePoint
from greenlight.core.errors import UnavailableError

log = logging.getLogger(__name__)

LOCK_S = 0.25
"""For so long, at most, the locks of one database are waited for; a deadlock is looked for after a
second."""
PAUSE_S = 0.25
PATIENT = 10
ATTEMPTS = 40
"""Of these, the first `PATIENT` leave no table out."""
FROZEN_S = 2
"""A process that stands still while it holds the locks loses them by then."""
READING = "1h"
"""A database waits in its transaction while another one is counted."""
GAVE_UP = frozenset({"57014", "55P03", "40P01", "42P01"})
"""Cancelled by our own limit, not available, deadlock; the table was dropped meanwhile."""

TABLES = sa.text("""
    SELECT format('%I.%I', n.nspname, c.relname) AS quoted, n.nspname || '.' || c.relname AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND c.relpersistence = 'p'
      AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
    ORDER BY n.nspname, c.relname
""")
"""Tables that survive a restore: an unlogged one is empty afterwards."""
BUSY = sa.text("""
    SELECT DISTINCT n.nspname || '.' || c.relname
    FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND l.granted AND l.pid <> pg_backend_pid()
      AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'ShareLock')
""")
POINT = sa.text("SELECT pg_create_restore_point(:name)::text AS lsn, clock_timestamp() AS at")

Tables = Mapping[str, str]
"""Names as SQL needs them, by `schema.table`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """Transactions by database that see the point, and the tables that stood still for it."""

    point: RestorePoint
    connections: Mapping[str, sa.Connection]
    tables: Mapping[str, Tables]


@contextmanager
def frozen(
    engines: Mapping[str, sa.Engine],
    name: str,
    *,
    needed: Mapping[str, Set[str]],
    sleep: Callable[[float], None],
) -> Iterator[Frozen]:
    """Make the restore point `name` and yield what can be read at it; nothing is locked any more.

    `needed`: tables by database that must not be left out.

    Raises:
        UnavailableError: those were written all the time.
    """
    wanted = {database: tables(engine) for database, engine in engines.items()}
    for attempt in range(ATTEMPTS):
        with ExitStack() as stack:
            connections = {
                database: stack.enter_context(
                    connected(engine.execution_options(isolation_level="REPEATABLE READ"))
                )
                for database, engine in engines.items()
            }
            point = _make_point(connections, wanted, name)
            if point is not None:
                yield Frozen(point=point, connections=connections, tables=wanted)
                return
        if attempt + 1 >= PATIENT:
            wanted = {
                database: _without_busy(engines[database], there, needed.get(database, frozenset()))
                for database, there in wanted.items()
            }
        sleep(PAUSE_S)
    raise UnavailableError(
        f"no restore point: in {ATTEMPTS} attempts MLflow's registry was never left alone for "
        f"{LOCK_S:g} s; look for a transaction that hangs (pg_stat_activity), and run again"
    )


def tables(engine: sa.Engine) -> Tables:
    """Return the tables of a database that survive a restore."""
    with connected(engine) as connection:
        return {row.name: row.quoted for row in connection.execute(TABLES)}


def count(connection: sa.Connection, of: Tables) -> dict[str, int]:
    """Return the rows of tables by `schema.table`, as the transaction sees them."""
    return {
        name: connection.execute(sa.text(f"SELECT count(*) FROM {quoted}")).scalar_one()  # noqa: S608 - quoted by the server
        for name, quoted in of.items()
    }


def _make_point(
    connections: Mapping[str, sa.Connection], wanted: Mapping[str, Tables], name: str
) -> RestorePoint | None:
    """Return the point; none: some table could not be locked. Nothing stays locked."""
    with ExitStack() as locks:
        for database, connection in connections.items():
            # Going back to a savepoint gives the locks back and keeps the snapshot.
            savepoint = connection.begin_nested()
            locks.callback(savepoint.rollback)
            if not _locked(connection, wanted[database]):
                return None
        for connection in connections.values():
            connection.execute(sa.text("SELECT 1"))
        row = next(iter(connections.values())).execute(POINT, {"name": name}).one()
    for connection in connections.values():
        connection.execute(sa.text(f"SET LOCAL idle_in_transaction_session_timeout = '{READING}'"))
    at: datetime = row.at
    return RestorePoint(name=name, lsn=row.lsn, at=at)


def _locked(connection: sa.Connection, wanted: Tables) -> bool:
    """Lock tables. Neither statement takes the transaction's snapshot: it must come after them."""
    if not wanted:
        return True
    connection.execute(sa.text(f"SET LOCAL statement_timeout = {int(LOCK_S * 1000)}"))
    connection.execute(sa.text(f"SET LOCAL idle_in_transaction_session_timeout = '{FROZEN_S}s'"))
    names = ", ONLY ".join(wanted.values())
    try:
        connection.execute(sa.text(f"LOCK TABLE ONLY {names} IN SHARE MODE"))
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) in GAVE_UP:
            return False
        raise
    return True


def _without_busy(engine: sa.Engine, there: Tables, needed: Set[str]) -> Tables:
    with connected(engine) as connection:
        busy = set(connection.execute(BUSY).scalars()) - needed
    if left_out := sorted(there.keys() & busy):
        log.warning(
            "%s: written all the time, so its rows are not counted: %s",
            engine.url.database,
            ", ".join(left_out),
        )
    return {name: quoted for name, quoted in there.items() if name not in busy}
