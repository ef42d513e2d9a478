"""A week in the life of one fleet, told to any stores: what the Greenlight page shows in tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from greenlight.backup.history import RESTORE, DrillRecord
from greenlight.backup.ladder import Drill, Outcome, Rung, RungResult
from greenlight.backup.ports import BackupHistory
from greenlight.backup.sets import set_id
from greenlight.core.digest import digest_bytes
from greenlight.core.types import JsonDict
from greenlight.cost.ports import CostStore
from greenlight.cost.savings import Recorded, State
from greenlight.deploy.analysis import Analysis, AnalysisSettings
from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Event, Phase, Rollout, Step
from greenlight.deploy.ports import JournalStore, LeaseStore
from greenlight.deploy.rollout_file import RolloutSettings
from greenlight.deploy.rules import RuleResult, Verdict
from greenlight.scaling.kept import KeptSchedule, ScheduleState
from greenlight.scaling.look_back import LookBack
from greenlight.scaling.ports import ScheduleStore
from greenlight.scaling.schedule import Expected, Limits, Schedule, Size, WeeklyEntry
from greenlight.scaling.schedule_file import write_schedule
from greenlight.testing.costs_contract import a_line, an_hour
from greenlight.testing.history_contract import a_run

FLEET, MODEL, RUNNING = "demo", "chat", "to-9"
HOSTS = ("gpu-1", "gpu-2")
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
FLEETS: JsonDict = {
    "fleets": [
        {
            "name": FLEET,
            "model": MODEL,
            "engine": {"kind": "simulator", "kv_cache_gb": 6, "memory_gb": 2},
            "router": {"port": 18100},
            "hosts": [
                {"name": host, "root": host, "gpu_memory_gb": 32,
                 "slots": {"blue": {"port": 18101 + 2 * n}, "green": {"port": 18102 + 2 * n}}}
                for n, host in enumerate(HOSTS)
            ],
        }
    ]
}  # fmt: skip
ROLLOUT = RolloutSettings(analysis=AnalysisSettings.of())
SCALING: JsonDict = {"fleets": {FLEET: {"ceiling": 9}}}
PRICES: JsonDict = {
    "currency": "EUR",
    "prices": [
        {"sku": "local", "term": "on_demand", "price": 0.8, "region": "local",
         "valid_from": "2026-01-01T00:00:00Z", "source": "our own calculation"}
    ],
}  # fmt: skip
BUDGETS: JsonDict = {"currency": "EUR", "budgets": [{"name": "everything", "amount": 500}]}


def tell_rollouts(journal: JournalStore, leases: LeaseStore, *, now: datetime) -> None:
    """6 was live, 7 is, 8 was taken back, and 9 is on its way at half of the traffic."""
    for version, ago, outcome in ((6, 20 * DAY, "live"), (7, 5 * DAY, "live"), (8, 3 * DAY, "")):
        rollout = _rollout(version, at=now - ago)
        journal.open_rollout(rollout)
        reason = f"version {version} serves everybody"
        if not outcome:
            outcome = "rolled back"
            reason = "at 10 %: ttft-p95: slower than allowed by 12 %"
        _tell(journal, rollout, Step.FINISH, {"outcome": outcome, "reason": reason}, after=HOUR)
    running = _rollout(9, at=now - 6 * MINUTE)
    journal.open_rollout(running)
    for host in HOSTS:
        _tell(journal, running, Step.PREPARE, {}, subject=host, after=MINUTE)
    for number, share in enumerate((10, 50)):
        after = (2 + 2 * number) * MINUTE
        _tell(journal, running, Step.SHIFT, {"share": share}, subject=str(share), after=after)
        told = {} if share == 50 else a_look(Verdict.PASS)
        phase = Phase.BEGAN if share == 50 else Phase.DONE
        _tell(journal, running, Step.ANALYSE, told, subject=str(share), after=after, phase=phase)
    look = {"where": "at 50 %", "look": a_look(Verdict.INSUFFICIENT)}
    _tell(journal, running, Step.ANALYSE, look, subject="50", after=5 * MINUTE, phase=Phase.BEGAN)
    leases.acquire(FLEET, holder=running.id, ttl_s=60)


def a_look(verdict: Verdict, *, reason: str = "the bound clears the limit") -> JsonDict:
    """Return what a look at both colours says."""
    rules = (
        RuleResult(
            rule="errors", verdict=Verdict.PASS, reason=reason, blue=0.0, green=0.001,
            estimate=0.001, low=None, high=0.006, at_most=0.01, confidence=0.99, n_blue=1204,
            n_green=1198,
        ),
        RuleResult(
            rule="ttft-p95", verdict=verdict, reason="505 requests would settle it",
            blue=0.41, green=0.44, estimate=1.07, low=0.98, high=1.41, at_most=1.35,
            confidence=0.99, n_blue=412, n_green=408, n_needed=505,
        ),
        RuleResult(rule="live-ttft", verdict=Verdict.NOT_MEASURED, reason="engines can't be read"),
    )  # fmt: skip
    return Analysis(
        verdict=verdict, results=rules, elapsed_s=61.5, step_max_s=300.0, checkpoint=False,
        n_blue=1204, n_green=1198,
    ).to_json()  # fmt: skip


def tell_backups(history: BackupHistory, *, now: datetime) -> None:
    """Two nights of backups, one drill that passed and one that didn't, and planted damage."""
    for nights, outcome in ((2, Outcome.PASS), (1, Outcome.PASS), (0, Outcome.INCONCLUSIVE)):
        run = a_run(began_at=now - nights * DAY - 3 * HOUR, outcome=outcome, by="Airflow")
        failed = ["region b does not answer"] if outcome is not Outcome.PASS else []
        history.add_run(replace(run, detail={"failed": failed}))
    for region, climbed in (("a", len(Rung)), ("b", 4)):
        history.add_drill(_drill(region, climbed, at=now - HOUR))
    for kind in ("flipped byte", "missing segment of the log"):
        record = _drill("a", 2, at=now - 2 * DAY, name=kind)
        history.add_drill(replace(record, kind=kind, outcome=Outcome.PASS))


