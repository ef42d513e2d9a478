"""Ask Prometheus: raw samples of a window, or an expression over a time.

Samples come raw, by a range selector (`metric[70m]`): a range query would carry each sample on for
five minutes, and hide the gaps that must be seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

import httpx

from greenlight.core.errors import ConfigError, GreenlightError, UnavailableError
from greenlight.core.types import JsonDict

TIMEOUT_S = 60.0
PARTIAL = "partial"
"""Thanos and Mimir answer with a warning like this when a store was away."""
BAD_REQUEST, UNPROCESSABLE = 400, 422
NOT_ALLOWED = frozenset({401, 403})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One set of labels with its samples: seconds since 1970 and value, oldest first."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]


class PrometheusApi:
    """A client of the HTTP API. Proxies of the environment aren't for it.

    It keeps no connection open: an hour asks a few times, and then not for an hour.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Open it; nobody is asked yet. `token`: sent as a bearer."""
        self._url = url.rstrip("/")
        self._client = httpx.Client(
            base_url=self._url,
            timeout=timeout_s,
            transport=transport,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
            headers={"Authorization": f"Bearer {token}"} if token else None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def samples(self, selector: str, *, start: datetime, end: datetime) -> tuple[Found, ...]:
        """Return the raw samples of `(start, end]`.

        Raises:
            UnavailableError: it doesn't answer, or says that its answer is partial.
            ConfigError: it refuses us, or the query.
        """
        seconds = round((end - start) / timedelta(seconds=1))
        found = self._ask(
            "/api/v1/query", {"query": f"{selector}[{seconds}s]", "time": f"{end.timestamp():.3f}"}
        )
        return _matrix(found)

    def over(
        self, expression: str, *, start: datetime, end: datetime, step: timedelta
    ) -> tuple[Found, ...]:
        """Return an expression at every step from `start` to `end`.

        Raises:
            UnavailableError, ConfigError: as `samples`.
        """
        found = self._ask(
            "/api/v1/query_range",
            {
                "query": expression,
                "start": f"{start.timestamp():.3f}",
                "end": f"{end.timestamp():.3f}",
                "step": f"{step.total_seconds():.0f}",
            },
        )
        return _matrix(found)

    def _ask(self, path: str, form: Mapping[str, str]) -> JsonDict:
        what = f"Prometheus at {self._url}"
        try:
            response = self._client.post(path, data=dict(form))
            answer: Any = response.json()
        except httpx.TimeoutException as error:
            raise UnavailableError(f"{what} did not answer in time: {form['query']}") from error
        except httpx.TransportError as error:
            raise UnavailableError(f"{what} does not answer: {error}") from error
        except ValueError as error:
            raise _refused(what, response, form["query"], "an answer that isn't JSON") from error
        if not isinstance(answer, dict) or answer.get("status") != "success":
            said = answer.get("error") if isinstance(answer, dict) else answer
            raise _refused(what, response, form["query"], str(said))
        for warning in answer.get("warnings") or ():
            if PARTIAL in str(warning).lower():
                raise UnavailableError(f"{what} answered in part only: {warning}")
        data: JsonDict = answer["data"]
        return data


def _refused(what: str, response: httpx.Response, query: str, said: str) -> GreenlightError:
    status = response.status_code
    if status in NOT_ALLOWED:
        return ConfigError(f"{what} does not let us in (HTTP {status}): check its token")
    if status in (BAD_REQUEST, UNPROCESSABLE):
        return ConfigError(f"{what} refuses the query {query}: {said}")
    return UnavailableError(f"{what} answered HTTP {status} to {query}: {said}")


def _matrix(data: JsonDict) -> tuple[Found, ...]:
    if data.get("resultType") != "matrix":
        raise ConfigError(
            f"a query returned a {data.get('resultType')} where samples over time were asked for"
        )
    return tuple(
        Found(labels=one["metric"], samples=_samples(one.get("values", ())))
        for one in data["result"]
    )


def _samples(values: Sequence[tuple[float, str]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(at), float(value)) for at, value in values)
