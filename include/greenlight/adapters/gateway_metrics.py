"""The gateway's metrics: from all workers of one machine together, over files they share.

What only adds up is counted in memory, and written to the shared files by `flush`: a request would
touch them ten times.

`prometheus_client` decides when it is imported whether processes share their values, by a variable
of the environment; the gateway's command sets it before a worker starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from greenlight.core.metrics import LabelName as Label
from greenlight.core.metrics import MetricName as Name
from greenlight.gateway.answer_counts import AnswerCounts
from greenlight.gateway.stream_meter import StreamMeter, Usage

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 90, 120)
"""To 120 s: an answer of thousands of tokens takes minutes, and must not fall off the end."""
TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10)
OTHER = "other"
CACHE_EVENTS = {
    "memory_hits": ("memory", "hit"),
    "memory_misses": ("memory", "miss"),
    "memory_expired": ("memory", "stale"),
    "evicted": ("memory", "eviction"),
    "store_hits": ("store", "hit"),
    "misses": ("store", "miss"),
    "store_expired": ("store", "stale"),
    "unreadable": ("store", "unreadable"),
    "full": ("store", "full"),
    "store_errors": ("store", "error"),
    "shared_hits": ("flight", "hit"),
    "waits": ("flight", "wait"),
    "alone": ("flight", "alone"),
    "kept": ("answer", "kept"),
    "not_kept": ("answer", "not_kept"),
}
"""Level and outcome of every field of `AnswerCounts`."""
M = TypeVar("M", bound=Counter | Gauge | Histogram)


class GatewayMetrics:
    """Counts. Labels are bounded: routes, configured models and tenants, colours, closed sets."""

    def __init__(
        self,
        *,
        tenants: Iterable[str],
        registry: CollectorRegistry | None = None,
    ) -> None:
        """Make them; `registry`: for tests."""
        self._tenants = frozenset(tenants)
        self.registry = registry or CollectorRegistry()
        self._series: dict[tuple[object, tuple[str, ...]], object] = {}
        self._pending: dict[tuple[Counter | Gauge, tuple[str, ...]], float] = {}
        self._answers = AnswerCounts()
        http = (Label.METHOD, Label.ENDPOINT, Label.STATUS)
        self._requests = self._counter(Name.HTTP_REQUESTS, "Requests answered.", http)
        self._seconds = self._histogram(
            Name.HTTP_SECONDS, "From the request's first byte to the answer's last.", http[:2]
        )
        self._active = self._gauge(Name.HTTP_ACTIVE, "Requests that are being answered.", ())
        served = (Label.MODEL, Label.COLOUR)
        self._inference = self._histogram(
            Name.INFERENCE_SECONDS, "From asking an engine to the end of its answer.", served
        )
        self._waiting = self._gauge(
            Name.INFERENCE_QUEUE, "Requests that an engine has not begun to answer.", (Label.MODEL,)
        )
        self._first = self._histogram(
            Name.GATEWAY_FIRST_TOKEN, "From asking an engine to a stream's first token.", served
        )
        self._gap = self._histogram(
            Name.GATEWAY_TOKEN_GAP, "Between two pieces of a stream.", served, TOKEN_SECONDS
        )
        self._tokens = self._counter(
            Name.GATEWAY_TOKENS, "Tokens, by the engines' usage.",
            (*served, Label.TENANT, Label.DIRECTION),
        )  # fmt: skip
        self._cache = self._counter(
            Name.GATEWAY_CACHE, "What the cache said to requests.", (Label.OUTCOME,)
        )
        self._cache_events = self._counter(
            Name.GATEWAY_CACHE_EVENTS, "What happened in the cache, by level.",
            (Label.LEVEL, Label.OUTCOME),
        )  # fmt: skip
        self._limits = self._counter(
            Name.GATEWAY_LIMITS, "What limits said to requests.", (Label.OUTCOME, Label.LIMIT)
        )
        self._auth = self._counter(
            Name.GATEWAY_AUTH, "What became of credentials.", (Label.OUTCOME,)
        )
        self._cut = self._counter(
            Name.GATEWAY_CUT, "Streams that did not reach their end.", (Label.MODEL, Label.OUTCOME)
        )
        self._upstream = self._gauge(
            Name.GATEWAY_UPSTREAM, "Connections to a fleet, and retries, by kind.",
            (Label.MODEL, Label.KIND),
        )  # fmt: skip
        self._log_lines = self._counter(
            Name.LOG_LINES, "Lines this service has logged.", (Label.LEVEL,)
        )
        self._logged: Mapping[str, int] = {}
        self._certificate: Gauge | None = None

    def certificate(self, expires_s: float) -> None:
        """Note when the edge's certificate expires, seconds since 1970.

        Without an edge there is no such number: a gauge that was made would say 0, long ago.
        """
        if self._certificate is None:
            self._certificate = Gauge(
                Name.GATEWAY_CERTIFICATE, "When the first certificate of the edge expires.",
                registry=self.registry, multiprocess_mode="livemax",
            )  # fmt: skip
        self._certificate.set(expires_s)

    def began(self) -> None:
        """A request came."""
        self._add(self._active)

    def ended(self, *, method: str, endpoint: str, status: int, seconds: float) -> None:
        """It was answered, or its client left (499)."""
        self._add(self._active, amount=-1)
        self._add(self._requests, method, endpoint, str(status))
        self._of(self._seconds, method, endpoint).observe(seconds)

    def asked(self, model: str) -> None:
        """An engine was asked."""
        self._add(self._waiting, model)

    def began_to_answer(self, model: str) -> None:
        """It began to answer, or it never will."""
        self._add(self._waiting, model, amount=-1)

    def answered(
        self, *, model: str, colour: str, tenant: str, seconds: float, usage: Usage | None
    ) -> None:
        """An engine's answer came to its end."""
        self._of(self._inference, model, colour).observe(seconds)
        if usage is not None:
            owner = self.tenant(tenant)
            self._add(self._tokens, model, colour, owner, "input", amount=usage.prompt)
            self._add(self._tokens, model, colour, owner, "output", amount=usage.answer)

    def streamed(self, meter: StreamMeter, *, model: str, colour: str) -> None:
        """A stream came to an end."""
        if meter.first_s is not None:
            self._of(self._first, model, colour).observe(meter.first_s)
        gap = self._of(self._gap, model, colour)
        for seconds in meter.gaps:
            gap.observe(seconds)

    def cut(self, model: str, *, by: str) -> None:
        """A stream did not reach its end."""
        self._add(self._cut, model, by)

    def cache(self, outcome: str) -> None:
        """The cache said something."""
        self._add(self._cache, outcome)

    def cache_events(self, counts: AnswerCounts) -> None:
        """Count what happened in the cache since the last call."""
        for name, (level, outcome) in CACHE_EVENTS.items():
            happened = getattr(counts, name) - getattr(self._answers, name)
            self._add(self._cache_events, level, outcome, amount=happened)
        self._answers = replace(counts)

    def log_lines(self, by_level: Mapping[str, int]) -> None:
        """Count the lines that were logged since the last call."""
        for level, lines in by_level.items():
            self._add(self._log_lines, level, amount=lines - self._logged.get(level, 0))
        self._logged = dict(by_level)

    def limited(self, outcome: str, limit: str = "none") -> None:
        """The limits said something."""
        self._add(self._limits, outcome, limit)

    def authenticated(self, outcome: str) -> None:
        """A credential was looked at."""
        self._add(self._auth, outcome)

    def upstream(self, model: str, kind: str, value: float) -> None:
        """Note how connections and retries stand."""
        self._of(self._upstream, model, kind).set(value)

    def tenant(self, name: str) -> str:
        """Return the label of a tenant: its own, where it was given one."""
        return name if name in self._tenants else OTHER

    def flush(self) -> None:
        """Write what was counted to where it is read."""
        pending, self._pending = self._pending, {}
        for (metric, labels), amount in pending.items():
            self._of(metric, *labels).inc(amount)

    def _add(self, metric: Counter | Gauge, *labels: str, amount: float = 1) -> None:
        key = (metric, labels)
        self._pending[key] = self._pending.get(key, 0) + amount

    def _of(self, metric: M, *labels: str) -> M:
        """Return a series; finding it in the library takes longer than counting."""
        key = (metric, labels)
        if (found := self._series.get(key)) is None:
            found = self._series[key] = metric.labels(*labels) if labels else metric
        return cast(M, found)

    def _counter(self, name: Name, what: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, what, labels, registry=self.registry)

    def _gauge(self, name: Name, what: str, labels: tuple[str, ...]) -> Gauge:
        return Gauge(name, what, labels, registry=self.registry, multiprocess_mode="livesum")

    def _histogram(
        self, name: Name, what: str, labels: tuple[str, ...], buckets: tuple[float, ...] = SECONDS
    ) -> Histogram:
        return Histogram(name, what, labels, registry=self.registry, buckets=buckets)


class LivingWorkers(Collector):
    """What all workers have counted; a worker that was killed has no gauges any more."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._workers = MultiProcessCollector(None, path=str(folder))

    def collect(self) -> Iterable[Metric]:
        """Return it."""
        for file in self._folder.glob("gauge_live*_*.db"):
            pid = int(file.stem.rpartition("_")[2])
            if not psutil.pid_exists(pid):
                forget_worker(pid, self._folder)
        return self._workers.collect()


def forget_worker(pid: int, folder: Path) -> None:
    """Drop the gauges of a worker that ended; its counters stay."""
    mark_process_dead(pid, path=str(folder))
