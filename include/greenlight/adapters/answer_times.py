"""Whether servers answer, and how soon."""

from __future__ import annotations

import time

import httpx
import sqlalchemy as sa

from greenlight.adapters.database import connected
from greenlight.core.errors import UnavailableError

TIMEOUT_S = 10.0


def answer_of(url: str) -> httpx.Response:
    """Return what a server says when all is well.

    Raises:
        UnavailableError: it said something else, or nothing.
    """
    try:
        return httpx.get(url, timeout=TIMEOUT_S, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        raise UnavailableError(f"{url} does not answer as it should: {error}") from error


def of_url(url: str) -> float:
    """Return the seconds until a server said that it is well; raises as `answer_of`."""
    began = time.monotonic()
    answer_of(url)
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
