"""`greenlight production route`: HAProxy lives with its own service, and workers change it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from greenlight.adapters.haproxy.router import HaproxyRouter
from greenlight.adapters.processes import LeashedProcess
from greenlight.core.errors import GreenlightError
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import Fleet, load_fleet
from greenlight.deploy.ports import ServerMode
from greenlight.testing.servers import free_ports

pytestmark = pytest.mark.skipif(
    shutil.which("haproxy", path="/usr/sbin:/usr/bin") is None, reason="HAProxy is not installed"
)
READY_S = 20.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    router, metrics, blue, green = free_ports(4)
    slots = {"blue": {"port": blue}, "green": {"port": green}}
    fleet = {
        "name": "lab",
        "model": "tiny",
        "engine": {"kind": "simulator"},
        "router": {
            "port": router,
            "metrics_port": metrics,
            "metrics_address": "localhost",
            "health_interval_s": 0.1,
        },
        "hosts": [{"name": "h", "root": "h", "slots": slots}],
    }
    config = tmp_path / "a home/config"
    config.mkdir(parents=True)
    (config / "fleet.yaml").write_text(yaml.safe_dump({"fleets": [fleet]}))
    return config.parent


@contextmanager
def routing(home: Path) -> Iterator[LeashedProcess]:
    command = [str(Path(sys.executable).with_name("greenlight")), "production", "route"]
    env = {"PATH": os.environ["PATH"], "GREENLIGHT_HOME": str(home)}
    with (
        (home / "said").open("wb") as said,
        LeashedProcess(command, env=env, stdout=said) as process,
    ):
        yield process


def router_of(home: Path) -> HaproxyRouter:
    fleet: Fleet = load_fleet(home / "config/fleet.yaml", "lab")
    return HaproxyRouter(fleet, folder=home / "router/lab")


def make_ready(home: Path) -> None:
    assert mode(home) is ServerMode.MAINT
    router_of(home).set_modes({("h", Colour.BLUE): ServerMode.READY}, fence=1)
    assert mode(home) is ServerMode.READY


def mode(home: Path) -> ServerMode:
    (blue,) = router_of(home).state().of(Colour.BLUE)
    return blue.mode


def running(home: Path, *, other_than: int | None = None) -> int:
    deadline = time.monotonic() + READY_S
    router = router_of(home)
    while time.monotonic() < deadline:
        try:
            if (pid := router.process.pid()) not in (None, other_than) and router.state():
                return pid
        except GreenlightError:
            pass
        time.sleep(0.1)
    raise AssertionError((home / "said").read_text())


def test_a_worker_changes_a_router_that_it_did_not_start(home: Path) -> None:
    with routing(home):
        pid = running(home)
        worker = router_of(home)
        assert worker.ensure_running() is False
        make_ready(home)
        assert worker.process.pid() == pid


def test_a_router_that_dies_is_back_as_it_was(home: Path) -> None:
    with routing(home):
        pid = running(home)
        make_ready(home)
        os.kill(pid, signal.SIGKILL)
        assert running(home, other_than=pid) != pid
        assert mode(home) is ServerMode.READY


def test_the_routers_end_with_the_service_and_start_again_as_they_were(home: Path) -> None:
    with routing(home) as service:
        pid = running(home)
        make_ready(home)
        service.stop()
    deadline = time.monotonic() + READY_S
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert router_of(home).process.pid() is None
    with routing(home):
        running(home)
        assert mode(home) is ServerMode.READY
