"""What `deploy.py` measures on: a local fleet with both colours warm, clients, faults, a peer.

Clients are a process of their own, so that what measures does not slow down what is measured.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

from greenlight.adapters.haproxy.config import render
from greenlight.adapters.haproxy.desired import Desired, servers_of
from greenlight.adapters.haproxy.router import HaproxyRouter
from greenlight.adapters.haproxy.runtime import SOCKET, RuntimeApi
from greenlight.adapters.load_plan import GoldenPrompt, LoadPlan
from greenlight.adapters.traffic import Traffic, TrafficCounts
from greenlight.core.errors import GateError, UnavailableError
from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Phase, Rollout, Step
from greenlight.deploy.ports import EngineState, ServerMode
from greenlight.deploy.rollout_file import RolloutSettings
from greenlight.entrypoints.rollout_steps import Steps
from greenlight.entrypoints.rollout_tools import Tools
from greenlight.testing.haproxy_worlds import haproxy_program
from greenlight.testing.local_fleet import FLEET, MODEL, LocalFleet
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases
from greenlight.testing.servers import free_port
from greenlight.testing.simulation import Simulation

BLUE, GREEN = Colour.BLUE, Colour.GREEN
VERSIONS = {BLUE: 1, GREEN: 2}
HEALTHY = Simulation(first_token_s=0.02, token_s=0.002, tokens=8)
SLOW = 125.0
"""Makes the first token 2.5 s late: beyond the preset's objective (2 s), yet answered in full."""
TIMEOUT_S, READY_S, POLL_S = 30.0, 120.0, 0.01
PROMPTS = tuple(GoldenPrompt(id=n, text=f"prompt number {n}", max_tokens=16) for n in range(20))
FILES = 8192
"""Connections of clients while an engine is slow: as many files may be open."""


class TimedRouter(HaproxyRouter):
    """Notes when each shift was read back. `all_blue_at` by `time.monotonic`; 0: never."""

    all_blue_at = 0.0

    def shift(self, shares: Mapping[Colour, int], *, fence: int,
              hosts: Sequence[str] | None = None) -> None:  # fmt: skip
        """Give each colour its share."""
        super().shift(shares, fence=fence, hosts=hosts)
        if shares.get(BLUE) == 100:
            self.all_blue_at = time.monotonic()


class Clients:
    """Clients' requests through a router, from `start` to `stop`, in their own process."""

    def __init__(self, url: str, *, rate: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_send, args=(url, rate, theirs), daemon=True)
        self._process.start()
        self._pipe.recv()
        self._began = time.monotonic()

    def counts(self) -> TrafficCounts:
        """Return what became of the requests so far."""
        self._pipe.send("counts")
        found: TrafficCounts = self._pipe.recv()
        return found

    def stop(self) -> tuple[TrafficCounts, float]:
        """Wait for every answer; return what became of all, and completed requests a second."""
        self._pipe.send("stop")
        found: TrafficCounts = self._pipe.recv()
        took = time.monotonic() - self._began
        self._process.join(TIMEOUT_S)
        return found, found.requests / took


