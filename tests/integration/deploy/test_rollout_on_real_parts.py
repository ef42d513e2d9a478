"""Rollouts through a real HAProxy to engines that are real processes, under clients' requests."""

import asyncio
import shutil
from dataclasses import replace
from datetime import UTC, datetime

import openai
import pytest

from greenlight.adapters.load_plan import GoldenPrompt, LoadPlan
from greenlight.adapters.openai_client import OpenAIClient, Prompt
from greenlight.adapters.traffic import Traffic
from greenlight.core.errors import GateError
from greenlight.core.files import write_json
from greenlight.deploy.colours import Colour
from greenlight.deploy.request import DeployRequest
from greenlight.entrypoints.deploy import Deploy
from greenlight.testing.local_fleet import MODEL, FolderModels, local_fleet
from greenlight.testing.local_fleet import QUICK as QUICK_ROLLOUT
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases
from greenlight.testing.simulation import Simulation

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed"),
]
PROMPTS = tuple(GoldenPrompt(id=n, text=f"prompt {n}", max_tokens=8) for n in range(5))
QUICK = {"first_token_s": 0.01, "token_s": 0.001, "tokens": 8}
AGREEMENT = {"name": "golden", "strategy": "agreement", "margin": 0.15, "required": True}


class RecordedModels(FolderModels):
    """Versions whose evidence holds what a simulated engine answers, whatever the version."""

    recorded = ()

    def golden(self, model, version):
        return self.recorded


def record(url, *, prompts=40):
    """Ask an honest engine, one prompt at a time."""

    async def ask():
        async with OpenAIClient(url, model=MODEL) as client:
            asked = [Prompt(text=f"question {n}", max_tokens=16) for n in range(prompts)]
            return asked, await client.ask_all(asked, concurrency=1)

    return tuple(
        GoldenPrompt(id=n, text=prompt.text, max_tokens=16, expected=reply.text)
        for n, (prompt, reply) in enumerate(zip(*asyncio.run(ask()), strict=True))
    )


class World:
    def __init__(self, fleet):
        self.fleet = fleet
        leases = MemoryLeases(lambda: datetime.now(UTC))
        self.journal = MemoryJournal(leases)
        self.deploy = fleet.deploy(leases=leases, journal=self.journal)

    def run(self, version, deploy=None):
        request = DeployRequest(fleet=self.fleet.fleet.name, version=version)
        return (deploy or self.deploy).run(request, rollout_id=f"to-{version}", by="test")

    def judging_text(self):
        """Return what deploys with golden answers, but no smoke test that sees them first."""
        models = RecordedModels(self.fleet.root / "versions")
        models.recorded = record(self.fleet.url)
        tools = replace(
            self.deploy.tools, models=models, smoke_test=lambda *_, **__: {"engines": 0}
        )
        file = self.fleet.root / "judging text.yaml"
        rules = [*QUICK_ROLLOUT["analysis"]["rules"], AGREEMENT]
        analysis = QUICK_ROLLOUT["analysis"] | {"rules": rules}
        write_json(file, {"rollouts": {"standard": QUICK_ROLLOUT | {"analysis": analysis}}})
        return Deploy(tools, rollout_file=file)

    def traffic(self, rate=40):
        plan = LoadPlan(rate=rate, prompts=PROMPTS, stream_share=0.5, timeout_s=20)
        return Traffic(self.fleet.url, model=MODEL, plan=plan)

    def share(self, colour):
        return self.fleet.router.state().share(colour)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with local_fleet(tmp_path_factory.mktemp("real") / "a home with spaces") as fleet:
        fleet.add_version(1)
        fleet.add_version(2)
        world = World(fleet)
        world.run(1)
        yield world


def test_a_version_goes_live_and_nobody_notices(world):
    with world.traffic() as traffic:
        ended = world.run(2)
    assert ended["outcome"] == "live"
    counts = traffic.counts
    assert counts.requests > 50
    assert (counts.failed, counts.non_2xx, counts.truncated) == (0, 0, 0)
    assert world.share(Colour.GREEN) == 1
    assert {h.status(Colour.BLUE).state for h in world.fleet.hosts.values()} == {"stopped"}


@pytest.mark.parametrize(
    ("version", "fault"),
    [(11, {"error_rate": 0.5}), (12, {"slow_first_token": 20.0}), (13, {"cut_stream": 0.7})],
    ids=["errors", "slow first token", "cut streams"],
)
def test_a_broken_version_is_gone_again(world, version, fault):
    live = world.deploy.status()["live"]
    world.fleet.add_version(version, Simulation.model_validate(QUICK | fault))
    with pytest.raises(GateError):
        world.run(version)
    assert world.deploy.status()["live"] == live
    assert world.share(Colour(live["colour"])) == 1
    assert world.deploy.history()[-1]["outcome"] == "rolled back"


def test_a_version_that_answers_as_recorded_goes_live_and_one_that_doesnt_is_gone_again(world):
    deploy = world.judging_text()
    world.fleet.add_version(15, Simulation.model_validate(QUICK))
    assert world.run(15, deploy)["outcome"] == "live"
    analysed = [e.detail for e in world.journal.events("to-15") if "rules" in e.detail]
    found = {r["rule"]: r for detail in analysed for r in detail["rules"]}["golden"]
    assert (found["verdict"], found["n_green"]) == ("pass", 40)

    live = deploy.status()["live"]
    world.fleet.add_version(16, Simulation.model_validate(QUICK | {"wrong_text": True}))
    with pytest.raises(GateError, match=r"golden: changed golden answers 100.00%"):
        world.run(16, deploy)
    assert deploy.status()["live"] == live
    assert world.share(Colour(live["colour"])) == 1


def test_an_engine_that_ends_while_it_starts_moves_no_traffic(world):
    live = world.deploy.status()["live"]
    world.fleet.add_version(14, Simulation(death="out of memory"))
    with pytest.raises(GateError, match="out of memory"):
        world.run(14)
    assert world.deploy.status()["live"] == live


def test_the_openai_client_works_unchanged_during_a_switch(world):
    world.fleet.add_version(20)
    client = openai.OpenAI(base_url=f"{world.fleet.url}/v1", api_key="none", max_retries=0)
    answers, streams = [], []

    def ask(number):
        message = [{"role": "user", "content": f"question {number}"}]
        answer = client.chat.completions.create(model=MODEL, messages=message, max_tokens=8)
        answers.append(answer.choices[0].message.content)
        stream = client.chat.completions.create(
            model=MODEL, messages=message, max_tokens=8, stream=True
        )
        chunks = list(stream)
        streams.append(chunks[-1].choices[0].finish_reason if chunks[-1].choices else "usage")

    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        rollout = pool.submit(world.run, 20)
        number = 0
        while not rollout.done():
            ask(number := number + 1)
    assert rollout.result()["outcome"] == "live"
    assert len(answers) == len(streams) > 10
    assert all(answers)
