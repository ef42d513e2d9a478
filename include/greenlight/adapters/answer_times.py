"""Whether servers answer, and how soon."""

from __future__ import annotations

import time

import httpx
import sqlalchemy as sa

from greenlight.adapters.database import connected
from greenlight.core.errors import UnavailableError

TIMEOUT_S = 10.0


def of_url(url: str) -> float:
    """Return the seconds until a server said that it is well.

    Raises:
        UnavailableError: it said something else, or nothing.
    """
    began = time.monotonic()
    try:
        httpx.get(url, timeout=TIMEOUT_S, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        raise UnavailableError(f"{url} does not answer as it should: {error}") from error
    return time.monotonic() - began


def of_database(engine: sa.Engine) -> float:
    """Return the seconds until a database answered, its log-in included.

    Raises:
        UnavailableError: it did not.
    """
    began = time.monotonic()
    with connected(engine) as connection:
        connection.execute(sa.select(1))
    return time.monotonic() - began
