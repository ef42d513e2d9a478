"""What serves, how fast, and what it costs now: one look at Prometheus for `greenlight top`.

A cell without a number is `None`: nobody measures it, or nothing happened that could be measured.
It is never zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from greenlight.core.settings import Settings
from greenlight.core.types import JsonDict

WINDOW = "2m"
"""What rates and quantiles are taken over: eight scrapes."""
ENGINE = ("fleet", "host", "colour")
MODEL = ("model",)
Found = Sequence[tuple[Mapping[str, str], float]]
"""Labels and value of every series that an expression has now."""
Ask = Callable[[str], Found]


class Cell(StrEnum):
    """What is shown; seconds, shares of 1, and numbers a second where the name doesn't say."""

    UP = "up"
    LIVE = "live"
    TTFT_P50 = "ttft_p50_s"
    TTFT_P95 = "ttft_p95_s"
    TOKENS = "tokens_per_s"
    RUNNING = "running"
    WAITING = "waiting"
    KV_CACHE = "kv_cache"
    REQUESTS = "requests_per_s"
    FAILED = "failed_share"
    CACHE_HITS = "cache_hit_share"
    COST = "cost_per_hour"
    COST_MILLION = "cost_per_million_output_tokens"


def _quantile(share: float, metric: str, by: str) -> str:
    inside = ", ".join(("le", *by.split(", "))) if by else "le"
    return f"histogram_quantile({share}, sum by ({inside}) (rate({metric}_bucket[{WINDOW}])))"


