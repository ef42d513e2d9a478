"""Whether the database's log arrives in its archive, as the server itself tells."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa

from greenlight.adapters.database import connected
from greenlight.backup.ports import Archiving
from greenlight.core.clock import Clock
from greenlight.core.errors import ConfigError, UnavailableError

POLL_S = 0.2

# A file NAME.ready waits, NAME.done is archived; the latter goes with its segment. Names sort by
# timeline and place, and the archiver takes the oldest first.
STATE = sa.text("""
    SELECT last_archived_time, last_archived_wal, last_failed_time, last_failed_wal, failed_count,
           clock_timestamp() AS now, oldest,
           waits, done
    FROM pg_stat_archiver,
         (SELECT min(modification) FILTER (WHERE name LIKE '%.ready') AS oldest,
                 coalesce(bool_or(name = :segment || '.ready'), false) AS waits,
                 coalesce(bool_or(name = :segment || '.done'), false) AS done
          FROM pg_ls_archive_statusdir()) AS files
""")
OPEN = sa.text("""
    SELECT CAST(:lsn AS pg_lsn) <= pg_current_wal_insert_lsn()
       AND pg_walfile_name(CAST(:lsn AS pg_lsn)) = pg_walfile_name(pg_current_wal_insert_lsn())
""")
CLOSED = sa.text("SELECT pg_walfile_name(CAST(:lsn AS pg_lsn))")
# A segment that holds nothing yet isn't closed: then the one before it is the last that counts.
CLOSE = sa.text("""
    SELECT pg_walfile_name(least(CAST(:lsn AS pg_lsn), pg_switch_wal()))
""")


def archiving(engine: sa.Engine) -> Archiving:
    """Return how the archive stands.

    Raises:
        ConfigError: the server does not archive.
    """
    with connected(engine) as connection:
        _require_archiving(connection)
        row = connection.execute(STATE, {"segment": ""}).one()
    oldest: datetime | None = row.oldest
    return Archiving(
        archived_at=row.last_archived_time,
        failed_at=row.last_failed_time,
        failures=row.failed_count,
        lag_s=0.0 if oldest is None else max(0.0, (row.now - oldest).total_seconds()),
    )


def wait_archived(
    engine: sa.Engine,
    lsn: str | None,
    *,
    at_most_s: float,
    clock: Clock,
    sleep: Callable[[float], None],
) -> None:
    """Return when the log up to `lsn` is archived; none: up to here. An open segment is closed.

    Raises:
        UnavailableError: it isn't in time.
        ConfigError: the server does not archive.
    """
    deadline = clock.monotonic() + at_most_s
    with connected(engine) as connection:
        _require_archiving(connection)
        is_open = lsn is None or connection.execute(OPEN, {"lsn": lsn}).scalar_one()
        query = CLOSE if is_open else CLOSED
        segment: str = connection.execute(query, {"lsn": lsn}).scalar_one()
    while True:
        with connected(engine) as connection:
            state = connection.execute(STATE, {"segment": segment}).one()
        if _is_archived(state, segment):
            return
        if clock.monotonic() >= deadline:
            raise UnavailableError(
                f"segment {segment} of the database's log was not archived in {at_most_s:g} s; "
                f"{_last_failure(state)}"
            )
        sleep(POLL_S)


def _require_archiving(connection: sa.Connection) -> None:
    mode = connection.execute(sa.text("SHOW archive_mode")).scalar_one()
    if mode == "off":
        raise ConfigError(
            "the database server does not archive its log (archive_mode is off), so nothing can be "
            "restored to a point in time; set archive_mode = on and archive_command, and restart it"
        )


def _is_archived(state: sa.Row[tuple[object, ...]], segment: str) -> bool:
    newest = (state.last_archived_wal or "")[: len(segment)]
    passed = "." not in newest and newest >= segment
    return not state.waits and (state.done or passed)


def _last_failure(state: sa.Row[tuple[object, ...]]) -> str:
    if state.last_failed_time is None:
        return "the archiver has not failed yet, so it is slow or has no archive_command"
    at = f"{state.last_failed_time:%Y-%m-%d %H:%M:%S} UTC"
    return f"the archiver last failed at {at}, with {state.last_failed_wal}; see the server's log"
