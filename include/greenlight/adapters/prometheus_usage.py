"""What hosts and engines used, from Prometheus: an hour of raw samples, or a month of averages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from greenlight.adapters.prometheus_api import Found, PrometheusApi
from greenlight.cost.bill import HOUR
from greenlight.cost.inventory import HostPlan
from greenlight.cost.observed import hour_of
from greenlight.cost.rightsizing.series import Resource, UsageSeries
from greenlight.cost.samples import Samples
from greenlight.cost.scrapes import Metric, Scrape, Series
from greenlight.cost.usage import HostUsage

BEFORE = timedelta(minutes=10)
"""How far before the hour a counter's base is looked for."""
SELECTORS = {Metric.CPU_SECONDS: '{mode="idle"}'}
"""What is asked for where not all series of a metric are needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """How Prometheus' targets are labelled. `step_s`: the scrape interval."""

    host: str = "host"
    slot: str = "colour"
    step_s: float = 15.0


class PrometheusUsage:
    """`cost.ports.UsageSource` over the HTTP API."""

    def __init__(self, api: PrometheusApi, *, labels: Labels) -> None:
        self._api = api
        self._labels = labels

    def hour(self, plans: Sequence[HostPlan], hour: datetime) -> Mapping[str, HostUsage]:
        """Return what was measured in an hour, for every planned host.

        Raises:
            UnavailableError: Prometheus doesn't answer, or in part only.
            ConfigError: it refuses us, or a query.
        """
        found = {metric: self._series(metric, hour) for metric in Metric}
        scrape = Scrape(found, host=self._labels.host, slot=self._labels.slot)
        return hour_of(plans, scrape, hour)

    def history(
        self, resource: Resource, *, end: datetime, days: int, step: timedelta
    ) -> Mapping[str, UsageSeries]:
        """Return each host's use of a resource as shares, one value a step; gaps stay gaps.

        By the host label; this machine's exporter has none, and is under empty text.

        Raises:
            UnavailableError, ConfigError: as `hour`.
        """
        start = end - timedelta(days=days)
        expression = _EXPRESSIONS[resource].format(
            host=self._labels.host, step=f"{step.total_seconds():.0f}s"
        )
        found = self._api.over(expression, start=start + step, end=end, step=step)
        host = self._labels.host
        series = {one.labels.get(host, ""): _usage(one, resource, step) for one in found}
        return {name: one for name, one in series.items() if one is not None}

    def _series(self, metric: Metric, hour: datetime) -> list[Series]:
        selector = f"{metric}{SELECTORS.get(metric, '')}"
        found = self._api.samples(selector, start=hour - BEFORE, end=hour + HOUR)
        return [
            Series(labels=one.labels, samples=Samples.of(one.samples, step_s=self._labels.step_s))
            for one in found
        ]


_EXPRESSIONS = {
    Resource.CPU: ('1 - avg by ({host}) (rate(node_cpu_seconds_total{{mode="idle"}}[{step}]))'),
    Resource.MEMORY: (
        "1 - min by ({host}) (min_over_time(node_memory_MemAvailable_bytes[{step}]))"
        " / max by ({host}) (max_over_time(node_memory_MemTotal_bytes[{step}]))"
    ),
    Resource.GPU: "avg by ({host}) (avg_over_time(DCGM_FI_PROF_GR_ENGINE_ACTIVE[{step}]))",
    Resource.GPU_MEMORY: (
        "max by ({host}) (max_over_time(DCGM_FI_DEV_FB_USED[{step}])"
        " / (max_over_time(DCGM_FI_DEV_FB_USED[{step}])"
        " + min_over_time(DCGM_FI_DEV_FB_FREE[{step}])))"
    ),
}
"""Use as a share. Averages of what slows down, peaks of what ends a process."""


def _usage(found: Found, resource: Resource, step: timedelta) -> UsageSeries | None:
    """Return a series on the grid of steps; what is missing, or no share, is missing in it."""
    step_s = step.total_seconds()
    seconds = np.array([at for at, _ in found.samples])
    values = np.array([value for _, value in found.samples])
    if not ((values >= 0) & (values <= 1)).any():
        return None
    place = np.round((seconds - seconds[0]) / step_s).astype(int)
    there = np.full(place[-1] + 1, np.nan)
    there[place] = np.where((values >= 0) & (values <= 1), values, np.nan)
    begins = seconds[0] - step_s + np.arange(there.size) * step_s
    times = (begins * 1e6).astype("datetime64[us]")
    return UsageSeries.of(times, there, resource=resource, unit="share of the host")
