"""Schedules replayed: GPU-hours over an oracle and SLO, beside static, HPA and cron + HPA.

Run it with `make bench-scaling`. Demand is a fluid, by the minute. A host costs from its order,
serves after the cold start, and costs two more minutes while it drains. `slo_pct`: the share of
demand in minutes with enough ready hosts; a minute with too few misses it for all of its demand.
`served_pct`: the share within capacity, the milder count. The oracle knows all demand, misses none
and is the cheapest that does, cold starts and draining paid. Every other policy sees the load of
the minute before.

Every policy has a grid of settings. Each takes the cheapest that reached the goal (99.9 % smooth,
97.5 % bursty, and a tenth of what is left to 100 on top) in the last weeks of the training part,
and is reported on the weeks after. What is learned is learned anew each night, from what was known
an hour before midnight. `at ours` shows a peer's cheapest setting that reaches our SLO on the
reported weeks themselves, which it couldn't have known.

`DEMAND=file.csv` (columns of times and of values) replays another demand, with `SLO_GOAL=99` by
default. Without it: ../shared/data/taylor, the same with 3 % of noise from minute to minute, and a
generated bursty one. Eight hours of the last demand are then replayed request by request. The last
line is one JSON object; its top level is the first demand's, with a cold start of five minutes.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict
from greenlight.scaling.demand_series import Counts
from greenlight.scaling.reactive import ReactiveSettings, Signal
from greenlight.scaling.replay.fluid import FluidFleet, FluidOutcome, oracle, replay
from greenlight.scaling.replay.policies import (
    Anticipating,
    Policy,
    Reactive,
    Scheduled,
    Seen,
    Static,
)
from scaling_learned import Learned, Window, windows
from scaling_requests import compare, counted, engine_fleet
from scaling_world import A_DAY, A_WEEK, Demand, bursty, by_minute, noisy, smooth
from series_files import read_series

TAYLOR = Path(__file__).resolve().parents[2] / "shared/data/taylor/demand.csv"
SEED = 100
COLD_STARTS_MIN = (5, 10)
DRAIN_MIN = 2
PEAK_HOSTS = 40
"""Hosts that the training part's P99.9 needs: what sets a host's capacity."""
SMOOTH_GOAL, BURSTY_GOAL, OTHER_GOAL = 99.9, 97.5, 99.0
MARGIN = 0.1
HPA_TARGETS = (0.5, 0.6, 0.65, 0.7, 0.75, 0.775, 0.8, 0.85, 0.875, 0.9)
CRON_TARGETS = (0.7, 0.8, 0.85, 0.9, 1.0)
CRON_QUANTILES = (0.5, 1.0)
CRON_WEEKS = 4
PLAN_QUANTILES = (0.8, 0.95)
PLAN_TARGETS = (0.8, 0.9)
OUR_SLOS = (0.93, 0.95, 0.96, 0.97, 0.98, 0.998, 0.9995)
OUR_DOWN_MIN = (5, 15)
OUR_MINIMUM = 0.1
REQUEST_HOSTS = 5
REQUEST_MINUTES = (6 * 60, 14 * 60)
OURS = "ours"

Candidates = Mapping[str, Callable[[], Policy]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One setting of one policy on one window."""

    policy: str
    setting: str
    over_oracle: float
    outcome: FluidOutcome


def targets(
    share: float, fleet: FluidFleet, *, tolerance: float = 0.1, down_min: int = 5
) -> ReactiveSettings:
    """Return a target of tokens a second, as a share of what a host can."""
    return ReactiveSettings(
        targets={Signal.TOKENS: share * fleet.tokens_per_second},
        tolerance=tolerance,
        down_window_s=60 * down_min,
    )


