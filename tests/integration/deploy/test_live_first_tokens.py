"""Clients' first tokens, counted by real engines over HTTP, beside the golden load and a router."""

import shutil
from datetime import UTC, datetime

import pytest

from greenlight.adapters.load_plan import GoldenPrompt, LoadPlan
from greenlight.adapters.traffic import Traffic
from greenlight.core.errors import GateError
from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Phase, Step
from greenlight.deploy.request import DeployRequest
from greenlight.testing.local_fleet import MODEL, QUICK, local_fleet
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases
from greenlight.testing.simulation import Simulation

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed"),
]
RULES = [
    {"name": "errors", "strategy": "errors", "margin": 0.1, "alone": 0.1},
    {
        "name": "live-ttft",
        "strategy": "live_ttft",
        "ttft_s": 0.5,
        "margin": 0.3,
        "required": True,
    },
]
ROLLOUT = {"steps": [50, 100], "analysis": QUICK["analysis"] | {"rules": RULES}}
SLOW = {"first_token_s": 0.01, "token_s": 0.001, "tokens": 8, "slow_first_token": 80.0}
PROMPTS = tuple(GoldenPrompt(id=n, text=f"prompt {n}", max_tokens=8) for n in range(5))


class World:
    def __init__(self, fleet):
        self.fleet = fleet
        leases = MemoryLeases(lambda: datetime.now(UTC))
        self.journal = MemoryJournal(leases)
        self.deploy = fleet.deploy(leases=leases, journal=self.journal, rollout=ROLLOUT)

    def run(self, version):
        """Deploy while clients send 60 requests a second; return what the journal says of it."""
        plan = LoadPlan(rate=60, prompts=PROMPTS, stream_share=0.5, timeout_s=20)
        with Traffic(self.fleet.url, model=MODEL, plan=plan):
            request = DeployRequest(fleet=self.fleet.fleet.name, version=version)
            return self.deploy.run(request, rollout_id=f"to-{version}", by="test")

    def first_tokens(self, rollout_id):
        events = self.journal.events(rollout_id)
        (detail,) = [e.detail for e in events if e.phase is Phase.DONE
                     and (e.step, e.subject) == (Step.ANALYSE, "50")]  # fmt: skip
        return next(found for found in detail["rules"] if found["rule"] == "live-ttft")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with local_fleet(tmp_path_factory.mktemp("live") / "a home with spaces") as fleet:
        world = World(fleet)
        fleet.add_version(1)
        world.deploy.run(
            DeployRequest(fleet=fleet.fleet.name, version=1), rollout_id="to-1", by="test"
        )
        yield world


def test_clients_who_wait_long_take_a_version_back(world):
    world.fleet.add_version(2, Simulation.model_validate(SLOW))
    with pytest.raises(GateError, match="live-ttft: late live first tokens"):
        world.run(2)
    assert world.fleet.router.state().share(Colour.BLUE) == 1


def test_clients_who_get_their_first_token_as_soon_let_a_version_live(world):
    world.fleet.add_version(3)
    assert world.run(3)["outcome"] == "live"
    found = world.first_tokens("to-3")
    assert found["verdict"] == "pass"
    assert 10 < found["n_blue"] < 60 * 8, "clients sent half of 60 a second, for 7 s at most"
    assert abs(found["n_blue"] - found["n_green"]) < 30
