"""Rows that fill a database to a size and don't compress to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from greenlight.adapters.database import open_engine
from greenlight.adapters.stack.postgres import greenlight_url
from greenlight.core.settings import Settings

ROW_BYTES = 4096
BODY = "(SELECT string_agg(md5(random()::text || i || j), '') FROM generate_series(1, 120) j)"


def fill(settings: Settings, *, gb: float) -> float:
    """Bring the table `filler` of Greenlight's database to a size; return the database's in GB."""
    with _connection(settings) as connection:
        connection.execute(
            sa.text("CREATE TABLE IF NOT EXISTS filler (id bigint PRIMARY KEY, body text)")
        )
        have = connection.execute(sa.text("SELECT count(*) FROM filler")).scalar_one()
        connection.execute(
            sa.text(f"INSERT INTO filler SELECT i, {BODY} FROM generate_series(:first, :last) i"),
            {"first": have + 1, "last": int(gb * 1e9 / ROW_BYTES)},
        )
    with _connection(settings) as connection:
        size: int = connection.execute(
            sa.text("SELECT pg_database_size(current_database())")
        ).scalar_one()
    return size / 1e9


def change(settings: Settings, *, part: float) -> None:
    """Write a part of the rows anew, those that lie together."""
    with _connection(settings) as connection:
        connection.execute(
            sa.text(
                f"UPDATE filler SET body = {BODY.replace('i ||', 'id ||')} "
                "WHERE id <= (SELECT count(*) * :part FROM filler)"
            ),
            {"part": part},
        )


@contextmanager
def _connection(settings: Settings) -> Iterator[sa.Connection]:
    engine = open_engine(greenlight_url(settings))
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()