def candidates(learned: Learned, window: Window, fleet: FluidFleet) -> dict[str, Candidates]:
    """Return every policy's settings, by name: a policy for one replay is made at each call."""
    size = window.demand.size
    ones, most = np.ones(size, dtype=np.int64), np.full(size, 3 * PEAK_HOSTS)
    whole = int(fleet.needed(learned.known(window)).max())
    found: dict[str, Candidates] = {"static": {f"{whole} hosts": lambda: Static(hosts=whole)}}
    found["hpa"] = {
        f"target {100 * share:g} %": lambda share=share: Reactive(
            settings=targets(share, fleet), minimums=ones, maximums=most
        )
        for share in HPA_TARGETS
    }
    found["cron_hpa"] = {
        f"{'median' if q == 0.5 else 'most'} of {CRON_WEEKS} weeks, target {100 * share:g} %": (
            lambda share=share, floor=floor: Reactive(
                settings=targets(share, fleet), minimums=floor, maximums=most
            )
        )
        for q in CRON_QUANTILES
        for floor in [cron(learned, window, fleet, quantile=q)]
        for share in CRON_TARGETS
    }
    found["schedule_hpa"] = {
        f"P{100 * q:g}, target {100 * share:g} %": (
            lambda share=share, floor=floor: Reactive(
                settings=targets(share, fleet), minimums=floor, maximums=most
            )
        )
        for q in PLAN_QUANTILES
        for floor in [learned.schedules(window, fleet, quantile=q, minimum=q).minimum]
        for share in PLAN_TARGETS
    }
    sizes = learned.schedules(window, fleet, quantile=0.99, minimum=OUR_MINIMUM)
    found[OURS] = {
        f"SLO {100 * slo:g} %, down {down} min": lambda days=days, down=down: Anticipating(
            settings=targets(1.0, fleet, tolerance=0.0, down_min=down),
            minimums=sizes.minimum,
            maximums=most,
            unseen=sizes.desired,
            days=days,
        )
        for slo, days in learned.nowcasts(window, fleet, OUR_SLOS).items()
        for down in OUR_DOWN_MIN
    }
    return found


