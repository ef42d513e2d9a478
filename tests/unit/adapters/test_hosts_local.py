"""This machine as a host, with engines that are the simulator."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from greenlight.adapters.hosts import open_host
from greenlight.adapters.hosts.local import LocalTransport
from greenlight.adapters.hosts.runner import AgentHost
from greenlight.core.digest import FileEntry
from greenlight.core.errors import ConfigError, InputError, RefusedError, UnavailableError
from greenlight.deploy.colours import Colour
from greenlight.deploy.engines import EngineProfile
from greenlight.deploy.fleet import Host
from greenlight.deploy.ports import EngineState
from greenlight.testing.host_contract import GREEN, a_model, settled
from greenlight.testing.servers import free_port

DEAF = """#!/bin/sh
# An engine that does not end when it is asked.
trap '' TERM
echo deaf
while :; do sleep 0.1; done
"""


def profile(**values) -> EngineProfile:
    defaults = {"kind": "simulator", "drain_s": 1, "shutdown_s": 1}
    return EngineProfile.model_validate(defaults | values)


@pytest.fixture
def settings(make_settings):
    return make_settings()


@pytest.fixture
def description():
    slots = {colour: {"port": free_port()} for colour in Colour}
    return Host.model_validate({"name": "here", "root": "hosts/here", "slots": slots})


@pytest.fixture
def opened(description, settings):
    """A maker of the host; its engines are stopped at the end."""
    hosts = []

    def make(**values) -> AgentHost:
        hosts.append(open_host(description, profile(**values), settings=settings))
        return hosts[-1]

    yield make
    for colour in Colour:
        if hosts:
            hosts[0].stop(colour)


@pytest.fixture
def root(settings) -> Path:
    return settings.home / "hosts/here"


def record(root: Path) -> dict:
    return json.loads((root / "slots" / GREEN / "record.json").read_text())


def test_a_copy_is_no_link_to_its_source(opened, root, tmp_path):
    model = a_model(tmp_path)
    opened().put_model(model)
    for file in model.manifest.files:
        source, copy = model.path / file.path, root / "models" / model.manifest.digest / file.path
        assert copy.read_bytes() == source.read_bytes()
        assert (copy.stat().st_ino, copy.stat().st_nlink) != (source.stat().st_ino, 2)
        assert not copy.is_symlink()


def test_an_upload_begins_at_its_offset_and_cuts_off_what_is_behind(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"0123456789")
    target.write_bytes(b"abcdeXXXXXXXXXXX")
    entry, told = FileEntry(path="f", size=10, sha256="-"), []
    LocalTransport().upload(source, str(target), entry=entry, offset=5, on_bytes=told.append)
    assert target.read_bytes() == b"abcde56789"
    assert told == [10]


def test_a_command_that_hangs_is_given_up():
    with pytest.raises(UnavailableError, match=r"0\.2 s"):
        LocalTransport().run(["sleep", "60"], stdin=b"", timeout_s=0.2)


def test_an_engine_outlives_the_controller_and_all_of_its_group(opened, settings, tmp_path):
    host, model = opened(), a_model(tmp_path)
    host.put_model(model)
    script = f"""
