"""A small fleet with costs, in memory but for its files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np

from greenlight.adapters.cost_expectations import HourVerdict
from greenlight.adapters.focus_files import FocusFiles
from greenlight.core.settings import Settings
from greenlight.cost.bill import Bought, ItemKind
from greenlight.cost.cost_file import CostFile
from greenlight.cost.inventory import HostPlan, SlotPlan
from greenlight.cost.prices import PriceBook, Term
from greenlight.cost.rightsizing.series import Resource, UsageSeries
from greenlight.cost.usage import Count, HostUsage, Level, SlotUsage, TenantUsage
from greenlight.entrypoints.cost_tools import CostTools
from greenlight.testing.fake_usage import FakeUsage
from greenlight.testing.manual_clock import ManualClock
from greenlight.testing.memory_costs import MemoryCosts

HOUR = datetime(2026, 11, 24, 10, tzinfo=UTC)
NOW = HOUR + timedelta(minutes=67)
REGION = "eu-central-1"
SHAPES = [
    {"name": "big", "family": "g5", "gpu": "A10G", "gpus": 1, "gpu_memory_gib": 24,
     "vcpus": 16, "memory_gib": 64},
    {"name": "small", "family": "g5", "gpu": "A10G", "gpus": 1, "gpu_memory_gib": 24,
     "vcpus": 4, "memory_gib": 16},
]  # fmt: skip


def entry(sku, amount, **changes):
    fields = {"sku": sku, "region": REGION, "term": "on_demand", "price": amount,
              "valid_from": "2026-01-01T00:00:00Z", "source": "a contract"}  # fmt: skip
    return fields | changes


def book(*entries):
    prices = entries or (entry("big", "2.00"), entry("small", "0.50"), entry("nat", "0.10"))
    return PriceBook.model_validate({"currency": "USD", "prices": prices})


def config(**changes):
    account = {"id": "1", "name": "ML", "provider": "AWS", "publisher": "AWS", "issuer": "AWS"}
    return CostFile.model_validate({"account": account, "host_types": SHAPES} | changes)


def bought(name="gpu-1", sku="big", **changes):
    fields = {"kind": ItemKind.HOST, "name": name, "sku": sku, "region": REGION,
              "term": Term.ON_DEMAND, "environment": "production"}  # fmt: skip
    return Bought(**fields | changes)


def plan(name="gpu-1"):
    slot = SlotPlan(slot="green", model="chat", version="7", is_warm=False, reserved=0.5)
    return HostPlan(name=name, gpus=1, slots=(slot,))


def level(mean):
    return Level(mean=mean, peak=mean, coverage=1.0)


def count(total):
    return Count(total=total, coverage=1.0)


def used(hour=HOUR, *, held=0.5, tokens=1_000_000, name="gpu-1"):
    tenant = TenantUsage(
        tenant="a", requests=count(1), input_tokens=count(tokens), output_tokens=count(tokens)
    )
    slot = SlotUsage(
        slot="green", model="chat", version="7", is_warm=False, time=level(0.25),
        memory=level(held), input_tokens=count(tokens), output_tokens=count(tokens),
        tenants=(tenant,),
    )  # fmt: skip
    host = HostUsage(host=name, hour=hour, cpu=level(0.1), memory=level(0.1), gpu=level(0.25),
                     gpu_memory=level(0.5), slots=(slot,))  # fmt: skip
    return {name: host}


def month(share, *, resource, noise=0.01, moved_at=None):
    rng = np.random.default_rng(3)
    n = 21 * 288
    values = np.clip(share * (1 + rng.normal(0, noise, n)), 0, 1)
    if moved_at is not None:
        values[moved_at:] *= 2
    end = np.datetime64(NOW.replace(minute=0, tzinfo=None), "us")
    times = end - np.arange(n, 0, -1) * np.timedelta64(5, "m")
    return UsageSeries.of(times, values, resource=resource, unit="share")


def quiet_month(**changes):
    shares = {Resource.CPU: 0.1, Resource.MEMORY: 0.12, Resource.GPU: 0.3, Resource.GPU_MEMORY: 0.6}
    made = {r: {"gpu-1": month(share, resource=r)} for r, share in shares.items()}
    return made | changes


class Judge:
    """Great Expectations' place: says what a test wants it to say."""

    def __init__(self):
        self.problems = {}
        self.seen = []

    def __call__(self, usage, items, *, hour, min_measured, last_prices, docs):
        self.seen.append((hour, min_measured, dict(last_prices), docs))
        return HourVerdict(problems=self.problems.get(hour, ()), warnings=("odd",), docs=docs)


def tools(folder: Path, **changes) -> CostTools:
    usage = FakeUsage()
    usage.hours = {HOUR - n * timedelta(hours=1): used(HOUR - n * timedelta(hours=1))
                   for n in range(3)}  # fmt: skip
    usage.histories = quiet_month()
    fields = {
        "settings": Settings.model_validate({"home": folder / "my home"}),
        "config": config(),
        "prices": book(),
        "plans": lambda hour: (plan(),),
        "bought": (bought(), bought("gateway", "nat", kind=ItemKind.SHARED)),
        "since": HOUR - timedelta(days=30),
        "usage": usage,
        "store": MemoryCosts(),
        "files": FocusFiles(folder / "my home/costs/focus"),
        "check": Judge(),
        "clock": ManualClock(NOW),
    }
    return CostTools(**fields | changes)


def money(text):
    return Decimal(text)
