"""The fleet's router: every change is fenced, read back, and kept for HAProxy's next start."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from greenlight.adapters.haproxy.config import BACKEND, plain_address, render, server_options
from greenlight.adapters.haproxy.desired import (
    Desired,
    DesiredServer,
    RouterFolder,
    server_name,
    servers_of,
)
from greenlight.adapters.haproxy.process import HaproxyProcess
from greenlight.adapters.haproxy.runtime import RuntimeApi
from greenlight.core.errors import (
    ConfigError,
    ProcessDiedError,
    RefusedError,
    UnavailableError,
)
from greenlight.core.files import write_atomically
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import Fleet
from greenlight.deploy.ports import RouterState, ServerMode, ServerState
from greenlight.deploy.shares import ServerKey, plan_shift, refuse_stale, require_known

log = logging.getLogger(__name__)

POLL_S = 0.02
CHECK_WAIT = 3
"""How many health intervals a server may take to pass its first check,"""
CHECK_SLACK_S = 1.0
"""and how much longer on a busy machine."""
FREE_S = 10.0
FREE_POLL_S = 0.1


class HaproxyRouter:
    """`deploy.ports.Router` on the HAProxy that runs in `folder`.

    Changes need its socket only; `ensure_running` and `stop` are for a HAProxy that is a process of
    this machine. One that was started here and died without being stopped is started again by the
    next call, with the state it had. Any number of controllers may use one folder.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        folder: Path,
        runtime: RuntimeApi | None = None,
    ) -> None:
        """Use the router of a fleet; nothing is touched."""
        self._fleet = fleet
        self._folder = RouterFolder(folder)
        self._runtime = runtime or RuntimeApi(folder)
        self.process = HaproxyProcess(self._folder)

    def ensure_running(self) -> bool:
        """Start HAProxy as it was when it ended, at first with every server in maintenance.

        One that runs is left as it is, whatever the fleet's file says now (see `sync` for hosts;
        other settings of the router wait for its next start). Return whether it was started.

        Raises:
            ConfigError: HAProxy isn't installed, or refuses its configuration.
            ProcessDiedError: it ended at once, as when its port is taken.
            UnavailableError: it does not answer, or does not do what it was told.
        """
        self._folder.make()
        with self._folder.locked():
            return self._start_as_it_was()

    def stop(self, *, grace_s: float = 30.0) -> None:
        """End HAProxy; open requests may end within `grace_s` seconds. What it did is kept.

        Raises:
            UnavailableError: another process holds the router, or HAProxy cannot be ended.
        """
        if self._folder.path.exists():
            with self._folder.locked():
                self.process.stop(grace_s=grace_s)

    def set_modes(self, modes: Mapping[tuple[str, Colour], ServerMode], *, fence: int) -> None:
        """Set what servers do.

        A server that leaves maintenance is down until it passes a health check, and this waits a
        few health intervals for it; HAProxy itself would take it for up, unseen. One that fails
        them stays down, which is not an error here.
        """
        with self._changing(fence) as desired:
            now = self._read(desired.fence)
            require_known(now, [host for host, _ in modes])
            found = {(s.host, s.colour): s.mode for s in now.servers}
            changes = {key: mode for key, mode in modes.items() if found.get(key) is not mode}
            woken = [key for key in changes if found.get(key) is ServerMode.MAINT]
            commands = []
            for key, mode in changes.items():
                commands.append(f"set server {_at(key)} state {mode}")
                if key in woken:
                    commands.append(f"set server {_at(key)} health down")
            self._runtime.tell(commands)
            self._verify(modes=modes)
            self._keep(desired.changed(modes=modes))
        for key, mode in changes.items():
            log.info("fence %s: %s is %s", fence, server_name(key), mode)
        self._wait_checked(woken)

    def shift(self, shares: Mapping[Colour, int], *, fence: int,
              hosts: Sequence[str] | None = None) -> None:  # fmt: skip
        """Give each colour its share, in percent, on these hosts (all when `None`)."""
        with self._changing(fence) as desired:
            plan = plan_shift(self._read(desired.fence), shares, hosts=hosts)
            for weights in (plan.gaining, plan.losing):
                if weights:
                    self._runtime.tell(
                        [f"set server {_at(key)} weight {to}" for key, to in weights.items()]
                    )
                    self._verify(weights=weights)
            self._keep(desired.changed(weights=plan.weights))
        told = ", ".join(f"{colour} {shares.get(colour, 0)} %" for colour in Colour)
        log.info("fence %s: %s on %s", fence, told, ", ".join(hosts or ["all hosts"]))

    def state(self) -> RouterState:
        """Return what the router does now."""
        if self.process.died():
            with self._folder.locked():
                self._revive()
        kept = self._folder.read()
        return self._read(kept.fence if kept else 0)

    def sync(self, fleet: Fleet, *, fence: int) -> None:
        """Bring in the fleet's new hosts, in maintenance, and take out those it lacks.

        A host whose address or port changed is taken out and comes back as a new one. A server
        with open requests gets no more; it is taken out when they have ended, by a later call if
        that takes long.

        Raises:
            RefusedError: the fencing number is stale, or nobody would serve any more.
            ConfigError: a new host's address is not one.
            UnavailableError: a server still has connections, or a host name does not resolve: try
                again.
        """
        deadline = time.monotonic() + FREE_S
        while busy := self._try_sync(fleet, fence=fence):
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"{', '.join(f'{_name(s)} ({s.sessions} open requests)' for s in busy)} cannot "
                    "be taken out of the router yet; they get no new requests: try again later"
                )
            time.sleep(FREE_POLL_S)
        self._fleet = fleet

    def _try_sync(self, fleet: Fleet, *, fence: int) -> list[ServerState]:
        """Change the hosts, or return the servers that cannot be taken out yet."""
        with self._changing(fence) as desired:
            wanted = {server.key: server for server in servers_of(fleet)}
            placed = {s.key: s for s in desired.servers if _same_place(s, wanted.get(s.key))}
            now = self._read(desired.fence)
            gone = [s for s in now.servers if (s.host, s.colour) not in placed]
            _refuse_the_last(now, gone)
            if busy := self._remove(gone, desired):
                return busy
            fresh = [server for key, server in wanted.items() if key not in placed]
            self._add(fresh, fleet)
            servers = tuple(placed.get(key, server) for key, server in wanted.items())
            self._keep(desired.model_copy(update={"servers": servers}))
        log.info("fence %s: %s servers out, %s in", fence, len(gone), len(fresh))
        return []

    def _remove(self, gone: Sequence[ServerState], desired: Desired) -> list[ServerState]:
        """Take servers out and return those that HAProxy keeps: they have connections."""
        keys = [(s.host, s.colour) for s in gone]
        self._runtime.tell([f"set server {_at(key)} state maint" for key in keys])
        if keys:
            self._keep(desired.changed(modes=dict.fromkeys(keys, ServerMode.MAINT)))
        for key in keys:
            self._runtime.ask(f"del server {_at(key)}")
        return [s for key, s in self._runtime.servers().items() if key in keys]

    def _add(self, fresh: Sequence[DesiredServer], fleet: Fleet) -> None:
        options = server_options(fleet.router)
        for server in fresh:
            # Unlike the configuration, the runtime API takes no names.
            where = f"{_resolve(server.address, host=server.host)}:{server.port}"
            self._runtime.tell(
                [
                    f"add server {_at(server.key)} {where} {options} weight 0",
                    f"enable health {_at(server.key)}",
                ]
            )
        self._verify(
            modes={server.key: ServerMode.MAINT for server in fresh},
            weights={server.key: 0 for server in fresh},
        )

    @contextmanager
    def _changing(self, fence: int) -> Iterator[Desired]:
        """Hold the router and yield what it should do; a higher fence is kept before anything."""
        with self._folder.locked():
            desired = self._folder.read()
            if desired is None:
                raise UnavailableError(f"the router in {self._folder.path} never ran; start it")
            self._revive()
            refuse_stale(fence, seen=desired.fence)
            if fence > desired.fence:
                desired = desired.model_copy(update={"fence": fence})
                self._folder.write(desired)
            yield desired

    def _start_as_it_was(self) -> bool:
        desired = self._folder.read() or Desired(servers=servers_of(self._fleet))
        if not self.process.pid():
            self._keep(desired)
        started = self.process.ensure_running()
        if started:
            drained = [s for s in desired.servers if s.mode is ServerMode.DRAIN]
            self._runtime.tell([f"set server {_at(s.key)} state drain" for s in drained])
            self._verify(modes={s.key: s.mode for s in desired.servers},
                         weights={s.key: s.weight for s in desired.servers})  # fmt: skip
        return started

    def _revive(self) -> None:
        """Start a HAProxy that died again; call it with the folder locked."""
        if not self.process.died():
            return
        try:
            self._start_as_it_was()
        except (ConfigError, ProcessDiedError) as error:
            raise UnavailableError(
                f"HAProxy in {self._folder.path} died and does not start again: {error}"
            ) from error
        log.error("router in %s had died: every connection that was open then was cut; HAProxy "
                  "runs again with the shares it had", self._folder.path)  # fmt: skip

    def _keep(self, desired: Desired) -> None:
        self._folder.write(desired)
        text = render(self._fleet, desired)
        write_atomically(self._folder.config, text.encode(), mode=0o600)

    def _read(self, fence: int) -> RouterState:
        return RouterState(fence=fence, servers=tuple(self._runtime.servers().values()))

    def _verify(
        self,
        *,
        modes: Mapping[ServerKey, ServerMode] | None = None,
        weights: Mapping[ServerKey, int] | None = None,
    ) -> None:
        """Read back.

        Raises:
            UnavailableError: a server does something else than it was told.
        """
        found = self._runtime.servers()
        for what, wanted in (("mode", modes or {}), ("weight", weights or {})):
            for key, value in wanted.items():
                got = getattr(found[key], what) if key in found else "gone"
                if got != value:
                    raise UnavailableError(
                        f"the router did not take a change: server {server_name(key)} should have "
                        f"{what} {value}, but has {got}"
                    )

    def _wait_checked(self, woken: Sequence[ServerKey]) -> None:
        settings = self._fleet.router
        patience_s = settings.health_interval_s * (settings.health_rise - 1 + CHECK_WAIT)
        deadline = time.monotonic() + patience_s + CHECK_SLACK_S
        while time.monotonic() < deadline:
            found = self._runtime.servers()
            if all(found[key].up for key in woken if key in found):
                return
            time.sleep(POLL_S)


def _at(key: ServerKey) -> str:
    return f"{BACKEND}/{server_name(key)}"


def _name(server: ServerState) -> str:
    return server_name((server.host, server.colour))


def _same_place(server: DesiredServer, wanted: DesiredServer | None) -> bool:
    return wanted is not None and (server.address, server.port) == (wanted.address, wanted.port)


def _refuse_the_last(now: RouterState, gone: Sequence[ServerState]) -> None:
    without = replace(now, servers=tuple(s for s in now.servers if s not in gone))
    if any(now.share(colour) for colour in Colour) and not any(
        without.share(colour) for colour in Colour
    ):
        raise RefusedError(
            f"taking out {', '.join(_name(s) for s in gone)} would leave nobody who serves; shift "
            "traffic to a host that stays first"
        )


def _resolve(address: str, *, host: str) -> str:
    try:
        found = socket.getaddrinfo(plain_address(address), None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise UnavailableError(f"host {host}: {address} has no IP address: {error}") from error
    return str(found[0][4][0])
