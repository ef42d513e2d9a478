"""A fleet's demand and its serving hosts over time, from Prometheus.

Demand is the tokens that answers were made of, a second: what a benchmark's tokens a second are.
The gateway counts them by model, at the end of each answer. Where the gateway was up and has
nothing of the model, demand was none; where it wasn't scraped, nothing is known. A rate reads raw
samples of its window, so nothing is carried over a gap.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np

from greenlight.adapters.prometheus_api import Found, PrometheusApi
from greenlight.core.errors import ConfigError
from greenlight.core.metrics import ForeignMetric, MetricName
from greenlight.scaling.demand_series import MINUTE, DemandSeries

WINDOW = "2m"
"""Of a rate: two samples at least, with a scrape a minute."""
MOST_STEPS = timedelta(days=7)
"""What is asked at once: Prometheus answers with 11,000 steps at most."""


class PrometheusDemand:
    """`scaling.ports.DemandSource` of one fleet.

    `query`: what is asked in place of the gateway. `share`: the part of that which is the fleet's.
    """

    def __init__(
        self,
        api: PrometheusApi,
        *,
        fleet: str,
        model: str,
        query: str | None = None,
        share: float = 1.0,
    ) -> None:
        self._api, self._fleet, self._share = api, fleet, share
        self._demand = query or demand_query(model)

    def demand(self, start: datetime, end: datetime) -> DemandSeries | None:
        """Return tokens a second, by the minute."""
        found = self._series(self._demand, start, end)
        return None if found is None else found.times_as_much(self._share)

    def hosts(self, start: datetime, end: datetime) -> DemandSeries | None:
        """Return how many hosts had an engine that answered, by the minute.

        During a rollout a host has two, and counts once.
        """
        seen = f'max_over_time({ForeignMetric.UP}{{job="engine",fleet="{self._fleet}"}}[1m])'
        return self._series(f"count(max by (host) ({seen}) == 1) or 0 * count({seen})", start, end)

    def _series(self, query: str, start: datetime, end: datetime) -> DemandSeries | None:
        samples: list[tuple[float, float]] = []
        for first, last in _parts(_floor(start), _floor(end)):
            found = self._api.over(query, start=first, end=last, step=MINUTE)
            samples += _one(found, query)
        finite = [(at, value) for at, value in samples if np.isfinite(value) and value >= 0]
        if not finite:
            return None
        times, values = (np.array(column) for column in zip(*finite, strict=True))
        return DemandSeries.of(times.astype("datetime64[s]"), values, step=MINUTE)


def demand_query(model: str) -> str:
    """Return the gateway's tokens a second of a model's answers; 0 only while it is watched.

    A rate needs two samples, and so does a 0: else the edge of a gap would look like no demand.
    """
    tokens = f'{MetricName.GATEWAY_TOKENS}{{model="{model}",direction="output"}}'
    watched = f'sum_over_time({ForeignMetric.UP}{{job="gateway"}}[{WINDOW}]) > 1'
    return f"sum(rate({tokens}[{WINDOW}])) or 0 * sum({watched})"


def _one(found: tuple[Found, ...], query: str) -> tuple[tuple[float, float], ...]:
    if len(found) > 1:
        raise ConfigError(f"{query} returns {len(found)} series, must be one: put a sum around it")
    return found[0].samples if found else ()


def _parts(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield parts of `[start, end)`; each is asked from its first to its last minute."""
    while start < end:
        stop = min(end, start + MOST_STEPS)
        yield start, stop - MINUTE
        start = stop


def _floor(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
