"""Switches and rollbacks under clients' load, beside the switch by a HAProxy reload.

Run it with `make bench-deploy`; about seven minutes. Ten simulated hosts, two engine processes on
each, behind one real HAProxy; clients ask without waiting for answers (open loop), half of them for
streams, and check every answer to its terminal event and its count of tokens.

* A switch: 10, 50, 100 % to the idle colour, one shift after the other, timed from the first call
  until all servers are read back. Engines of both colours are warm: what is timed is the router.
* A rollback: half goes to green, watched by the shipped step (`Steps.move`: lease, journal, load on
  both colours, the `standard` analysis with all of its rules, a look every second). One to two
  seconds after it began to watch, every green engine gets slow: its first token takes 2.5 s. Timed
  from before the fault is set until the router has read back that everything is on blue.

The fault slows and fails nothing, so that not one of the clients' requests may fail in the whole
run: an engine's own errors would hide those of a switch. Leases and journal are in memory; with
Postgres each of a rollback's few writes takes milliseconds more. A fault that begins late in a step
has to outweigh what was measured before, and takes longer: `benchmarks/analysis.py`.

The peer is the same HAProxy switched by a reload. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from deploy_world import BLUE, GREEN, Clients, World, reloaded_router
from greenlight.adapters.traffic import TrafficCounts
from greenlight.core.types import JsonDict
from greenlight.deploy.rollout_file import RolloutSettings
from greenlight.testing.local_fleet import local_fleet

SEED = 20_261_124
STEPS = (10, 50, 100)
PAUSE_S = 0.5
"""Between switches: a few hundred requests on each colour."""
CARRIED, SHORTER, PROBE_S = 0.97, 0.8, 8.0
"""A rate is carried when so much of it is answered; else it is lowered so far and tried again."""
LEAST = 10.0
SAY_EVERY = 10


def main() -> None:
    """Run it, print what was found, and end with one JSON object."""
    chosen = arguments()
    logging.disable(logging.WARNING)
    settings = RolloutSettings.model_validate(
        {"analysis": {"preset": "standard"}, "load": {"rate": chosen.probe_rate}}
    )
    start = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="greenlight-bench-") as folder,
        local_fleet(Path(folder) / "fleet", hosts=chosen.hosts) as fleet,
    ):
        say(start, f"starting {2 * chosen.hosts} engines on {chosen.hosts} hosts")
        world = World(fleet, settings)
        rate = carried_rate(fleet.url, chosen.rate, start)
        clients = Clients(fleet.url, rate=rate)
        switched = switches(world, chosen.switches, clients, start)
        back = rollbacks(world, chosen.rollbacks, clients, start)
        counts, rps = clients.stop()
        say(start, f"{told(counts)}; {rps:.0f} answered a second")
        peer = reloads(world, chosen.reloads, rate, start)
    found = {
        "rps": round(rps, 1),
        "requests": counts.requests,
        "failed": counts.failed,
        "truncated": counts.truncated,
        "switches": len(switched),
        "rollbacks": len(back),
        "switch_p99_s": quantile(switched, 0.99),
        "breach_to_blue_p95_s": quantile(back, 0.95),
        "non_2xx": counts.non_2xx,
        "miscounted": counts.miscounted,
        "streams": counts.streams,
        "switch_p50_s": quantile(switched, 0.5),
        "breach_to_blue_p50_s": quantile(back, 0.5),
        "breach_to_blue_most_s": quantile(back, 1.0),
        "interval_s": settings.analysis.interval_s,
        "false_alarms": chosen.rollbacks - len(back),
        "hosts": chosen.hosts,
        "rate": rate,
        **peer,
    }
    say(start, "done")
    print(json.dumps(found))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default, what in (
        ("hosts", 10, "simulated hosts, two engines each"),
        ("rate", 440.0, "clients' requests a second; lowered when this machine does not carry it"),
        ("probe-rate", 60.0, "requests a second of the watch's own load, to each colour"),
        ("switches", 100, "switches"),
        ("rollbacks", 100, "rollbacks"),
        ("reloads", 60, "switches by reload, of the peer"),
    ):
        parser.add_argument(
            f"--{name}", type=type(default), default=default, help=f"{what} (%(default)s)"
        )
    return parser.parse_args()


def carried_rate(url: str, wanted: float, start: float) -> float:
    """Return the highest rate, from `wanted` down, of which nearly all is answered in time."""
    rate = wanted
    while True:
        clients = Clients(url, rate=rate)
        time.sleep(PROBE_S)
        late = clients.counts().in_flight
        _, rps = clients.stop()
        say(start, f"{rate:.0f} requests/s: {rps:.0f} answered a second, {late} in flight at last")
        if (rps >= CARRIED * rate - 1 and late < rate / 2) or rate < LEAST:
            return rate
        rate *= SHORTER


def switches(world: World, count: int, clients: Clients, start: float) -> list[float]:
    """Switch to and fro; return the seconds that each took."""
    took = []
    for number in range(count):
        took.append(world.switch(BLUE if number % 2 else GREEN, STEPS))
        time.sleep(PAUSE_S)
        if (number + 1) % SAY_EVERY == 0:
            most = max(took) * 1000
            say(start, f"{number + 1} switches, longest {most:.0f} ms; {told(clients.counts())}")
    world.switch(BLUE, (100,))
    return took


def rollbacks(world: World, count: int, clients: Clients, start: float) -> list[float]:
    """Plant faults; return the seconds until everything was on blue."""
    took: list[float] = []
    rules: Counter[str] = Counter()
    draw = random.Random(SEED)
    for number in range(count):
        back = world.rollback(number, lead_s=draw.uniform(1, 2))
        if back.seconds is None:
            print(f"false alarm before a fault was there: {back.reason}", flush=True)
            continue
        took.append(back.seconds)
        rules[back.reason.split()[3].rstrip(":")] += 1  # "at 50 %: RULE: …"
        if (number + 1) % SAY_EVERY == 0:
            say(start, f"{number + 1} rollbacks, p95 {quantile(took, 0.95)} s, longest "
                f"{max(took):.2f} s; {told(clients.counts())}")  # fmt: skip
    print(f"rules that noticed it: {dict(rules.most_common())}")
    return took


def reloads(world: World, count: int, rate: float, start: float) -> JsonDict:
    """Switch the peer to and fro under the same load; return what became of it."""
    with reloaded_router(world.fleet) as peer:
        clients = Clients(peer.url, rate=rate)
        took = []
        for number in range(count):
            took.append(peer.switch(BLUE if number % 2 else GREEN))
            time.sleep(PAUSE_S)
        counts, _ = clients.stop()
    say(start, f"by reload: {count} switches, p99 {quantile(took, 0.99)} s; {told(counts)}")
    return {
        "reload_switches": count,
        "reload_requests": counts.requests,
        "reload_failed": counts.failed,
        "reload_truncated": counts.truncated,
        "reload_switch_p99_s": quantile(took, 0.99),
    }


def told(counts: TrafficCounts) -> str:
    """Return counts as a phrase."""
    return (
        f"{counts.requests:,} requests ({counts.streams:,} streams), {counts.failed} failed, "
        f"{counts.non_2xx} not 200, {counts.truncated} truncated"
        + (f" {counts.reasons}" if counts.failed else "")
    )


def quantile(seconds: list[float], p: float) -> float | None:
    """Return a quantile, of nothing none."""
    return round(float(np.quantile(seconds, p)), 3) if seconds else None


def say(start: float, text: str) -> None:
    """Print a line of progress."""
    print(f"[{time.monotonic() - start:4.0f} s] {text}", flush=True)


if __name__ == "__main__":
    main()
