"""A fleet with weeks of samples, two rollouts and prices, for tests of costs on real servers."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Event, Phase, Step
from greenlight.deploy.ports import JournalStore
from greenlight.testing.rollout_contract import a_rollout

Series = tuple[str, dict[str, str], list[tuple[float, float]]]
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
"""The end of the newest whole hour, when this was imported."""
LAST = NOW - timedelta(hours=1)
DAYS = 21
STEP_S = 60
COST: dict[str, Any] = {
    "environment": "demo",
    "account": dict.fromkeys(("id", "name", "provider", "publisher", "issuer"), "this machine"),
    "prometheus": {"scrape_s": STEP_S},
    "shared": [
        {"name": "artifacts", "kind": "storage", "sku": "disk", "region": "local",
         "term": "storage", "amount": 100}
    ],
    "host_types": [
        {"name": "local", "family": "l", "vcpus": 16, "memory_gib": 64},
        {"name": "local-small", "family": "l", "vcpus": 8, "memory_gib": 32},
    ],
}  # fmt: skip
OWN = {"region": "local", "valid_from": "2026-01-01T00:00:00Z", "source": "our own calculation"}
PRICES: dict[str, Any] = {
    "currency": "EUR",
    "prices": [
        OWN | {"sku": "local", "term": "on_demand", "price": 0.8},
        OWN | {"sku": "local-small", "term": "on_demand", "price": 0.4},
        OWN | {"sku": "disk", "term": "storage", "price": 0.08},
    ],
}
FLEET: dict[str, Any] = {
    "name": "demo",
    "model": "chat",
    "engine": {"kind": "simulator", "kv_cache_gb": 6, "memory_gb": 2},
    "router": {"port": 8100},
    "hosts": [
        {"name": "local-1", "root": "x", "gpu_memory_gb": 32,
         "slots": {"blue": {"port": 8101}, "green": {"port": 8102}}}
    ],
}  # fmt: skip


def use(at: float) -> float:
    """Return how busy the host is: by day more than by night, and always below what is reserved."""
    return 0.14 + 0.08 * math.sin(2 * math.pi * at / 86400)


def weeks_of_samples(lost: Collection[float] = ()) -> list[Series]:
    """Return the series; `lost`: seconds that nobody scraped."""
    start = NOW.timestamp() - DAYS * 86400
    at = [start + n * STEP_S for n in range(DAYS * 1440 + 1)]
    recent = [t for t in at if t > NOW.timestamp() - 6 * 3600 and t not in lost]
    idle, total = [], 0.0
    for t in at:
        total += STEP_S * (1 - use(t))
        if t not in lost:
            idle.append((t, total))
    engines = {c: {"host": "local-1", "colour": c} for c in ("blue", "green")}
    tokens = {"model": "chat", "colour": "green", "tenant": "search"}

    def flat(value: float) -> list[tuple[float, float]]:
        return [(t, value) for t in recent]

    def growing(rate: float) -> list[tuple[float, float]]:
        return [(t, rate * (t - recent[0])) for t in recent]

    return [
        ("node_cpu_seconds_total", {"cpu": "0", "mode": "idle"}, idle),
        ("node_memory_MemTotal_bytes", {}, [(t, 64e9) for t, _ in idle]),
        ("node_memory_MemAvailable_bytes", {}, [(t, 54e9 - 1e9 * use(t)) for t, _ in idle]),
        *[("up", labels, flat(1)) for labels in engines.values()],
        ("vllm:num_requests_running", engines["green"], flat(4)),
        ("vllm:num_requests_running", engines["blue"], flat(0)),
        ("vllm:prompt_tokens_total", engines["green"], growing(300)),
        ("vllm:generation_tokens_total", engines["green"], growing(100)),
        ("vllm:prompt_tokens_total", engines["blue"], flat(5)),
        ("vllm:generation_tokens_total", engines["blue"], flat(5)),
        ("greenlight_gateway_tokens_total", tokens | {"direction": "input"}, growing(225)),
        ("greenlight_gateway_tokens_total", tokens | {"direction": "output"}, growing(75)),
    ]


def deploy_twice(
    journal: JournalStore,
    *,
    ago: tuple[timedelta, timedelta] = (timedelta(days=22), timedelta(days=20)),
) -> None:
    """Write that blue went live, and then green; blue is kept warm since."""
    for number, (colour, since) in enumerate(zip((Colour.BLUE, Colour.GREEN), ago, strict=True)):
        at = NOW - since
        rollout = replace(
            a_rollout(f"r{number}", fleet="demo"),
            colour=colour,
            version=6 + number,
            started_at=at,
            model="chat",
        )
        journal.open_rollout(rollout)
        details: dict[Step, dict[str, Any]] = {Step.PREPARE: {}, Step.FINISH: {"outcome": "live"}}
        for step, detail in details.items():
            journal.append(
                Event(rollout_id=rollout.id, at=at, step=step, phase=Phase.DONE, detail=detail)
            )
