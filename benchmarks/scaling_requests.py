"""The same policies on single requests: a day of the bursty demand, answered by an engine.

The engine is fitted to SmolLM2-135M in BF16 on one thread of an idle CPU, to the medians at 1, 4
and 8 in flight of docs/reference/serving.md; the fit's error is printed. Arrivals are Poisson at
the demand's rate. Lengths are those of the Azure trace where it is there (prompts a tenth as long,
as the engine is a small one), else lognormal. What a host can take is measured on the simulated
engine.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from greenlight.core.types import JsonDict
from greenlight.scaling.demand_series import Floats
from greenlight.scaling.replay.discrete import (
    DiscreteFleet,
    DiscreteOutcome,
    Interruption,
    Objective,
    simulate,
)
from greenlight.scaling.replay.engine import EngineLimits, Request
from greenlight.scaling.replay.latency import LatencyModel, MeasuredLevel, fit_latency
from greenlight.scaling.replay.policies import Policy, Static

AZURE = Path(__file__).resolve().parents[2] / "shared/data/azure-llm-2023/conv.csv"
PROMPT_TOKENS = 90
MEASURED = ((1, 0.15, 0.029, 31.7), (4, 0.42, 0.031, 78.8), (8, 1.09, 0.037, 143.0))
LIMITS = EngineLimits(requests=16, kv_tokens=11_000)
OBJECTIVE = Objective(ttft_s=2.0, gap_s=0.1)
GOAL = 99.0
COLD_START_S = 300.0
SECONDS = 1200

Lengths = Sequence[tuple[int, int]]


def fitted() -> LatencyModel:
    """Return the engine, and print how well it fits."""
    levels = [
        MeasuredLevel(
            concurrency=c,
            prompt_tokens=PROMPT_TOKENS,
            new_tokens=64,
            ttft_s=ttft,
            gap_s=gap,
            tokens_per_second=speed,
        )
        for c, ttft, gap, speed in MEASURED
    ]
    model = fit_latency(levels, source="docs/reference/serving.md")
    assert isinstance(model, LatencyModel)
    error = model.error
    print(
        f"engine: {model.prefill_s:.3f} s + {1000 * model.prefill_token_s:.2f} ms a prompt token; "
        f"{1000 * model.step_s:.1f} ms + {1000 * model.step_request_s:.2f} ms a request each step\n"
        f"largest error at 1, 4, 8 in flight: first token {error.ttft:.0%}, gap {error.gap:.0%}, "
        f"tokens/s (not fitted) {error.speed:.0%}"
    )
    return model


def lengths() -> tuple[str, Lengths]:
    """Return prompt and answer lengths, and where they are from."""
    if AZURE.is_file():
        with AZURE.open(newline="") as file:
            rows = [
                (max(1, int(row["ContextTokens"]) // 10), max(1, int(row["GeneratedTokens"])))
                for row in csv.DictReader(file)
            ]
        return "the Azure trace", rows
    rng = np.random.default_rng(7)
    prompts, answers = rng.lognormal(4.5, 0.7, 20_000), rng.lognormal(5.0, 0.8, 20_000)
    return "lognormal lengths", [
        (max(1, int(p)), max(1, min(1000, int(a)))) for p, a in zip(prompts, answers, strict=True)
    ]


def arrivals(rates: Floats, of: Lengths, *, seed: int) -> list[Request]:
    """Return Poisson arrivals at so many requests a second in each minute."""
    rng = np.random.default_rng(seed)
    times = np.concatenate(
        [
            60 * minute + np.sort(rng.uniform(0, 60, rng.poisson(60 * rate)))
            for minute, rate in enumerate(rates)
        ]
    )
    picked = rng.integers(0, len(of), times.size)
    return [
        Request(number=i, arrives=float(t), prompt_tokens=of[k][0], new_tokens=of[k][1])
        for i, (t, k) in enumerate(zip(times, picked, strict=True))
    ]


def counted(demand: Floats, of: Lengths, *, seed: int) -> Floats:
    """Return a demand as counted by the minute, where requests and their lengths come by chance."""
    rng = np.random.default_rng([seed, 4])
    answers = np.array([answer for _, answer in of], dtype=np.float64)
    requests = rng.poisson(60 * demand / answers.mean())
    spread = answers.std() * np.sqrt(np.maximum(requests, 1))
    tokens = requests * answers.mean() + rng.normal(0, 1, demand.size) * spread
    return np.maximum(tokens, 0.0) / 60


def host_speed(fleet: DiscreteFleet, of: Lengths) -> float:
    """Return the most answer tokens a second that one host takes within the objective."""
    mean = float(np.mean([answer for _, answer in of]))
    low, high = 0.05, 5.0
    for _ in range(7):
        rate = (low * high) ** 0.5
        requests = arrivals(np.full(SECONDS // 60, rate), of, seed=1)
        found = simulate(requests, Static(hosts=1), fleet, OBJECTIVE, hosts=1)
        low, high = (rate, high) if found.slo_pct >= GOAL else (low, rate)
    return low * mean


def compare(
    demand: Floats, policies: Mapping[str, Policy], fleet: DiscreteFleet, of: Lengths, *, hosts: int
) -> JsonDict:
    """Replay a demand in tokens a second with each policy, and print what clients see."""
    mean = float(np.mean([answer for _, answer in of]))
    requests = arrivals(demand / mean, of, seed=2)
    middle = 60.0 * demand.size / 2
    print(f"{len(requests):,} requests, one host interrupted half way")
    print(f"{'':14}| GPU-hours   SLO   first token p50, p99   cut  preempted  starts")
    rows = {}
    for name, policy in policies.items():
        found = simulate(
            requests,
            policy,
            fleet,
            OBJECTIVE,
            hosts=hosts,
            interruptions=[Interruption(at=middle)],
        )
        print(
            f"{name:14}|{found.gpu_hours:8.1f} {found.slo_pct:8.2f} {found.ttft_p50_s:9.2f} s, "
            f"{found.ttft_p99_s:6.2f} s {found.cut:8} {found.preempted:8} {found.starts:9}"
        )
        rows[name] = row(found)
    return rows


def row(found: DiscreteOutcome) -> JsonDict:
    """Return a policy's figures."""
    return {
        "gpu_hours": round(found.gpu_hours, 2),
        "slo_pct": round(found.slo_pct, 3),
        "ttft_p50_s": found.ttft_p50_s and round(found.ttft_p50_s, 3),
        "ttft_p99_s": found.ttft_p99_s and round(found.ttft_p99_s, 3),
        "requests": found.requests,
        "cut": found.cut,
        "starts": found.starts,
        "stops": found.stops,
    }


def engine_fleet() -> tuple[DiscreteFleet, float, Lengths]:
    """Return a fleet of the fitted engine, what a host of it takes, and the lengths."""
    name, of = lengths()
    fleet = DiscreteFleet(latency=fitted(), limits=LIMITS, cold_start_s=COLD_START_S)
    speed = host_speed(replace(fleet, cold_start_s=0.0), of)
    print(f"a host takes {speed:.0f} answer tokens/s with {GOAL:g} % within {OBJECTIVE}; {name}")
    return fleet, speed, of
