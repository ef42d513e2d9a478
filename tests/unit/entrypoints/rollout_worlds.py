"""A fleet of hosts in memory, and a load whose answers a test decides."""

import math
import threading
from datetime import UTC, datetime

from greenlight.core.digest import manifest_of
from greenlight.core.errors import GateError, InputError
from greenlight.deploy.colours import Colour
from greenlight.deploy.counters import FirstTokens, Unread
from greenlight.deploy.fleet import Fleet
from greenlight.deploy.ports import ModelFolder
from greenlight.deploy.samples import Sample
from greenlight.entrypoints.deploy import Deploy
from greenlight.entrypoints.rollout_tools import Tools
from greenlight.testing.memory_hosts import MemoryHost
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases
from greenlight.testing.memory_router import MemoryRouter

ROLLOUTS = """
rollouts:
  standard: &standard
    steps: [10, 50, 100]
    bake_s: 0.1
    warm_up_s: 0
    lease_s: 5
    load: {rate: 1000}
    analysis:
      interval_s: 0.02
      step_min_s: 0.04
      extension_s: 0.1
      max_extensions: 2
      confidence: 0.95
      times_up_to_share: 100
      rules:
        - {name: errors, strategy: errors, margin: 0.05, alone: 0.05}
        - {name: ttft, strategy: time_ratio, metric: ttft, quantile: 0.5, margin: 0.3}
  blue_green: {<<: *standard, strategy: blue_green}
  rolling: {<<: *standard, strategy: rolling}
  with_clients:
    <<: *standard
    analysis:
      preset: small
      interval_s: 0.02
      step_min_s: 0.04
      extension_s: 0.1
      max_extensions: 2
      times_up_to_share: 50
      rules:
        - {name: errors, strategy: errors, margin: 0.05, alone: 0.05}
        - {name: live-errors, strategy: live_errors, margin: 0.05, alone: 0.05}
        - {name: live-ttft, strategy: live_ttft, ttft_s: 2.5, margin: 0.05}
  patient:
    <<: *standard
    analysis: {preset: standard, interval_s: 0.1}
"""


def a_fleet(hosts=2, **changes):
    return Fleet.model_validate(
        {
            "name": "f",
            "model": "m",
            "engine": {"kind": "simulator", "ready_s": 2, "drain_s": 1, "shutdown_s": 1},
            "router": {"port": 20000, "health_interval_s": 0.1},
            "hosts": [
                {
                    "name": f"gpu-{n}",
                    "root": f"hosts/gpu-{n}",
                    "slots": {"blue": {"port": 20100 + n}, "green": {"port": 20200 + n}},
                }
                for n in range(hosts)
            ],
        }
        | changes
    )


class Models:
    """Versions by number. `standing` answers what the test put into `refused`."""

    def __init__(self, tmp_path):
        self.refused = {}
        self.baselines = set()
        self.tokenizers = {}
        self.lost = set()
        self.registry = Registry(self)
        self._folder = tmp_path
        self._writing = threading.Lock()

    def folder(self, model, version):
        if version in self.lost:
            raise InputError(f"there is no version {version}")
        path = self._folder / f"v{version}"
        with self._writing:  # hosts are prepared side by side
            if not path.exists():
                path.mkdir()
                (path / "config.json").write_text("{}")
                (path / "tokenizer.json").write_text(self.tokenizers.get(version, "{}"))
                (path / "model.safetensors").write_text("w" * version)
        return ModelFolder(name=model, path=path, manifest=manifest_of(path))

    def golden(self, model, version):
        return ()

    def standing(self, model, version):
        reason = self.refused.get(version)
        return {"approved": reason is None, "reason": reason, "baseline": version in self.baselines}