import os, signal
from pathlib import Path
from greenlight.adapters.hosts import open_host
from greenlight.core.digest import manifest_of
from greenlight.core.settings import Settings
from greenlight.deploy.engines import EngineProfile
from greenlight.deploy.fleet import Host
from greenlight.deploy.ports import ModelFolder
folder = Path({str(model.path)!r})
host = open_host(
    Host.model_validate_json({host_json(host)!r}),
    EngineProfile.model_validate_json({profile().model_dump_json()!r}),
    settings=Settings(home=Path({str(settings.home)!r})),
)
host.start("green", model=ModelFolder(name="assistant", path=folder, manifest=manifest_of(folder)))
os.killpg(0, signal.SIGKILL)
"""
    controller = subprocess.run(
        [sys.executable, "-c", script], start_new_session=True, check=False, timeout=60
    )
    assert controller.returncode == -signal.SIGKILL
    assert settled(host, GREEN).state is EngineState.READY


def host_json(host: AgentHost) -> str:
    slots = {colour: {"port": host._slots.of(colour).port} for colour in Colour}
    return json.dumps({"name": "here", "root": "hosts/here", "slots": slots})


def test_two_controllers_cannot_start_one_slot_twice(opened, root, tmp_path):
    models = [a_model(tmp_path), a_model(tmp_path, weights=b"other")]
    hosts = [opened(), opened()]
    for model in models:
        hosts[0].put_model(model)
    refused = []

    def start(host, model) -> None:
        try:
            host.start(GREEN, model=model)
        except RefusedError as error:
            refused.append(error)

    threads = [
        threading.Thread(target=start, args=pair) for pair in zip(hosts, models, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(refused) == 1
    assert "stop it first" in str(refused[0])
    wanted = str(record(root)["port"])
    engines = [p for p in psutil.process_iter(["cmdline"]) if wanted in (p.info["cmdline"] or [])]
    assert len(engines) == 1


def test_an_engine_that_does_not_listen_is_killed_with_all_it_started(
    opened, root, tmp_path, monkeypatch
):
    monkeypatch.setattr("greenlight.adapters.hosts.runner.STOP_MARGIN_S", 0.0)
    monkeypatch.setattr("greenlight.adapters.hosts.runner.STOP_WAIT_S", 0.3)
    deaf = tmp_path / "python"
    deaf.write_text(DEAF)
    deaf.chmod(0o755)
    host, model = opened(python=str(deaf)), a_model(tmp_path)
    host.put_model(model)
    host.start(GREEN, model=model)
    while "deaf" not in host.logs(GREEN):
        time.sleep(0.05)
    started = record(root)
    began = time.monotonic()
    host.stop(GREEN)
    assert time.monotonic() - began >= profile().shutdown_s
    assert host.status(GREEN).state is EngineState.STOPPED
    deadline = time.monotonic() + 10
    while [p for p in psutil.pids() if session_of(p) == started["pid"]]:
        assert time.monotonic() < deadline
    assert not Path(started["temporary"]).exists()


def session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def test_other_flags_are_another_engine(opened, tmp_path):
    model = a_model(tmp_path)
    host = opened()
    host.put_model(model)
    host.start(GREEN, model=model)
    with pytest.raises(RefusedError, match="flags"):
        opened(flags={"token-s": 0.1}).start(GREEN, model=model)


def test_a_port_that_a_stranger_has_is_refused_before_anything_is_started(
    opened, description, root, tmp_path
):
    model = a_model(tmp_path)
    host = opened()
    host.put_model(model)
    with socket.socket() as stranger:
        stranger.bind((description.address, description.slots.green.port))
        stranger.listen()
        with pytest.raises(RefusedError, match="another program"):
            host.start(GREEN, model=model)
    assert host.status(GREEN).state is EngineState.STOPPED


def test_an_engine_gets_no_secret_of_the_controller(opened, root, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sentinel")
    model = a_model(tmp_path)
    host = opened()
    host.put_model(model)
    host.start(GREEN, model=model)
    settled(host, GREEN)
    environment = Path(f"/proc/{record(root)['pid']}/environ").read_bytes()
    assert b"HF_HUB_OFFLINE=1" in environment
    assert b"sentinel" not in environment


def test_the_log_of_the_engine_before_is_kept_once(opened, root, tmp_path):
    model = a_model(tmp_path)
    host = opened(flags={"death": "out of memory"})
    host.put_model(model)
    host.start(GREEN, model=model)
    assert "out of memory" in settled(host, GREEN).reason
    host.start(GREEN, model=model)
    assert "out of memory" in (root / "slots/green/engine.previous.log").read_text()


def test_what_an_engine_needs_is_looked_for_before_it_is_started(opened, tmp_path):
    host, model = opened(python="/no/such/python"), a_model(tmp_path)
    with pytest.raises(ConfigError, match="lacks /no/such/python"):
        host.ping()
    host.put_model(model)
    with pytest.raises(ConfigError, match="no program"):
        host.start(GREEN, model=model)


def test_a_source_that_lost_a_file_is_said(opened, tmp_path):
    model = a_model(tmp_path)
    (model.path / "config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json"):
        opened().put_model(model)
