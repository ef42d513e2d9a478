"""The demo's second half: what passed goes live beside its parent, while clients keep asking."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greenlight.adapters.airflow_api import FINISHED, AirflowApi, TaskState
from greenlight.core.digest import digest_json
from greenlight.core.errors import GateError
from greenlight.core.settings import Settings
from greenlight.core.types import JsonDict
from greenlight.deploy.fleet import load_fleet
from greenlight.entrypoints import approvals
from greenlight.entrypoints.deploy import open_deploy

if TYPE_CHECKING:
    from greenlight.adapters.traffic import Traffic, TrafficCounts

DAG = "deploy_blue_green"
FLEET = "demo"
ROLLOUT = "demo"
POLL_S = 1.0
CLIENTS_RATE = 0.3
"""Requests a second: what two cores answer beside two engines and the golden load."""

Say = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Shares:
    """The new colour's share of traffic, as it changed. Seconds since the deploy began."""

    seen: list[tuple[float, int]] = field(default_factory=list)

    def note(self, at_s: float, share: int) -> None:
        """Keep a share when it is another than before."""
        if not self.seen or self.seen[-1][1] != share:
            self.seen.append((at_s, share))

    def __str__(self) -> str:
        """Return such as `0 % 0:00, 50 % 1:10`."""
        return ", ".join(f"{share} % {int(s) // 60}:{int(s) % 60:02}" for s, share in self.seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployDemo:
    """One deploy through Airflow, and what became of it."""

    api: AirflowApi
    settings: Settings
    fleet: str = FLEET
    rollout: str = ROLLOUT

    def start_with(self, version: int, *, digest: str, say: Say) -> list[JsonDict]:
        """Give an empty fleet its first version; on another, start again what is live there."""
        deploy = open_deploy(self.fleet, settings=self.settings)
        live = deploy.status()["live"]
        if live is None:
            say(f"Deploying the first version of fleet {self.fleet}: Airflow runs {DAG}")
            return [self.go_live(version, digest=digest, say=say)]
        say(f"Version {live['version']} is live on {self.fleet}; starting what of it is not up")
        deploy.start()
        return []

    def go_live(self, version: int, *, digest: str, say: Say) -> JsonDict:
        """Deploy a version unless it is live, and return how the rollout ended.

        Raises:
            GateError: it did not go live; the message is that of the task that failed.
        """
        deploy = open_deploy(self.fleet, settings=self.settings)
        live = deploy.status()["live"]
        if live and live["digest"] == digest:
            return {"version": version, "digest": digest, "shares": "100 %"}
        conf = {"fleet": self.fleet, "version": version, "rollout": self.rollout}
        name, began = f"demo-{digest_json(conf)[:8]}", time.monotonic()
        run_id = self.api.start_attempt(DAG, name=name, conf=conf)
        shares, seen = Shares(), set[tuple[str, int]]()
        while (state := self.api.run_state(DAG, run_id)) not in FINISHED:
            self._say_ended(run_id, seen, say)
            shares.note(time.monotonic() - began, self._share(deploy.status(), version))
            time.sleep(POLL_S)
        self._say_ended(run_id, seen, say)
        shares.note(time.monotonic() - began, self._share(deploy.status(), version))
        if state != "success":
            raise GateError(f"run {run_id}: {self.api.why_failed(DAG, run_id)}")
        return {"version": version, "digest": digest, "shares": str(shares)}

    def _say_ended(self, run_id: str, seen: set[tuple[str, int]], say: Say) -> None:
        for task in self.api.tasks(DAG, run_id):
            key = (task.task_id, task.map_index)
            if task.ended and key not in seen and task.state != "skipped":
                seen.add(key)
                say(f"  {_name(task)}: {task.state}, {_seconds(task):.0f} s")

    def _share(self, status: JsonDict, version: int) -> int:
        running = status["rollout"]
        if running and running["version"] == version:
            return int(running["share"])
        live = status["live"]
        return 100 if live and live["version"] == version else 0


def approve_baseline(settings: Settings, *, model: str, version: int, by: str) -> None:
    """Approve what the fleet starts with, as `greenlight approvals approve --baseline` does."""
    if not approvals.standing(settings, model=model, version=version)["approved"]:
        approvals.record(
            settings, model=model, version=version, decision="approved", by=by,
            reason="what runs before anything was quantized", baseline=True,
        )  # fmt: skip


@contextmanager
def clients(settings: Settings) -> Iterator[Traffic]:
    """Send requests through the fleet's router inside the block."""
    from greenlight.adapters.load_plan import LoadPlan
    from greenlight.adapters.traffic import Traffic
    from greenlight.entrypoints.rollout_smoke import DEFAULT_PROMPTS

    fleet = load_fleet(settings.config_file("fleet"), FLEET)
    plan = LoadPlan(rate=CLIENTS_RATE, prompts=DEFAULT_PROMPTS, stream_share=0.7, timeout_s=120.0)
    url = f"http://{fleet.router.address}:{fleet.router.port}"
    with Traffic(url, model=fleet.model, plan=plan) as traffic:
        yield traffic


def rows(deploys: list[JsonDict], counts: TrafficCounts, drill: JsonDict) -> list[JsonDict]:
    """Return the table at the end: every deploy, the clients, the way back of a bad version."""
    return [
        *(
            {
                "what": f"version {entry['version']} ({entry['digest'][:12]})",
                "result": f"live; share over time: {entry['shares']}",
            }
            for entry in deploys
        ),
        {
            "what": "clients' requests",
            "result": f"{counts.requests}, failed {counts.failed}, non-2xx {counts.non_2xx}, "
            f"truncated streams {counts.truncated}",
        },
        {
            "what": f"a bad version ({drill['fault']}, simulated engines)",
            "result": f"caught after {drill['detection_s']:.1f} s, back on the old one in "
            f"{drill['actuation_s']:.2f} s, {drill['dropped']} of {drill['requests']} dropped",
        },
    ]


def _name(task: TaskState) -> str:
    return f"{task.task_id} [{task.label}]" if task.label else task.task_id


def _seconds(task: TaskState) -> float:
    return (task.ended - (task.started or task.ended)).total_seconds() if task.ended else 0.0
