"""The live engines are killed and their model is gone, on a real router and real hosts."""

import json
import os
import shutil
import signal
import time
from datetime import UTC, datetime

import httpx
import pytest

from greenlight.core.errors import GreenlightError, RefusedError
from greenlight.deploy.colours import Colour
from greenlight.deploy.request import DeployRequest
from greenlight.testing.haproxy_worlds import haproxy_program
from greenlight.testing.local_fleet import MODEL, local_fleet
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(haproxy_program() is None, reason="HAProxy is not installed"),
]
BLUE, GREEN = Colour.BLUE, Colour.GREEN
SEEN_DOWN_S = 20


class World:
    def __init__(self, fleet):
        self.fleet = fleet
        leases = MemoryLeases(lambda: datetime.now(UTC))
        self.deploy = fleet.deploy(leases=leases, journal=MemoryJournal(leases))

    def run(self, version, **switches):
        request = DeployRequest(fleet=self.fleet.fleet.name, version=version, **switches)
        return self.deploy.run(request, rollout_id=f"to-{version}", by="test")

    def kill(self, host):
        """Kill a host's blue engine, and wait until the router sees it."""
        root = self.fleet.root / "hosts" / host.removeprefix("host-")
        record = json.loads((root / "slots/blue/record.json").read_text())
        os.killpg(record["pid"], signal.SIGKILL)
        until = time.monotonic() + SEEN_DOWN_S
        while any(s.up for s in self.fleet.router.state().of(BLUE) if s.host == host):
            assert time.monotonic() < until, f"the router still sees {host} up"
            time.sleep(0.1)

    def lose(self, version):
        """Let a version's files vanish from every host and from the registry."""
        digest = self.deploy.tools.models.folder(MODEL, version).manifest.digest
        for host in self.fleet.root.glob("hosts/*"):
            shutil.rmtree(host / "models" / digest)
        shutil.rmtree(self.fleet.root / "versions" / f"{version}")

    def answers(self):
        """Return the colour that answers a client; `None`: nobody does."""
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
        answer = httpx.post(f"{self.fleet.url}/v1/chat/completions", json=body, timeout=20)
        return answer.headers.get("X-Greenlight-Colour") if answer.is_success else None


@pytest.fixture
def world(tmp_path):
    with local_fleet(tmp_path / "a home with spaces") as fleet:
        for version in (1, 2):
            fleet.add_version(version)
        world = World(fleet)
        world.run(1)
        yield world


def test_a_version_that_can_never_start_again_is_given_up_and_the_next_serves(world):
    world.kill("host-0")
    with pytest.raises(RefusedError, match="version 1 is not dead: it answers on host-1"):
        world.run(2, replace_dead=True)
    assert world.answers() == "blue"

    world.kill("host-1")
    world.lose(1)
    with pytest.raises(GreenlightError):
        world.deploy.start()
    with pytest.raises(RefusedError, match="can never start again, give it up with --replace-dead"):
        world.run(2)
    with pytest.raises(RefusedError, match="--allow-interface-change"):
        world.run(2, replace_dead=True)
    assert world.answers() is None

    ended = world.run(2, replace_dead=True, allow_interface_change=True)
    assert (ended["outcome"], ended["replaces_dead"]) == ("live", True)
    assert world.answers() == "green"
    assert world.deploy.status()["live"]["version"] == 2
    assert {h.status(BLUE).state for h in world.fleet.hosts.values()} == {"stopped"}


def test_killed_engines_whose_files_are_there_are_given_up_with_one_switch(world):
    for host in world.fleet.hosts:
        world.kill(host)
    assert world.run(2, replace_dead=True)["outcome"] == "live"
    assert world.answers() == "green"
    world.fleet.add_version(3)
    assert world.run(3)["outcome"] == "live", "the next one is compared again"
