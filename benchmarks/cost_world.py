"""Hosts for `cost.py`: a month of one-minute samples of four metrics, made host by host.

Everything is seeded by the host's number. Hosts are of four kinds (daily and weekly cycles, nearly
constant, bursts, mostly idle). One in ten has an outage of hours, one in five loses single samples,
one in thirty moves to another level, and some readings are out of range. Every fourth host keeps a
warm engine beside the live one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
from scipy import signal

from greenlight.cost.bill import Bought, ItemKind
from greenlight.cost.inventory import HostPlan, SlotPlan
from greenlight.cost.prices import PriceBook, Term

SEED = 20_261_124
START = datetime(2026, 10, 1, tzinfo=UTC)
DAYS = 30
HOURS = DAYS * 24
MINUTES = HOURS * 60
STEP_S = 60.0
METRICS = ("cpu", "memory", "gpu", "gpu_memory")
HELD = 0.45
"""The share of the GPU's memory that an engine was started with."""
TOKENS_A_SECOND = 2500.0
"""Output tokens of a busy GPU; input tokens are three times as many."""
TENANTS = ("search", "support", "batch")
REGIONS = ("eu-central-1", "us-east-1")

Floats = npt.NDArray[np.float64]
Generator = np.random.Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeHost:
    """One host. `samples`: by metric, NaN where a scrape was lost; `tenants`: shares by hour."""

    number: int
    plan: HostPlan
    bought: Bought
    seconds: Floats
    samples: dict[str, Floats]
    tenants: Floats


def make_host(number: int) -> MadeHost:
    """Return a host and its month."""
    rng = np.random.default_rng([SEED, number])
    load = _load(rng, number)
    gpu = np.clip(load, 0.0, 0.99)
    samples = {
        "cpu": np.clip(0.05 + 0.3 * load + rng.normal(0, 0.01, MINUTES), 0.0, 1.0),
        "memory": np.clip(0.35 + 0.1 * load + rng.normal(0, 0.002, MINUTES), 0.0, 1.0),
        "gpu": gpu,
        "gpu_memory": np.clip(HELD + 0.02 * load + rng.normal(0, 0.001, MINUTES), 0.0, 1.0),
    }
    _damage(rng, number, samples)
    return MadeHost(
        number=number,
        plan=plan_of(number),
        bought=bought_of(number),
        seconds=START.timestamp() + np.arange(MINUTES) * STEP_S,
        samples=samples,
        tenants=rng.dirichlet([3.0, 2.0, 1.0], HOURS),
    )


def plan_of(number: int) -> HostPlan:
    """Return what runs on a host."""
    live = SlotPlan(slot="green", model="chat", version="7", is_warm=False, reserved=HELD)
    warm = SlotPlan(slot="blue", model="chat", version="6", is_warm=True, reserved=HELD)
    slots = (live, warm) if number % 4 == 0 else (live,)
    return HostPlan(name=f"gpu-{number:04}", gpus=1, slots=slots)


def bought_of(number: int) -> Bought:
    """Return how a host is paid for."""
    terms = (Term.ON_DEMAND, Term.ON_DEMAND, Term.RESERVED, Term.SPOT)
    return Bought(
        kind=ItemKind.HOST,
        name=f"gpu-{number:04}",
        sku="g5.xlarge",
        region=REGIONS[number % 2],
        term=terms[number % 4],
        environment="production" if number % 10 else "staging",
    )


def price_book() -> PriceBook:
    """Return prices for the month; spot prices change every six hours."""
    base = {"sku": "g5.xlarge", "valid_from": START - timedelta(days=1), "source": "made up"}
    prices = []
    rng = np.random.default_rng(SEED)
    for i, region in enumerate(REGIONS):
        place = base | {"region": region}
        prices.append(place | {"term": "on_demand", "price": f"{1.006 + 0.252 * i:.3f}"})
        prices.append(place | {"term": "reserved", "price": "0.634", "list_price": "1.006"})
        for n in range(-4, DAYS * 4):
            at = START + n * timedelta(hours=6) + timedelta(minutes=13)
            prices.append(
                place
                | {
                    "term": "spot",
                    "price": f"{rng.uniform(0.35, 0.55):.4f}",
                    "valid_from": at,
                    "valid_to": at + timedelta(hours=6),
                }
            )
    return PriceBook.model_validate({"currency": "USD", "prices": prices})


def _load(rng: Generator, number: int) -> Floats:
    day = np.arange(MINUTES) / 1440
    noise = signal.lfilter([1.0], [1.0, -0.95], rng.normal(0, 0.02, MINUTES))
    match number % 4:
        case 0:
            cycle = 0.45 + 0.3 * np.sin(2 * np.pi * (day - rng.uniform()))
            load = cycle * np.where((day + 3).astype(int) % 7 >= 5, 0.6, 1.0) + noise
        case 1:
            load = rng.uniform(0.2, 0.7) + 0.3 * noise
        case 2:
            load = 0.08 + 0.2 * np.abs(noise)
            for _ in range(rng.poisson(DAYS * 4)):
                at = rng.integers(0, MINUTES)
                load[at : at + 1 + int(rng.exponential(30))] += rng.uniform(0.3, 0.7)
        case _:
            load = 0.04 + 0.1 * np.abs(noise)
    if number % 30 == 7:
        load = np.where(day >= rng.uniform(16, 27), load * 1.8, load)
    return np.asarray(np.clip(load, 0.0, 1.0), dtype=np.float64)


def _damage(rng: Generator, number: int, samples: dict[str, Floats]) -> None:
    lost = np.zeros(MINUTES, dtype=bool)
    if number % 10 == 3:
        at = rng.integers(0, MINUTES)
        lost[at : at + int(rng.uniform(60, 900))] = True
    if number % 5 == 1:
        lost |= rng.random(MINUTES) < 0.002
    for values in samples.values():
        values[lost] = np.nan
    if number % 7 == 2:
        samples["gpu"][rng.integers(0, MINUTES, 3)] = 7.0