def cron(learned: Learned, window: Window, fleet: FluidFleet, *, quantile: float) -> Counts:
    """Return a weekly cron's minimums: by the hour of the week, made anew every seven days.

    Each hour takes a quantile over four weeks of what its highest minute needed, and is scaled to a
    cold start early.
    """
    values, size = learned.demand.series.values, window.demand.size
    floor = np.zeros(size + fleet.cold_start, dtype=np.int64)
    for start in range(0, floor.size, A_WEEK):
        now = window.first * A_DAY + start
        weeks = min(CRON_WEEKS, now // A_WEEK)
        past = values[now - weeks * A_WEEK : now].reshape(weeks, -1, 60).max(axis=2)
        week = np.repeat(fleet.needed(np.quantile(past, quantile, axis=0)), 60)
        part = floor[start : start + A_WEEK]
        part[:] = week[: part.size]
    view = np.lib.stride_tricks.sliding_window_view(floor, fleet.cold_start + 1)
    return np.asarray(view.max(axis=1)[:size])


def run(learned: Learned, window: Window, fleet: FluidFleet) -> Iterator[Ran]:
    """Replay every setting of every policy."""
    best = oracle(window.demand, fleet, skip=A_DAY)
    yield Ran(policy="oracle", setting="", over_oracle=1.0, outcome=best)
    hosts = int(fleet.needed(window.demand[:1])[0])
    for policy, settings in candidates(learned, window, fleet).items():
        for setting, make in settings.items():
            found = replay(window.demand, make(), fleet, hosts=hosts, skip=A_DAY)
            yield Ran(
                policy=policy,
                setting=setting,
                over_oracle=found.gpu_hours / best.gpu_hours,
                outcome=found,
            )


def pick(tried: list[Ran], *, goal: float) -> Ran:
    """Return the cheapest that reached the goal; without one, the nearest to it."""
    wanted = goal + MARGIN * (100 - goal)
    reached = [ran for ran in tried if ran.outcome.slo_pct >= wanted]
    if reached:
        return min(reached, key=lambda ran: ran.over_oracle)
    return max(tried, key=lambda ran: ran.outcome.slo_pct)


def report(demand: Demand, cold_start: int, goal: float) -> JsonDict:
    """Tune on one window, print and return the other."""
    learned = Learned(demand)
    tuning, held_out = windows(demand)
    fleet = FluidFleet(
        tokens_per_second=float(np.quantile(demand.series.values[: held_out.first * A_DAY], 0.999))
        / PEAK_HOSTS,
        cold_start=cold_start,
        drain=DRAIN_MIN,
    )
    print(
        f"\n{demand.name}, cold start {cold_start} min, goal {goal:g} %: "
        f"tuned on days {tuning.first + 2} to {tuning.last}, reported on days "
        f"{held_out.first + 2} to {held_out.last}"
    )
    tuned = list(run(learned, tuning, fleet))
    reported = list(run(learned, held_out, fleet))
    print_grid(tuned, reported)
    picked = {}
    for policy in dict.fromkeys(ran.policy for ran in reported):
        setting = pick([r for r in tuned if r.policy == policy], goal=goal).setting
        picked[policy] = next(r for r in reported if r.policy == policy and r.setting == setting)
    ours = picked[OURS].outcome.slo_pct
    print(f"{'':14}| over oracle   SLO   served   starts | at ours | setting")
    rows: JsonDict = {}
    for policy, ran in picked.items():
        same = [r.over_oracle for r in reported if r.policy == policy and r.outcome.slo_pct >= ours]
        rows[policy] = row(ran, min(same, default=np.nan))
        print_row(ran, min(same, default=np.nan))
    return rows


def on_requests(demand: Demand, rows: JsonDict) -> JsonDict:
    """Replay eight hours of the second reported day request by request, with the settings picked.

    The demand is scaled so that its peak needs five hosts of the engine. What is learned from has
    the noise of requests that come by chance, as a gateway would have measured it.
    """
    print(f"\n{demand.name}, request by request")
    machines, speed, lengths = engine_fleet()
    _, held_out = windows(demand)
    known = demand.series.values[: held_out.first * A_DAY]
    values = demand.series.values * speed * REQUEST_HOSTS / float(np.quantile(known, 0.999))
    measured = counted(values, lengths, seed=SEED)
    scaled = replace(demand, series=replace(demand.series, values=measured))
    day, last = held_out.first + 1, held_out.first + 2
    window = Window(first=day, last=last, demand=values[day * A_DAY : last * A_DAY])
    fleet = FluidFleet(
        tokens_per_second=speed, cold_start=round(machines.cold_start_s / 60), drain=DRAIN_MIN
    )
    found = candidates(Learned(scaled), window, fleet)
    part = slice(*REQUEST_MINUTES)
    policies: dict[str, Policy] = {
        name: Late(policy=found[name][rows[name]["setting"]](), steps=part.start)
        for name in ("hpa", "cron_hpa", OURS)
    }
    policies["static"] = Static(hosts=int(fleet.needed(window.demand).max()))
    plan = oracle(window.demand, fleet).ready
    ahead = np.lib.stride_tricks.sliding_window_view(
        np.pad(plan, (0, fleet.cold_start), mode="edge"), fleet.cold_start + 1
    ).max(axis=1)
    policies["fluid_oracle"] = Late(policy=Scheduled(hosts=ahead), steps=part.start)
    return compare(window.demand[part], policies, machines, lengths, hosts=int(plan[part.start]))


@dataclass(slots=True, kw_only=True)
class Late:
    """A policy for a whole day that is asked from a later step on."""

    policy: Policy
    steps: int

    def desired(self, seen: Seen) -> int:
        """Return what the policy wants at that step of its day."""
        return self.policy.desired(replace(seen, step=seen.step + self.steps))


def row(ran: Ran, at_ours: float) -> JsonDict:
    """Return a policy's figures."""
    return {
        "gpu_hours_over_oracle": round(ran.over_oracle, 4),
        "slo_pct": round(ran.outcome.slo_pct, 3),
        "served_pct": round(ran.outcome.served_pct, 4),
        "gpu_hours": round(ran.outcome.gpu_hours, 1),
        "starts": ran.outcome.starts,
        "stops": ran.outcome.stops,
        "setting": ran.setting,
        "gpu_hours_over_oracle_at_our_slo": round(at_ours, 4) if np.isfinite(at_ours) else None,
    }


def print_row(ran: Ran, at_ours: float) -> None:
    found = ran.outcome
    same = f"{at_ours:6.3f}x" if np.isfinite(at_ours) else "   none"
    print(
        f"{ran.policy:14}|{ran.over_oracle:9.3f}x {found.slo_pct:8.3f} {found.served_pct:8.3f} "
        f"{found.starts:8} | {same} | {ran.setting}"
    )


def print_grid(tuned: list[Ran], reported: list[Ran]) -> None:
    """Print all settings, as tuned and as reported."""
    print(f"{'':14}| tuning: over, SLO | reported: over, SLO")
    for before, after in zip(tuned, reported, strict=True):
        if before.policy != "oracle":
            print(
                f"{before.policy:14}| {before.over_oracle:6.3f}x {before.outcome.slo_pct:8.3f} | "
                f"{after.over_oracle:6.3f}x {after.outcome.slo_pct:8.3f}    | {before.setting}"
            )


def load() -> list[tuple[Demand, float]]:
    """Return the demands and their goals.

    Raises:
        InputError: the file that was named can't be used, or SLO_GOAL is no percentage.
    """
    named = os.environ.get("DEMAND")
    if named:
        return [(read(Path(named).expanduser()), slo_goal())]
    first = read(TAYLOR) if TAYLOR.is_file() else smooth(SEED)
    return [
        (first, SMOOTH_GOAL),
        (noisy(first, seed=SEED, spread=0.03), SMOOTH_GOAL),
        (bursty(SEED), BURSTY_GOAL),
    ]


def read(path: Path) -> Demand:
    """Return a file's demand.

    Raises:
        InputError: it can't be read, or holds no demand.
    """
    if not path.is_file():
        raise InputError(f"DEMAND={path} is not a file: name a CSV file of times and values")
    name = path.parent.name if path.stem == "demand" else path.stem
    try:
        file = read_series(path, name=name)
    except (OSError, UnicodeDecodeError, csv.Error, InputError) as error:
        raise InputError(f"DEMAND={path} can't be read: {error}") from error
    demand = by_minute(name, file.series.times, file.series.values)
    for note in (*file.notes, *demand.notes):
        print(f"  {name}: {note}")
    windows(demand)
    return demand


def slo_goal() -> float:
    """Return the goal for a file.

    Raises:
        InputError: it is no percentage.
    """
    text = os.environ.get("SLO_GOAL") or str(OTHER_GOAL)
    try:
        goal = float(text)
    except ValueError:
        goal = np.nan
    if not 50 <= goal < 100:
        raise InputError(f"SLO_GOAL={text} must be a percentage from 50 to below 100")
    return goal


def main() -> int:
    """Replay, report, and end with one JSON object."""
    start = time.monotonic()
    try:
        demands = load()
        cases = {}
        for demand, goal in demands:
            for cold_start in COLD_STARTS_MIN:
                if demand.quick and cold_start != COLD_STARTS_MIN[0]:
                    continue
                rows = report(demand, cold_start, goal)
                cases[f"{demand.name}, {cold_start} min"] = rows
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    demand, _ = demands[-1]
    requests = on_requests(demand, cases[f"{demand.name}, {COLD_STARTS_MIN[0]} min"])
    print(f"\ntook {time.monotonic() - start:.0f} s")
    first = next(iter(cases.values()))
    print(json.dumps({**first, "cases": cases, "requests": requests}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
