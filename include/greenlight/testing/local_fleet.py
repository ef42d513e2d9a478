"""A whole fleet on this machine: simulated engines, a real HAProxy, real hosts, in one folder.

What is not real: the models (folders of a few bytes, whose `simulation.json` says how their engine
behaves) and the registry (version N is the folder `versions/N`). Everything is described by the
folder, so that another process can open the same fleet: `LocalFleet.opened(folder)`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from greenlight.adapters.engine_metrics import HttpEngineMetrics
from greenlight.adapters.haproxy.router import HaproxyRouter
from greenlight.adapters.hosts import open_host
from greenlight.adapters.load_plan import GoldenPrompt
from greenlight.core.digest import manifest_of
from greenlight.core.errors import InputError
from greenlight.core.files import write_json
from greenlight.core.settings import Settings
from greenlight.core.types import JsonDict
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import Fleet
from greenlight.deploy.ports import HostRunner, JournalStore, LeaseStore, ModelFolder
from greenlight.entrypoints.deploy import Deploy
from greenlight.entrypoints.rollout_smoke import smoke_test
from greenlight.entrypoints.rollout_tools import Tools, open_load
from greenlight.registry.ports import Version
from greenlight.testing.servers import free_ports
from greenlight.testing.simulation import FILE, Simulation

FLEET = "local"
MODEL = "simulated"
QUICK: JsonDict = {
    "bake_s": 0.5,
    "warm_up_s": 0.2,
    "lease_s": 5,
    "load": {"rate": 60, "stream_share": 0.8, "timeout_s": 5},
    "analysis": {
        "interval_s": 0.5,
        "step_min_s": 1.0,
        "extension_s": 1.0,
        "max_extensions": 6,
        "rules": [
            {"name": "errors", "strategy": "errors", "margin": 0.1, "alone": 0.1},
            {"name": "ttft", "strategy": "time_ratio", "metric": "ttft", "quantile": 0.5,
             "margin": 1.0},
        ],
    },
}  # fmt: skip
"""A rollout of seconds, with limits that a busy machine keeps and a broken engine doesn't."""


class FolderModels:
    """Versions that are folders; stands in for the registry and its evidence."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.registry = FolderRegistry(folder)

    def folder(self, model: str, version: int) -> ModelFolder:
        """Return a version's folder."""
        self.registry.get(model, version)
        path = self._folder / str(version)
        return ModelFolder(name=model, path=path, manifest=manifest_of(path))

    def golden(self, model: str, version: int) -> tuple[GoldenPrompt, ...]:
        """Return no prompts: there is no evidence."""
        return ()

    def standing(self, model: str, version: int) -> JsonDict:
        """Return that everything is approved."""
        return {"approved": True, "reason": "a simulation", "approval": None, "baseline": False}


class FolderRegistry:
    """As much of `registry.ports.ModelRegistry` as a rollout asks."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._aliases = folder, folder / "aliases.json"

    def get(self, model: str, version: int) -> Version:
        """Return a version.

        Raises:
            InputError: there is none.
        """
        path = self._folder / str(version)
        if not path.is_dir():
            raise InputError(f"there is no version {version} of {model}")
        return Version(
            model=model, version=version, digest=manifest_of(path).digest, run_id="",
            created_at=datetime.now(UTC), tags={},
        )  # fmt: skip

    def find(
        self, model: str, *, tags: Mapping[str, str], alias: str | None = None
    ) -> Version | None:
        """Return what an alias points at."""
        del tags
        found = self._read().get(str(alias))
        return None if found is None else self.get(model, found)

    def set_alias(self, model: str, *, alias: str, version: int) -> None:
        """Point an alias at a version."""
        del model
        write_json(self._aliases, self._read() | {str(alias): version})

    def remove_alias(self, model: str, *, alias: str) -> None:
        """Make an alias point nowhere."""
        del model
        write_json(self._aliases, {k: v for k, v in self._read().items() if k != str(alias)})

    def _read(self) -> JsonDict:
        found: JsonDict = json.loads(self._aliases.read_text()) if self._aliases.exists() else {}
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFleet:
    """The fleet of one folder."""

    root: Path
    fleet: Fleet
    hosts: dict[str, HostRunner]
    router: HaproxyRouter

    @classmethod
    def opened(cls, root: Path) -> LocalFleet:
        """Open what `local_fleet` made; the router is started when it doesn't run."""
        settings = Settings(home=root)
        fleet = Fleet.model_validate_json((root / "fleet.json").read_text())
        router = HaproxyRouter(fleet, folder=root / "router")
        router.ensure_running()
        hosts = {h.name: open_host(h, fleet.engine, settings=settings) for h in fleet.hosts}
        return cls(root=root, fleet=fleet, hosts=dict(hosts), router=router)

    @property
    def url(self) -> str:
        """Where clients ask."""
        return f"http://{self.fleet.router.address}:{self.fleet.router.port}"

    def add_version(self, version: int, behaviour: Simulation | None = None) -> None:
        """Make a version whose engine behaves so. The version's number is its only weight."""
        path = self.root / "versions" / str(version)
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.json").write_text("{}")
        (path / "model.safetensors").write_text(f"{version}")
        chosen = behaviour or Simulation(first_token_s=0.01, token_s=0.001, tokens=8)
        (path / FILE).write_text(chosen.model_dump_json(exclude_unset=True))

    def deploy(
        self, *, leases: LeaseStore, journal: JournalStore, rollout: JsonDict | None = None
    ) -> Deploy:
        """Return what deploys to it; `rollout`: settings over `QUICK`."""
        file = self.root / "rollout.yaml"
        write_json(file, {"rollouts": {"standard": QUICK | (rollout or {})}})
        tools = Tools(
            fleet=self.fleet,
            hosts=self.hosts,
            router=self.router,
            leases=leases,
            journal=journal,
            models=FolderModels(self.root / "versions"),
            open_prober=open_load,
            engine_metrics=HttpEngineMetrics(),
            smoke_test=smoke_test,
        )
        return Deploy(tools, rollout_file=file)

    def stop(self) -> None:
        """End every engine and the router."""
        for host in self.hosts.values():
            for colour in Colour:
                host.stop(colour)
        self.router.stop(grace_s=2)


@contextmanager
def local_fleet(root: Path, *, hosts: int = 2) -> Iterator[LocalFleet]:
    """Yield a new fleet in `root`; everything it started is ended."""
    ports = free_ports(2 * hosts + 2)
    description = {
        "name": FLEET,
        "model": MODEL,
        "engine": {
            "kind": "simulator", "ready_s": 60, "drain_s": 10, "shutdown_s": 10,
        },
        "router": {"port": ports[-1], "metrics_port": ports[-2], "health_interval_s": 0.2},
        "hosts": [
            {
                "name": f"host-{n}",
                "root": f"hosts/{n}",
                "slots": {"blue": {"port": ports[2 * n]}, "green": {"port": ports[2 * n + 1]}},
            }
            for n in range(hosts)
        ],
    }  # fmt: skip
    root.mkdir(parents=True, exist_ok=True)
    write_json(root / "fleet.json", description)
    opened = LocalFleet.opened(root)
    try:
        yield opened
    finally:
        opened.stop()