class Registry:
    """Only what a rollout asks: versions exist, and an alias points at one."""

    def __init__(self, models):
        self.aliases, self._models = {}, models

    def get(self, model, version):
        digest = self._models.folder(model, version).manifest.digest
        return type("Version", (), {"version": version, "digest": digest})

    def find(self, model, *, tags, alias):
        return self.get(model, self.aliases[alias]) if alias in self.aliases else None

    def set_alias(self, model, *, alias, version):
        self.aliases[str(alias)] = version

    def remove_alias(self, model, *, alias):
        self.aliases.pop(str(alias), None)


class Load:
    """Answers as the test says: the part of a colour's requests that fail, and the first token.

    `runs`: the rate of each engine, and which engines were asked, by colour and port.
    """

    def __init__(self):
        self.bad = {}
        self.on_start = lambda: None
        self.runs = []
        self._rate = None

    def __call__(self, prompts, settings):
        self._rate = settings.rate
        return self

    def run(self, targets, *, seconds, on_sample, stop=None):
        asked = [(target.colour, int(target.url.rpartition(":")[2])) for target in targets]
        self.runs.append((self._rate, asked))
        self.on_start()
        stop = stop or threading.Event()
        for number in range(400):
            for target in targets:
                on_sample(self._sample(target.colour, number))
        stop.wait(seconds)

    def _sample(self, colour, number):
        fails, ttft = self.bad.get(colour, (0.0, 0.1))
        ok = number % 10 >= 10 * fails
        return Sample(
            colour=colour, prompt=number, at_s=0.0, ok=ok, ttft_s=ttft if ok else None,
            gap_s=0.01, total_s=1.0, tokens=8, finish="stop",
        )  # fmt: skip


class Engines:
    """Histograms that a test decides, by port; `None`: the engine does not answer."""

    def __init__(self):
        self.within = {}
        self.on_read = lambda: None

    def first_tokens(self, urls):
        self.on_read()
        return {url: self._read(int(url.rpartition(":")[2])) for url in urls}

    def _read(self, port):
        within = self.within.get(port, (0, 0))
        if within is None:
            return Unread(reason=f"{port} is away")
        return FirstTokens(bounds=(2.5, math.inf), within=within)


class RolloutWorld:
    """Everything a rollout touches."""

    def __init__(self, tmp_path, hosts=2, **changes):
        self.fleet = a_fleet(hosts, **changes)
        self.hosts = {
            host.name: MemoryHost(name=host.name, flags_digest=self.fleet.engine.digest)
            for host in self.fleet.hosts
        }
        self.router = MemoryRouter(list(self.hosts))
        self.leases = MemoryLeases(lambda: datetime.now(UTC))
        self.journal = MemoryJournal(self.leases)
        self.models = Models(tmp_path)
        self.load = Load()
        self.engines = Engines()
        self.smoke_failure = None
        self.on_smoke = lambda: None
        file = tmp_path / "rollout.yaml"
        file.write_text(ROLLOUTS)
        self.deploy = Deploy(self.tools(), rollout_file=file)

    def tools(self):
        return Tools(
            fleet=self.fleet, hosts=self.hosts, router=self.router, leases=self.leases,
            journal=self.journal, models=self.models, open_prober=self.load,
            engine_metrics=self.engines,
            smoke_test=self._smoke, sleep=lambda s: threading.Event().wait(min(s, 0.01)),
        )  # fmt: skip

    def _smoke(self, targets, golden, *, at_most):
        self.on_smoke()
        if self.smoke_failure:
            raise GateError(self.smoke_failure)
        return {}

    def run(self, version, rollout="standard", rollout_id=None, **changes):
        from greenlight.deploy.request import DeployRequest

        request = DeployRequest(fleet="f", version=version, rollout=rollout, **changes)
        return self.deploy.run(request, rollout_id=rollout_id or f"to-{version}", by="ana")

    def served(self, colour):
        return {h.status(colour).served_digest for h in self.hosts.values()}

    def digest(self, version):
        return self.models.folder("m", version).manifest.digest

    def share(self, colour):
        return self.router.state().share(colour)


__all__ = ["Colour", "RolloutWorld"]
