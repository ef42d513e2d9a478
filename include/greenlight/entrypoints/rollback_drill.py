"""Deploy a version with a planted fault to a shadow fleet, and time how it is caught.

The shadow fleet has the real router, real host agents and the real rollout; only its engines are
simulated, and its journal is in memory. Clients send requests all the while.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.errors import GateError, InputError
from greenlight.core.settings import Settings, load_settings
from greenlight.core.types import JsonDict
from greenlight.deploy.journal import Event, Phase, Step
from greenlight.deploy.request import DeployRequest
from greenlight.registry.ports import RunLog

if TYPE_CHECKING:
    from greenlight.deploy.ports import JournalStore
    from greenlight.registry.ports import ModelRegistry
    from greenlight.testing.local_fleet import LocalFleet

log = logging.getLogger(__name__)

FAULTS: Mapping[str, JsonDict] = {
    "slow first token": {"slow_first_token": 1.5},
    "slow tokens": {"slow_tokens": 1.5},
    "errors": {"error_rate": 0.05},
    "cut streams": {"cut_stream": 0.1},
}
"""What can be planted, by name: an engine's settings. Each is worse than `drill` allows."""

HEALTHY: JsonDict = {"first_token_s": 0.03, "token_s": 0.004, "tokens": 8, "jitter": 0.2}
CLIENTS_RATE = 40.0
HOSTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """What a drill measured, in seconds.

    `detection_s`: from the first request that the broken version could get to the verdict.
    `actuation_s`: from the verdict until everything was back. `dropped`: requests of clients that
    failed beside those that the planted fault itself spoilt.
    """

    fault: str
    caught: bool
    reason: str | None
    detection_s: float | None
    actuation_s: float | None
    requests: int
    dropped: int

    def to_json(self) -> JsonDict:
        """Return plain JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def drill(
    fault: str,
    *,
    settings: Settings | None = None,
    registry: ModelRegistry | None = None,
    clock: Clock | None = None,
) -> JsonDict:
    """Plant one fault, keep what was measured in MLflow, and return it.

    Raises:
        InputError: there is no such fault.
        GateError: it wasn't caught, or catching it cost a client a request.
    """
    from greenlight.entrypoints.models import open_registry

    if fault not in FAULTS:
        raise InputError(f"there is no fault {fault!r} to plant; there are {', '.join(FAULTS)}")
    settings = settings or load_settings()
    measured = run(settings, fault=fault, planted=FAULTS[fault])
    now = (clock or SystemClock()).now()
    kept = (registry or open_registry(settings)).log_run(_run_log(measured, now))
    log.info("drill %s: %s; kept at %s", fault, measured.to_json(), kept.url)
    _require_caught(measured)
    return measured.to_json() | {"url": kept.url}


def run(settings: Settings, *, fault: str, planted: JsonDict) -> Drill:
    """Do the drill in a scratch folder; nothing of it is left."""
    from greenlight.testing.local_fleet import local_fleet
    from greenlight.testing.simulation import Simulation

    settings.work.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=settings.work, prefix=".drill-") as scratch,
        local_fleet(Path(scratch), hosts=HOSTS) as fleet,
    ):
        fleet.add_version(1, Simulation.model_validate(HEALTHY))
        fleet.add_version(2, Simulation.model_validate(HEALTHY | planted))
        return _deploy_both(fleet, settings, fault=fault)


def _deploy_both(fleet: LocalFleet, settings: Settings, *, fault: str) -> Drill:
    from greenlight.adapters.load_plan import LoadPlan
    from greenlight.adapters.traffic import Traffic
    from greenlight.deploy.rollout_file import load_rollout
    from greenlight.entrypoints.rollout_smoke import DEFAULT_PROMPTS
    from greenlight.testing.local_fleet import MODEL
    from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases

    rollout = load_rollout(settings.config_file("rollout"), "drill").model_dump(mode="json")
    leases = MemoryLeases(SystemClock().now)
    journal = MemoryJournal(leases)
    deploy = fleet.deploy(leases=leases, journal=journal, rollout=rollout)
    request = DeployRequest(fleet=fleet.fleet.name, version=1)
    deploy.run(request, rollout_id="healthy", by="rollback drill")
    plan = LoadPlan(rate=CLIENTS_RATE, prompts=DEFAULT_PROMPTS, stream_share=0.5, timeout_s=30)
    reason: str | None = None
    with Traffic(fleet.url, model=MODEL, plan=plan) as traffic:
        try:
            deploy.run(
                request.model_copy(update={"version": 2}), rollout_id="broken", by="rollback drill"
            )
        except GateError as error:
            reason = str(error).partition("\n")[0]
    counts = traffic.counts
    detection_s, actuation_s = times(journal, "broken")
    spoilt = fault in ("errors", "cut streams")
    return Drill(
        fault=fault,
        caught=reason is not None,
        reason=reason,
        detection_s=detection_s,
        actuation_s=actuation_s,
        requests=counts.requests,
        dropped=0 if spoilt else counts.failed,
    )


def times(journal: JournalStore, rollout_id: str) -> tuple[float | None, float | None]:
    """Return detection and actuation in seconds from a journal; `None`: it did not happen.

    The way back begins with the verdict: what looks also acts.
    """
    events = journal.events(rollout_id)
    exposed = _first(events, Step.SHIFT, Phase.BEGAN)
    verdict = _first(events, Step.ROLL_BACK, Phase.BEGAN)
    back = _first(events, Step.ROLL_BACK, Phase.DONE)
    if exposed is None or verdict is None or back is None:
        return None, None
    return (verdict - exposed).total_seconds(), (back - verdict).total_seconds()


def _first(events: tuple[Event, ...], step: Step, phase: Phase) -> datetime | None:
    return next((e.at for e in events if e.step is step and e.phase is phase), None)


def _require_caught(measured: Drill) -> None:
    if not measured.caught:
        raise GateError(
            f"the planted fault ({measured.fault}) was not caught: the broken version went live on "
            "the shadow fleet. Look at the limits in rollout.yaml before the next deploy"
        )
    if measured.dropped:
        raise GateError(
            f"going back from the planted fault ({measured.fault}) cost clients "
            f"{measured.dropped} of {measured.requests} requests"
        )


def _run_log(measured: Drill, now: datetime) -> RunLog:
    numbers = {
        "detection_s": measured.detection_s,
        "actuation_s": measured.actuation_s,
        "requests": float(measured.requests),
        "dropped": float(measured.dropped),
        "caught": float(measured.caught),
    }
    return RunLog(
        key=f"rollback-drill-{measured.fault}-{now.isoformat()}",
        name=f"rollback drill: {measured.fault}",
        params={"fault": measured.fault},
        metrics={name: value for name, value in numbers.items() if value is not None},
        tags={"greenlight.kind": "rollback-drill"},
    )
