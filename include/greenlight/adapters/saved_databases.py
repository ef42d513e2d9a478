"""The databases of a running cluster: frozen for a backup, or looked at after a restore."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError

from greenlight.adapters import log_archive, registry_tables
from greenlight.adapters.database import connected, open_engine
from greenlight.adapters.database_damage import checksum_failures, find_damage, is_damage, said
from greenlight.adapters.database_tables import SENTINELS
from greenlight.adapters.frozen_databases import count, frozen, tables
from greenlight.adapters.stack.postgres import DATABASES
from greenlight.backup.ports import Archiving, Catalogue, CatalogueVersion, Sentinel
from greenlight.core.clock import Clock, SystemClock
from greenlight.core.errors import ConfigError, GreenlightError, InputError, UnavailableError

REGISTRY = "mlflow"
OURS = "greenlight"
NOT_LET_IN = ("authentication failed", "no pg_hba.conf entry", "does not exist", "not permitted")
"""What libpq says of credentials, role and database: it gives no code."""
NOT_ALLOWED = frozenset({"42501", "55000"})
"""Not privileged; the server isn't set up for it (its log's level, or it is a replica)."""


class SavedDatabases:
    """`backup.ports.Databases` over a superuser's connection to the cluster.

    Each call opens its connections and closes them: the server may be stopped in between.
    """

    def __init__(
        self,
        url: str,
        *,
        names: Sequence[str] = DATABASES,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`url` names any database of the cluster; `names` are those that count."""
        self._url = sa.make_url(url)
        self._names = tuple(names)
        self._clock = clock or SystemClock()
        self._sleep = sleep

    def freeze(self, name: str) -> Catalogue:
        """Make a restore point, and return what the databases said at that very point.

        Everything is exact: see `frozen_databases`. The locks are held for milliseconds; the rows
        are counted afterwards, under the snapshots taken then.
        """
        needed = {REGISTRY: frozenset(registry_tables.TABLES)}
        with (
            self._engines(self._names) as engines,
            frozen(engines, name, needed=needed, sleep=self._sleep) as still,
        ):
            registry = still.connections[REGISTRY]
            return Catalogue(
                point=still.point,
                versions=registry_tables.versions(registry),
                runs=registry_tables.runs(registry),
                rows={
                    f"{database}.{table}": rows
                    for database, connection in still.connections.items()
                    for table, rows in count(connection, still.tables[database]).items()
                },
            )

    def wait_archived(self, lsn: str | None = None, *, at_most_s: float) -> None:
        """Return when the log up to `lsn` is archived; none: all that was committed before."""
        with self._engine(OURS) as engine:
            log_archive.wait_archived(
                engine, lsn, at_most_s=at_most_s, clock=self._clock, sleep=self._sleep
            )

    def archiving(self) -> Archiving:
        """Return how the archive stands."""
        with self._engine(OURS) as engine:
            return log_archive.archiving(engine)

    def mark_time(self) -> Sentinel:
        """Write one more sentinel and commit it.

        Statement and commit are one message to the server, so `at` is read some microseconds before
        the commit's own time, which is what a restore compares. `track_commit_timestamp` would tell
        that one, but needs a restart of every server and grows the log of each commit, for a
        difference that no target falls into: drills keep further away from sentinels than that.
        """
        insert = sa.insert(SENTINELS).values(at=sa.func.clock_timestamp()).returning(SENTINELS)
        with self._engine(OURS) as engine:
            alone = engine.execution_options(isolation_level="AUTOCOMMIT")
            with connected(alone) as connection:
                return _sentinel(connection.execute(insert).one())

    def sentinels(self) -> tuple[Sentinel, ...]:
        """Return all sentinels, oldest first; a restored server leaves gaps in the numbers."""
        query = sa.select(SENTINELS).order_by(SENTINELS.c.at, SENTINELS.c.number)
        with self._engine(OURS) as engine, connected(engine) as connection:
            return tuple(_sentinel(row) for row in connection.execute(query))

    def catalogue(self) -> tuple[CatalogueVersion, ...]:
        """Return the complete versions as they are now."""
        with self._engine(REGISTRY) as engine, connected(engine) as connection:
            return registry_tables.versions(connection)

    def runs(self) -> frozenset[str]:
        """Return the folders of all runs, relative to the home."""
        with self._engine(REGISTRY) as engine, connected(engine) as connection:
            return registry_tables.runs(connection)

    def rows(self) -> Mapping[str, int]:
        """Return the rows of every table of every database, each database at one instant."""
        found: dict[str, int] = {}
        for name in self._names:
            with self._engine(name) as engine:
                there = tables(engine)
                still = engine.execution_options(isolation_level="REPEATABLE READ")
                with connected(still) as connection:
                    counted = count(connection, there)
            found |= {f"{name}.{table}": rows for table, rows in counted.items()}
        return found

    def damage(self) -> tuple[str, ...]:
        """Check every page, table and index of every database; return what is wrong.

        For restored databases: it keeps writers waiting. See `database_damage` for what it finds
        without data checksums. A database that can't be checked is damage when another one can.
        """
        found: list[str] = []
        closed: dict[str, GreenlightError] = {}
        for name in self._names:
            try:
                found += [f"{name}: {finding}" for finding in self._damage_of(name)]
            except GreenlightError as error:
                closed[name] = error
        if len(closed) == len(self._names):
            raise next(iter(closed.values()))
        return (*found, *(f"{name} cannot be checked: {closed[name]}" for name in closed))

    def _damage_of(self, name: str) -> tuple[str, ...]:
        with self._engine(name) as engine, connected(engine) as connection:
            return (*find_damage(connection), *checksum_failures(connection))

    @contextmanager
    def _engines(self, names: Sequence[str]) -> Iterator[dict[str, sa.Engine]]:
        engines = {name: open_engine(self._url_of(name)) for name in names}
        try:
            yield engines
        except (UnavailableError, DBAPIError) as error:
            if explained := _explained(error):
                raise explained from error
            raise
        finally:
            for engine in engines.values():
                engine.dispose()

    @contextmanager
    def _engine(self, name: str) -> Iterator[sa.Engine]:
        with self._engines([name]) as engines:
            yield engines[name]

    def _url_of(self, name: str) -> str:
        return self._url.set(database=name).render_as_string(hide_password=False)


def _sentinel(row: sa.Row[tuple[object, ...]]) -> Sentinel:
    return Sentinel(number=row.number, at=row.at)


def _explained(raised: UnavailableError | DBAPIError) -> GreenlightError | None:
    """Return what a caller can act on; none: the error as it is says enough."""
    error = raised.__cause__ if isinstance(raised, UnavailableError) else raised
    if not isinstance(error, DBAPIError):
        return None
    if is_damage(error):
        return InputError(f"the databases are damaged: {said(error)}")
    if getattr(error.orig, "pgcode", None) in NOT_ALLOWED:
        return ConfigError(f"the database server refuses: {said(error)}")
    if isinstance(error, OperationalError) and any(text in said(error) for text in NOT_LET_IN):
        return ConfigError(f"{said(error)}; check the superuser's address and password")
    return None
