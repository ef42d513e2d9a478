import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from greenlight.adapters.hosts.agent.ground import CHUNK
from greenlight.adapters.hosts.factory import open_host
from greenlight.adapters.hosts.ssh import SshLimits, SshTransport
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.deploy.colours import Colour
from greenlight.deploy.engines import EngineProfile
from greenlight.deploy.fleet import Host
from greenlight.deploy.ports import EngineState
from greenlight.testing.host_contract import (
    GREEN,
    KEPT,
    WEIGHTS,
    HostContract,
    a_model,
    settled,
)
from greenlight.testing.memory_hosts import EngineFault, MemoryHost
from greenlight.testing.servers import free_port
from greenlight.testing.ssh_hosts import ssh_hosts, why_no_ssh_hosts

FLAGS = {
    None: {},
    EngineFault.DIES: {"death": "ValueError: no such model"},
    EngineFault.NEVER_READY: {"never-ready": True},
    EngineFault.WRONG_DIGEST: {"strange": True},
}


TINY_ENGINE = Path(__file__).with_name("tiny_engine.py")


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> str:
    """An interpreter that runs the tiny engine whatever module it is asked to run."""
    script = tmp_path_factory.mktemp("engine") / "python"
    script.write_text(f'#!/bin/sh\nshift 2\nexec "{sys.executable}" -I -S "{TINY_ENGINE}" "$@"\n')
    script.chmod(0o755)
    return str(script)


def profile(fault: EngineFault | None = None, **changes) -> EngineProfile:
    values = {"kind": "simulator", "flags": FLAGS[fault], "drain_s": 1, "shutdown_s": 1}
    return EngineProfile.model_validate(values | changes)


def flip_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


class MemoryBench:
    def __init__(self) -> None:
        self._host = MemoryHost(keep_models=KEPT)

    def host(self, fault=None):
        self._host.fault = fault
        return self._host

    def damage(self, digest, path):
        self._host.damaged[digest] = path

    def crash(self, colour):
        self._host.engines[colour].crashed = True


class RealBench:
    """A host whose root folder this machine can see."""

    def __init__(self, host: Host, *, root: Path, settings, python: str) -> None:
        self.description, self._root = host, root
        self._settings, self._python = settings, python
        self._opened = []

    def host(self, fault=None):
        host = open_host(
            self.description,
            profile(fault, python=self._python),
            settings=self._settings,
            keep_models=KEPT,
        )
        self._opened.append(host)
        return host

    def damage(self, digest, path):
        flip_byte(self._root / "models" / digest / path)

    def crash(self, colour):
        record = json.loads((self._root / "slots" / colour / "record.json").read_text())
        os.killpg(record["pid"], signal.SIGKILL)
        while Path(f"/proc/{record['pid']}/task").exists():
            if ") Z " in Path(f"/proc/{record['pid']}/stat").read_text():
                break

    def close(self):
        for host in self._opened[:1]:
            for colour in Colour:
                host.stop(colour)
        for host in self._opened:
            host.close()


def slots() -> dict[str, dict[str, int]]:
    return {colour: {"port": free_port()} for colour in Colour}


class TestMemoryHost(HostContract):
    @pytest.fixture
    def bench(self):
        return MemoryBench()

    def test_a_host_that_is_away_says_so_whatever_is_asked(self, model):
        host = MemoryHost(away=True)
        for call in (
            host.ping,
            lambda: host.put_model(model),
            lambda: host.has_model("a"),
            lambda: host.start(GREEN, model=model),
            lambda: host.status(GREEN),
            lambda: host.stop(GREEN),
            lambda: host.logs(GREEN),
            lambda: host.prune(keep=[]),
        ):
            with pytest.raises(UnavailableError):
                call()


class TestLocalHost(HostContract):
    @pytest.fixture
    def bench(self, tmp_path, make_settings, python):
        host = Host.model_validate({"name": "here", "root": "hosts/here", "slots": slots()})
        settings = make_settings()
        bench = RealBench(host, root=settings.home / "hosts/here", settings=settings, python=python)
        yield bench
        bench.close()


WHY_NOT = why_no_ssh_hosts()
needs_ssh = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


@pytest.fixture(scope="module")
def machines():
    with ssh_hosts(2) as hosts:
        yield hosts


def described(machine, root: Path, **changes) -> Host:
    access = machine.access.model_copy(update=changes)
    return Host(
        name="there", runner="ssh", address=machine.address, root=root, slots=slots(), ssh=access
    )