_BY_ENGINE = ", ".join(ENGINE)
ENGINES = {
    Cell.UP: f'max by ({_BY_ENGINE}) (up{{job="engine"}})',
    Cell.TTFT_P50: _quantile(0.5, "vllm:time_to_first_token_seconds", _BY_ENGINE),
    Cell.TTFT_P95: _quantile(0.95, "vllm:time_to_first_token_seconds", _BY_ENGINE),
    Cell.TOKENS: f"sum by ({_BY_ENGINE}) (rate(vllm:generation_tokens_total[{WINDOW}]))",
    Cell.RUNNING: f"sum by ({_BY_ENGINE}) (vllm:num_requests_running)",
    Cell.WAITING: f"sum by ({_BY_ENGINE}) (vllm:num_requests_waiting)",
    Cell.KV_CACHE: f"max by ({_BY_ENGINE}) (vllm:kv_cache_usage_perc or vllm:gpu_cache_usage_perc)",
}
LIVE = "max by (fleet, colour) (greenlight_live_version)"
MODELS = {
    Cell.TTFT_P50: _quantile(0.5, "greenlight_gateway_time_to_first_token_seconds", "model"),
    Cell.TTFT_P95: _quantile(0.95, "greenlight_gateway_time_to_first_token_seconds", "model"),
    Cell.TOKENS: "sum by (model) "
    f'(rate(greenlight_gateway_tokens_total{{direction="output"}}[{WINDOW}]))',
    Cell.WAITING: "sum by (model) (model_inference_queue_length)",
    Cell.COST: "max by (model) (greenlight_cost_model_per_hour)",
    Cell.COST_MILLION: 'max by (model) (greenlight_cost_per_million_tokens{direction="output"})',
}
_ASKED = f'sum(rate(http_requests_total{{endpoint=~"/v1/.*completions"}}[{WINDOW}]))'
_FAILED = f'rate(http_requests_total{{endpoint=~"/v1/.*completions",status=~"5.."}}[{WINDOW}])'
_LOOKED_UP = f'rate(greenlight_gateway_cache_requests_total{{outcome!="none"}}[{WINDOW}])'
_HITS = f'rate(greenlight_gateway_cache_requests_total{{outcome=~"hit-.*"}}[{WINDOW}])'
ALL = {
    Cell.REQUESTS: _ASKED,
    # without a failed one there is no series of them: none failed, if any was asked
    Cell.FAILED: f"(sum({_FAILED}) or 0 * {_ASKED}) / {_ASKED}",
    Cell.CACHE_HITS: f"(sum({_HITS}) or 0 * sum({_LOOKED_UP})) / sum({_LOOKED_UP})",
    Cell.TTFT_P95: _quantile(0.95, "greenlight_gateway_time_to_first_token_seconds", ""),
    Cell.TOKENS: f'sum(rate(greenlight_gateway_tokens_total{{direction="output"}}[{WINDOW}]))',
    Cell.COST: "sum(greenlight_cost_per_hour)",
}
COST_HOUR = "max(greenlight_cost_newest_hour_timestamp_seconds)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line: who it is about, and its cells."""

    labels: Mapping[str, str]
    cells: Mapping[Cell, float | None]

    def to_json(self) -> JsonDict:
        """Return labels and cells beside each other."""
        return {**self.labels, **{str(cell): value for cell, value in self.cells.items()}}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One look. `cost_hour`: the hour that costs are of, the newest that has a bill."""

    at: datetime
    everything: Row
    models: tuple[Row, ...]
    engines: tuple[Row, ...]
    cost_hour: datetime | None

    def to_json(self) -> JsonDict:
        """Return it; `null` is no data."""
        return {
            "at": self.at.isoformat(timespec="seconds"),
            "gateway": self.everything.to_json(),
            "models": [row.to_json() for row in self.models],
            "engines": [row.to_json() for row in self.engines],
            "cost_hour": None if self.cost_hour is None else self.cost_hour.isoformat(),
        }


def look(ask: Ask, *, at: datetime) -> View:
    """Return what is now.

    Raises:
        UnavailableError: Prometheus doesn't answer, or in part only.
        ConfigError: it refuses us.
    """
    cost_hour = _number(ask(COST_HOUR))
    return View(
        at=at,
        everything=Row(labels={}, cells={cell: _number(ask(query)) for cell, query in ALL.items()}),
        models=_rows(MODELS, MODEL, ask),
        engines=tuple(_with_live(_rows(ENGINES, ENGINE, ask), ask(LIVE))),
        cost_hour=None if cost_hour is None else datetime.fromtimestamp(cost_hour, UTC),
    )


@contextmanager
def asking(settings: Settings) -> Iterator[Callable[[datetime], View]]:
    """Yield what looks at the configured Prometheus, or at the running stack's.

    Raises:
        RefusedError: none is configured, and the stack is not up.
    """
    from greenlight.adapters.prometheus_api import PrometheusApi
    from greenlight.entrypoints.stack import prometheus_url

    second = timedelta(seconds=1)
    with PrometheusApi(prometheus_url(settings), timeout_s=10) as api:

        def ask_at(at: datetime) -> Ask:
            def ask(expression: str) -> Found:
                found = api.over(expression, start=at, end=at, step=second)
                return [(one.labels, one.samples[-1][1]) for one in found if one.samples]

            return ask

        yield lambda at: look(ask_at(at), at=at)


def _rows(queries: Mapping[Cell, str], labels: Sequence[str], ask: Ask) -> tuple[Row, ...]:
    """Return a row for everybody who has any cell."""
    found: dict[tuple[str, ...], dict[Cell, float | None]] = {}
    for cell, query in queries.items():
        for names, value in ask(query):
            key = tuple(names.get(label, "") for label in labels)
            row = found.setdefault(key, dict.fromkeys(queries))
            row[cell] = _finite(value)
    return tuple(
        Row(labels=dict(zip(labels, key, strict=True)), cells=found[key]) for key in sorted(found)
    )


def _with_live(rows: Sequence[Row], live: Found) -> Iterator[Row]:
    """Say which colour serves; of a fleet that nobody knows of, nobody knows."""
    by_fleet = {labels.get("fleet"): labels.get("colour") for labels, _ in live}
    for row in rows:
        colour = by_fleet.get(row.labels["fleet"])
        serves = None if colour is None else float(colour == row.labels["colour"])
        yield Row(labels=row.labels, cells={**row.cells, Cell.LIVE: serves})


def _number(found: Found) -> float | None:
    return _finite(found[0][1]) if found else None


def _finite(value: float) -> float | None:
    """Return a number; the quantile of no request and the share of nothing are none."""
    return value if math.isfinite(value) else None
