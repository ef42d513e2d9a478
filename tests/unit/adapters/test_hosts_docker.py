"""Engines that docker keeps, with a stand-in for docker that runs the simulator."""

import json
import os
import sys
from pathlib import Path

import pytest

from greenlight.adapters.hosts import open_host
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.deploy.colours import Colour
from greenlight.deploy.engines import EngineProfile
from greenlight.deploy.fleet import Host
from greenlight.deploy.ports import EngineState
from greenlight.testing.host_contract import BLUE, GREEN, a_model, settled
from greenlight.testing.servers import free_port

IMAGE = "vllm/vllm-openai@sha256:" + "a" * 64
DOCKER = """
# Keeps one process a "container": NAME.pid, NAME.log, NAME.json (the arguments of run).
import json, os, pathlib, signal, subprocess, sys
home = pathlib.Path({home!r})
command, *words = sys.argv[1:]
name = words[words.index("--name") + 1] if command == "run" else words[-1]
if command == "ps":
    name = words[words.index("--filter") + 1].removeprefix("name=^/?").removesuffix("$")
pid, log = home / (name + ".pid"), home / (name + ".log")

def lives():
    stat = pathlib.Path("/proc/" + pid.read_text() + "/stat") if pid.exists() else None
    return bool(stat and stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z")

if (home / "down").exists():
    sys.exit("Cannot connect to the Docker daemon")
if command == "run":
    if pid.exists():
        sys.exit("Conflict. The container name is already in use")
    (home / (name + ".json")).write_text(json.dumps(words))
    models = words[words.index("--volume") + 1].split(":")[0]
    arguments = words[words.index({image!r}) + 3:]
    arguments = [word.replace("/models/", models + "/") for word in arguments]
    argv = [{python!r}, "-m", "greenlight.testing.engine_simulator", *arguments]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log.open("wb"),
                               stderr=subprocess.STDOUT, start_new_session=True)
    pid.write_text(str(process.pid))
elif command == "ps":
    print(("running" if lives() else "exited") if pid.exists() else "")
elif command == "kill":
    if not lives():
        sys.exit("is not running")
    os.kill(int(pid.read_text()), signal.SIGTERM if "--signal" in words else signal.SIGKILL)
elif command == "rm":
    if not pid.exists() or lives():
        sys.exit("No such container, or it runs")
    pid.unlink()
elif command == "logs":
    print(log.read_text() if log.exists() else "", end="")
"""


@pytest.fixture
def docker(tmp_path, monkeypatch) -> Path:
    """The folder in which the stand-in keeps its containers."""
    folder = tmp_path / "docker"
    folder.mkdir()
    program = folder / "docker.py"
    program.write_text(DOCKER.format(python=sys.executable, home=str(folder), image=IMAGE))
    script = folder / "docker"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I "{program}" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def host(docker, make_settings):
    slots = {colour: {"port": free_port()} for colour in Colour}
    profile = EngineProfile(
        kind="vllm", launch="docker", image=IMAGE, drain_s=1, shutdown_s=1, flags={}
    )
    description = Host.model_validate({"name": "here", "root": "hosts/here", "slots": slots})
    host = open_host(description, profile, settings=make_settings())
    yield host
    (docker / "down").unlink(missing_ok=True)
    host.stop(GREEN)


def test_a_container_is_started_watched_and_stopped(host, docker, tmp_path):
    model = a_model(tmp_path)
    host.ping()
    host.put_model(model)
    host.start(GREEN, model=model)
    status = settled(host, GREEN)
    assert (status.state, status.served_digest) == (EngineState.READY, model.manifest.digest)
    host.start(GREEN, model=model)
    assert host.status(BLUE).state is EngineState.STOPPED
    assert host.logs(GREEN)
    assert IMAGE in json.loads((docker / "greenlight-green.json").read_text())
    host.stop(GREEN)
    assert host.status(GREEN).state is EngineState.STOPPED
    assert not (docker / "greenlight-green.pid").exists()


def test_a_container_that_ended_has_failed_and_is_replaced(host, docker, tmp_path):
    model = a_model(tmp_path)
    host.put_model(model)
    host.start(GREEN, model=model)
    settled(host, GREEN)
    os.kill(int((docker / "greenlight-green.pid").read_text()), 9)
    status = host.status(GREEN)
    while status.state is EngineState.READY:
        status = host.status(GREEN)
    assert status.state is EngineState.FAILED
    host.start(GREEN, model=model)
    assert settled(host, GREEN).state is EngineState.READY


def test_a_container_of_somebody_else_is_not_ended_for_its_name(host, docker, tmp_path):
    model = a_model(tmp_path)
    host.put_model(model)
    theirs = docker / "greenlight-green.pid"
    theirs.write_text(str(os.getpid()))
    with pytest.raises(UnavailableError, match="already in use"):
        host.start(GREEN, model=model)
    assert host.status(GREEN).state is EngineState.STOPPED
    assert theirs.read_text() == str(os.getpid())
    theirs.unlink()


def test_a_daemon_that_does_not_answer_is_not_a_stopped_engine(host, docker, tmp_path):
    model = a_model(tmp_path)
    host.put_model(model)
    host.start(GREEN, model=model)
    (docker / "down").touch()
    for call in (lambda: host.status(GREEN), lambda: host.stop(GREEN)):
        with pytest.raises(UnavailableError, match="Docker daemon"):
            call()


def test_a_host_without_docker_says_so(host, docker, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="lacks docker"):
        host.ping()