@needs_ssh
class TestSshHost(HostContract):
    @pytest.fixture
    def root(self, machines, tmp_path):
        return machines[0].root / tmp_path.name

    @pytest.fixture
    def bench(self, machines, root, make_settings, python):
        host = described(machines[0], root)
        bench = RealBench(host, root=root, settings=make_settings(), python=python)
        yield bench
        bench.close()

    def test_an_engine_outlives_the_connection_that_started_it(self, bench, model):
        first = bench.host()
        first.put_model(model)
        first.start(GREEN, model=model)
        first.close()
        assert settled(bench.host(), GREEN).state is EngineState.READY

    def test_an_unknown_host_key_is_refused(self, machines, root, make_settings, model):
        stranger = described(machines[0], root, known_hosts=machines[1].access.known_hosts)
        with (
            open_host(stranger, profile(), settings=make_settings()) as host,
            pytest.raises(ConfigError, match="fingerprint"),
        ):
            host.put_model(model)
        assert not (root / "incoming").exists()

    def test_a_key_that_the_host_does_not_know_is_refused(self, machines, root, make_settings):
        uninvited = described(machines[0], root, key_file=machines[1].access.key_file)
        with (
            open_host(uninvited, profile(), settings=make_settings()) as host,
            pytest.raises(ConfigError, match="authorized_keys"),
        ):
            host.ping()

    def test_a_missing_interpreter_is_named(self, machines, root, make_settings):
        with (
            open_host(
                described(machines[0], root), profile(python="/no/python"), settings=make_settings()
            ) as host,
            pytest.raises(ConfigError, match="/no/python"),
        ):
            host.ping()

    def test_two_hosts_are_two(self, machines, root, make_settings, tmp_path):
        other_root = machines[1].root / tmp_path.name
        with (
            open_host(described(machines[0], root), profile(), settings=make_settings()) as one,
            open_host(described(machines[1], other_root), profile(),
                      settings=make_settings()) as two,
        ):  # fmt: skip
            model = a_model(tmp_path)
            one.put_model(model)
            assert one.has_model(model.manifest.digest)
            assert not two.has_model(model.manifest.digest)


class CutsTheLink:
    """Told of a copy's progress, it cuts the link when enough has arrived."""

    def __init__(self, machine, *, after: int) -> None:
        self._machine, self._after = machine, after
        self.told: list[int] = []

    def __call__(self, done: int, total: int) -> None:
        self.told.append(done)
        if done >= self._after and self._machine is not None:
            self._machine.cut()
            self._machine = None


@needs_ssh
class TestAPartition:
    SILENCE_S = 2.0

    @pytest.fixture
    def machine(self, machines):
        yield machines[1]
        machines[1].mend()

    @pytest.fixture
    def host(self, machine, tmp_path, make_settings):
        host = open_host(
            described(machine, machine.root / tmp_path.name), profile(), settings=make_settings()
        )
        limits = SshLimits(connect_s=2.0, silence_s=self.SILENCE_S)
        host._transport = SshTransport(machine.address, machine.access, limits=limits)
        with host:
            yield host

    def test_a_copy_that_was_cut_goes_on_where_it_was(self, machine, host, tmp_path):
        model = a_model(tmp_path, weights=os.urandom(1).hex().encode() * (3 * CHUNK))
        cut = CutsTheLink(machine, after=2 * CHUNK)
        began = time.monotonic()
        with pytest.raises(UnavailableError):
            host.put_model(model, on_bytes=cut)
        assert time.monotonic() - began < self.SILENCE_S + 10
        assert cut.told[-1] < model.manifest.total_bytes
        with pytest.raises(UnavailableError):
            host.has_model(model.manifest.digest)
        machine.mend()
        assert not host.has_model(model.manifest.digest)
        told = []
        host.put_model(model, on_bytes=lambda done, _: told.append(done))
        assert told[0] > 2 * CHUNK
        assert host.has_model(model.manifest.digest)

    def test_a_copy_whose_beginning_was_damaged_meanwhile_begins_again(
        self, machine, host, tmp_path
    ):
        model = a_model(tmp_path, weights=b"ab" * (2 * CHUNK))
        with pytest.raises(UnavailableError):
            host.put_model(model, on_bytes=CutsTheLink(machine, after=2 * CHUNK))
        machine.mend()
        incoming = machine.root / tmp_path.name / "incoming" / model.manifest.digest
        flip_byte(incoming / WEIGHTS)
        told = []
        host.put_model(model, on_bytes=lambda done, _: told.append(done))
        assert told[0] < 2 * CHUNK
        assert host.has_model(model.manifest.digest)

    def test_a_command_under_way_when_the_link_is_cut_fails_in_bounded_time(self, machine, host):
        host.ping()
        timer = threading.Timer(0.5, machine.cut)
        timer.start()
        began = time.monotonic()
        with pytest.raises(UnavailableError):
            host._transport.run(["sleep", "60"], stdin=b"", timeout_s=60)
        assert time.monotonic() - began < self.SILENCE_S + 10

    def test_a_dead_link_is_noticed_within_fifteen_seconds_unless_told_otherwise(self):
        assert SshLimits().silence_s <= 15
        assert SshLimits().connect_s <= 15


@needs_ssh
def test_what_a_killed_test_run_left_is_removed_by_the_next():
    script = (
        "import os, signal\n"
        "from greenlight.testing.ssh_hosts import ssh_hosts\n"
        "with ssh_hosts(1) as (host,):\n"
        "    print(host.namespace, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    left = killed.stdout.decode().strip()
    assert left in namespaces()
    with ssh_hosts(1) as (host,):
        assert host.namespace in namespaces()
        assert left not in namespaces()
    assert host.namespace not in namespaces()


def namespaces() -> str:
    return subprocess.run(["ip", "netns", "list"], capture_output=True, check=True).stdout.decode()