def _send(url: str, rate: float, pipe: Connection) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    plan = LoadPlan(rate=rate, prompts=PROMPTS, stream_share=0.5, timeout_s=TIMEOUT_S,
                    max_in_flight=FILES)  # fmt: skip
    with Traffic(url, model=MODEL, plan=plan) as traffic:
        pipe.send("started")
        while pipe.recv() != "stop":
            pipe.send(traffic.counts)
    pipe.send(traffic.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """One rollback. `seconds`: from before the fault to everything on blue, read back.

    `None`: it went back before the fault was there.
    """

    seconds: float | None
    reason: str


class World:
    """The fleet, everything on blue, and what a rollout acts through."""

    def __init__(self, fleet: LocalFleet, settings: RolloutSettings) -> None:
        self.fleet, self._settings = fleet, settings
        self.router = TimedRouter(fleet.fleet, folder=fleet.root / "router")
        leases = MemoryLeases(lambda: datetime.now(UTC))
        deploy = fleet.deploy(leases=leases, journal=MemoryJournal(leases))
        self.tools: Tools = replace(deploy.tools, router=self.router)
        for version in VERSIONS.values():
            fleet.add_version(version, HEALTHY)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._start, fleet.hosts))
        modes = {(host, c): ServerMode.READY for host in fleet.hosts for c in Colour}
        self.router.set_modes(modes, fence=0)
        self.router.shift({BLUE: 100}, fence=0)

    def _start(self, name: str) -> None:
        host = self.fleet.hosts[name]
        for colour, version in VERSIONS.items():
            model = self.tools.models.folder(MODEL, version)
            host.put_model(model)
            host.start(colour, model=model)
        until = time.monotonic() + READY_S
        while any(host.status(colour).state is not EngineState.READY for colour in Colour):
            if time.monotonic() > until:
                raise UnavailableError(f"the engines of {name} are not ready in {READY_S:g} s")
            time.sleep(POLL_S)

    def switch(self, to: Colour, steps: Sequence[int]) -> float:
        """Shift everything to a colour; return seconds from the call to all servers read back."""
        fence = self._fence()
        began = time.monotonic()
        for share in steps:
            self.router.shift({to: share, to.other: 100 - share}, fence=fence)
        state = self.router.state()
        took = time.monotonic() - began
        if state.share(to) != 1 or not all(s.up for s in state.servers):
            raise UnavailableError(f"after a switch to {to} the router has {state}")
        return took

    def rollback(self, number: int, *, lead_s: float) -> Back:
        """Send half to green, watch it as a rollout does, plant a fault, wait until all is blue."""
        rollout = self._rollout(number)
        self.tools.leases.acquire(FLEET, holder=rollout.id, ttl_s=self._settings.lease_s)
        self.tools.journal.open_rollout(rollout)
        with ThreadPoolExecutor(1) as pool:
            moving = pool.submit(self._move, rollout.id)
            self._wait(lambda: moving.done() or self._is_watched(rollout.id))
            time.sleep(lead_s)
            began = time.monotonic()
            try:
                self.set(GREEN, slow_first_token=SLOW)
                reason = moving.result(self._settings.analysis.step_max_s)
            finally:
                self.set(GREEN, slow_first_token=1.0)
        # What green still answers slowly would count against it in the next step.
        self._wait(lambda: not any(s.sessions for s in self.router.state().of(GREEN)))
        if lease := self.tools.leases.current(FLEET):
            self.tools.leases.release(lease)
        if self.router.state().share(BLUE) != 1:
            raise UnavailableError(f"after a rollback the router has {self.router.state()}")
        seconds = self.router.all_blue_at - began
        return Back(seconds=seconds if seconds > 0 else None, reason=reason)

    def set(self, colour: Colour, **behaviour: float) -> None:
        """Change how every engine of a colour behaves."""
        targets = self.tools.targets({colour: tuple(self.tools.hosts)})
        with ThreadPoolExecutor(len(targets)) as pool:
            list(pool.map(lambda target: _post(f"{target.url}/simulation", behaviour), targets))

    def _move(self, rollout_id: str) -> str:
        try:
            Steps(self.tools).move(rollout_id, "50")
        except GateError as error:
            return str(error).partition("\n")[0]
        return "green was proven as good as blue"

    def _is_watched(self, rollout_id: str) -> bool:
        events = self.tools.journal.events(rollout_id)
        return any((e.step, e.phase) == (Step.ANALYSE, Phase.BEGAN) for e in events)

    def _wait(self, holds: Callable[[], bool]) -> None:
        while not holds():
            time.sleep(POLL_S)

    def _fence(self) -> int:
        lease = self.tools.leases.acquire(FLEET, holder="benchmark", ttl_s=60)
        self.tools.leases.release(lease)
        return lease.fence

    def _rollout(self, number: int) -> Rollout:
        old, new = (self.tools.models.folder(MODEL, VERSIONS[c]).manifest.digest for c in Colour)
        return Rollout(
            id=f"rollback-{number}", fleet=FLEET, model=MODEL, version=VERSIONS[GREEN], digest=new,
            flags_digest=self.fleet.fleet.engine.digest, strategy="canary", colour=GREEN,
            started_at=datetime.now(UTC), started_by="benchmark",
            previous_version=VERSIONS[BLUE], previous_digest=old,
            request={"settings": self._settings.model_dump(mode="json"), "moves": ["50"]},
        )  # fmt: skip


def _post(url: str, body: Mapping[str, float]) -> None:
    request = urllib.request.Request(url, data=json.dumps(body).encode())
    urllib.request.urlopen(request, timeout=TIMEOUT_S).close()


class ReloadedRouter:
    """The peer: the same HAProxy in front of the same engines, switched by a reload.

    As its manual advises: the new process takes the listening sockets over from the old one (`-x`)
    and tells it to end when its connections do (`-sf`).
    """

    def __init__(self, fleet: LocalFleet, folder: Path) -> None:
        router = fleet.fleet.router.model_copy(update={"port": free_port()})
        self._fleet = fleet.fleet.model_copy(update={"router": router})
        self.url = f"http://{router.address}:{router.port}"
        self._folder, self._processes = folder, list[subprocess.Popen[bytes]]()
        folder.mkdir()

    def switch(self, to: Colour) -> float:
        """Give everything to a colour; return seconds until the new process says so."""
        began = time.monotonic()
        servers = tuple(
            s.model_copy(update={"mode": ServerMode.READY, "weight": 100 * (s.colour is to)})
            for s in servers_of(self._fleet)
        )
        text = render(self._fleet, Desired(servers=servers)).replace("    noreuseport\n", "")
        text = text.replace("level admin", "level admin expose-fd listeners")
        (self._folder / "haproxy.cfg").write_text(text)
        command = [str(haproxy_program()), "-db", "-f", "haproxy.cfg"]
        if self._processes:
            command += ["-x", SOCKET, "-sf", str(self._processes[-1].pid)]
        process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)  # fmt: skip
        self._processes.append(process)
        while not self._serves(to, process):
            if process.poll() is not None:
                raise UnavailableError(f"the reloaded HAProxy ended with {process.returncode}")
            time.sleep(POLL_S / 5)
        return time.monotonic() - began

    def _serves(self, to: Colour, process: subprocess.Popen[bytes]) -> bool:
        runtime = RuntimeApi(self._folder)
        try:
            if f"Pid: {process.pid}\n" not in runtime.ask("show info"):
                return False
            return {s.colour for s in runtime.servers().values() if s.weight} == {to}
        except UnavailableError:
            return False

    def stop(self) -> None:
        """End every process of it."""
        for process in self._processes:
            process.kill()
            process.wait()


@contextmanager
def reloaded_router(fleet: LocalFleet) -> Iterator[ReloadedRouter]:
    """Yield the peer, everything on blue."""
    router = ReloadedRouter(fleet, fleet.root / "reloaded")
    try:
        router.switch(BLUE)
        yield router
    finally:
        router.stop()