def tell_costs(store: CostStore, *, now: datetime, currency: str = "EUR", days: int = 2) -> None:
    """A bill for each whole hour of the last days, and three pieces of advice."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    for back in range(1, 24 * days + 1):
        at = hour - back * HOUR
        nanos = (900 if 8 <= at.hour < 20 else 540) * 10**6
        made = an_hour(at, replace(a_line(at, cost=nanos), currency=currency))
        store.save_hour(replace(made, currency=currency))
    for name, state, saving in (
        ("gpu-1", State.OPEN, "292.00"),
        ("gpu-2", State.OPEN, "146.00"),
        ("gateway-1", State.ACCEPTED, "31.50"),
    ):
        store.save_advice(_advice(name, state, Decimal(saving), at=hour - DAY, currency=currency))


def tell_schedules(store: ScheduleStore, *, now: datetime) -> None:
    """One that is applied, with three days behind it, and one that waits for a yes."""
    applied = replace(
        a_schedule(made_at=now - 2 * DAY, busy=5),
        state=ScheduleState.APPLIED, applied_at=now - 2 * DAY + MINUTE, applied_by="Airflow",
        decided_by="ana", decided_at=now - 2 * DAY,
    )  # fmt: skip
    store.add(applied)
    for back in range(1, 4):
        day = (now - back * DAY).date()
        store.save_look_back(
            FLEET,
            LookBack(
                day=day, share=0.99, planned_hours=72.0, hours=74.5, spare_hours=6.2,
                planned_slo_pct=99.8, slo_pct=99.94, error=0.11, worst_hour=9,
            ),
        )  # fmt: skip
    waiting = a_schedule(made_at=now - HOUR, busy=8)
    store.add(replace(waiting, waits_for=("GPU-hours rise by 42 %, more than 20 %",)))


def a_schedule(*, made_at: datetime, busy: int) -> KeptSchedule:
    """Return a schedule of a quiet night and a busy day."""
    size = {
        name: Size(minimum=low, desired=low, maximum=9) for name, low in (("n", 2), ("d", busy))
    }
    entries = []
    for day in range(7):
        midnight = day * 1440
        hours = ((0, 480, "n"), (480, 1200, "d"), (1200, 1440, "n"))
        entries += [
            WeeklyEntry(
                start=midnight + start, end=(midnight + end) % 10080, size=size[name],
                reason="learned",
            )
            for start, end, name in hours
        ]  # fmt: skip
    schedule = Schedule(
        fleet=FLEET, zone="UTC", made_at=made_at, lead_s=240.0, gpus_per_host=1,
        basis="a benchmark", limits=Limits(floor=1, ceiling=9), weekly=tuple(entries),
        expected=Expected(slo_pct=99.9, gpu_hours=84.0 * (busy + 2)),
    )  # fmt: skip
    text = write_schedule(schedule)
    return KeptSchedule(
        digest=digest_bytes(text.encode()), fleet=FLEET, text=text, state=ScheduleState.PROPOSED,
        made_at=made_at, made_by="Airflow", expected_slo_pct=99.9, gpu_hours=84.0 * (busy + 2),
    )  # fmt: skip


def _rollout(version: int, *, at: datetime) -> Rollout:
    is_first = version == 6
    return Rollout(
        id=f"to-{version}", fleet=FLEET, model=MODEL, version=version, digest=_digest(version),
        flags_digest="f" * 64, strategy="canary",
        colour=Colour.GREEN if version == 7 else Colour.BLUE,
        started_at=at, started_by="ana", previous_version=None if is_first else min(version - 1, 7),
        previous_digest=None if is_first else _digest(min(version - 1, 7)),
        request={"moves": ["10", "50", "100"], "settings": ROLLOUT.model_dump(mode="json")},
    )  # fmt: skip


def _digest(version: int) -> str:
    return digest_bytes(f"version {version}".encode())


def _tell(
    journal: JournalStore, rollout: Rollout, step: Step, detail: Mapping[str, Any], *,
    after: timedelta, subject: str = "", phase: Phase = Phase.DONE,
) -> None:  # fmt: skip
    journal.append(
        Event(
            rollout_id=rollout.id, at=rollout.started_at + after, step=step, phase=phase,
            subject=subject, detail=dict(detail),
        )
    )  # fmt: skip


def _drill(region: str, climbed: int, *, at: datetime, name: str = "") -> DrillRecord:
    """Return a drill that came so far; below the top, the rung after the last one failed."""
    rungs = [
        RungResult(rung=rung, outcome=Outcome.PASS, says="so it was", seconds=2.5)
        for rung in list(Rung)[:climbed]
    ]
    if climbed < len(Rung):
        last = list(Rung)[climbed]
        says = "sentinel 4711 of 02:13:58 is missing"
        rungs.append(RungResult(rung=last, outcome=Outcome.FAIL, says=says, seconds=0.5))
    whole = climbed == len(Rung)
    drill = Drill(
        id=f"{name or 'restore'}-{region}-{at:%Y%m%dT%H%M%SZ}", began_at=at, region=region,
        set_id=set_id(at - HOUR), target_at=at - MINUTE, rungs=tuple(rungs),
        rto_s=212.0 if whole else None, rpo_s=31.0, rows_lost=0 if whole else None,
        rows_ahead=0 if whole else None,
    )  # fmt: skip
    return DrillRecord(
        kind=RESTORE, drill=drill, outcome=drill.outcome,
        report_url="http://127.0.0.1:5000/#/experiments/0/runs/r/artifacts/report.html",
    )  # fmt: skip


def _advice(
    host: str, state: State, saving: Decimal, *, at: datetime, currency: str
) -> Recorded:  # fmt: skip
    why = "95 % of four weeks used at most 11 % of 16 vCPU"
    test = {"over": 0.001, "slack": 0.4, "held": 21, "withdrawn": 0, "not_enough": 0}
    size = {
        "answer": "size", "capacity": 4.0, "unit": "vCPU", "finding": "Overprovisioned",
        "reasons": ["CPUOverprovisioned"], "risk": 1, "why": why, "backtest": test,
    }  # fmt: skip
    return Recorded(
        id=f"size/{host}", resources=frozenset({host}), strategy="percentile_headroom",
        monthly_saving=saving, currency=currency,
        detail={"host": host, "target": "local-small", "effort": "Low", "resources": {"cpu": size}},
        state=state, made_at=at, changed_at=at,
        changed_by="ana" if state is State.ACCEPTED else "cost_rightsizing_hourly",
        hourly_before=Decimal("0.8") if state is State.ACCEPTED else None,
    )  # fmt: skip
