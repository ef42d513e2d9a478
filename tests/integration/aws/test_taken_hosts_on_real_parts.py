"""AWS takes a host of a real HAProxy while clients stream: none is cut. The queue is moto's SQS."""

import os
import shutil
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import boto3
import psutil
import pytest

from greenlight.adapters.aws_events import SqsEvents
from greenlight.adapters.load_plan import GoldenPrompt, LoadPlan
from greenlight.adapters.traffic import Traffic
from greenlight.core.clock import SystemClock
from greenlight.cost.spot.host_events import NOTICE_TIME
from greenlight.deploy.fleet import Fleet
from greenlight.deploy.journal import Phase, Step, history_of, live
from greenlight.deploy.request import DeployRequest
from greenlight.entrypoints.host_notices import HostNotices
from greenlight.testing.local_fleet import FLEET, MODEL, local_fleet
from greenlight.testing.memory_aws import MemoryHook, ending, interruption
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases
from greenlight.testing.simulation import Simulation
from greenlight.testing.waiting import wait_for

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed"),
]
REGION = "eu-west-2"
LONG = Simulation(first_token_s=0.05, token_s=0.05, tokens=30)
"""Answers of a second and a half, so that some are on a host whenever it goes."""
PROMPTS = tuple(GoldenPrompt(id=n, text=f"prompt {n}", max_tokens=30) for n in range(5))
PLAN = LoadPlan(rate=12, prompts=PROMPTS, stream_share=0.8, timeout_s=20)
EVERY_S = 0.3
ROOM_S = 8.0
"""What is left of the two minutes when the notice is read."""


def instance(number):
    return f"i-{number:017x}"


class World:
    """A version is live on three hosts, each said to be an EC2 instance."""

    def __init__(self, fleet):
        leases = MemoryLeases(lambda: datetime.now(UTC))
        self.fleet, self.journal = fleet, MemoryJournal(leases)
        deploy = fleet.deploy(leases=leases, journal=self.journal)
        fleet.add_version(1, LONG)
        deploy.run(DeployRequest(fleet=FLEET, version=1), rollout_id="to-1", by="test")
        self.live = live(history_of(self.journal, FLEET))
        described = fleet.fleet.model_dump(mode="json")
        for number, host in enumerate(described["hosts"]):
            host["ssm"] = {"instance_id": instance(number), "bucket": "models"}
        self.tools = replace(deploy.tools, fleet=Fleet.model_validate(described))
        self.counts = []

    def worker(self, queue, hook):
        return HostNotices(
            tools=self.tools,
            queue=queue,
            hook=hook,
            drain_s=30,
            needed=lambda: None,
            count=lambda kind, outcome: self.counts.append((str(kind), str(outcome))),
        )

    def take(self, number):
        """End a host's engine as AWS ends a machine: without a goodbye."""
        port = self.tools.fleet.hosts[number].slots.of(self.live.colour).port
        (pid,) = {c.pid for c in psutil.net_connections("tcp")
                  if c.laddr.port == port and c.status == psutil.CONN_LISTEN}  # fmt: skip
        os.kill(pid, signal.SIGKILL)

    def mode(self, number):
        servers = self.fleet.router.state().of(self.live.colour)
        return next(str(s.mode) for s in servers if s.host == f"host-{number}")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with local_fleet(tmp_path_factory.mktemp("aws") / "a home with spaces", hosts=3) as fleet:
        yield World(fleet)


@pytest.fixture
def queue(aws):
    return boto3.client("sqs").create_queue(QueueName="greenlight")["QueueUrl"]


def send(queue, body):
    boto3.client("sqs").send_message(QueueUrl=queue, MessageBody=body)


def left(queue):
    named = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = boto3.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=named)
    return sum(int(value) for value in found["Attributes"].values())


def test_hosts_go_one_after_the_other_while_clients_stream_and_none_is_cut(world, queue):
    hook = MemoryHook(SystemClock(), heartbeat_s=30)
    worker = world.worker(SqsEvents(queue, region=REGION), hook)
    with Traffic(world.fleet.url, model=MODEL, plan=PLAN) as traffic:
        time.sleep(1.5)
        told = datetime.now(UTC) - NOTICE_TIME + timedelta(seconds=ROOM_S)
        for _ in range(2):  # EventBridge tells things more than once
            send(queue, interruption(instance(0), told=told))
        until(lambda: world.counts == [("interruption", "drained")], worker)
        world.take(0)

        hook.hold("t")
        send(queue, ending(instance(1), told=datetime.now(UTC), LifecycleActionToken="t"))
        until(lambda: not hook.is_held("t"), worker)
        world.take(1)
        time.sleep(1)
    assert world.counts == [("interruption", "drained"), ("termination", "drained")]
    assert hook.calls[-1] == ("complete", instance(1))
    assert left(queue) == 0
    assert [world.mode(n) for n in range(3)] == ["drain", "drain", "ready"]
    journal = [(e.subject, e.phase) for e in world.journal.events("to-1") if e.step is Step.DRAIN]
    assert journal == [(f"host-{n}", p) for n in (0, 1) for p in (Phase.BEGAN, Phase.DONE)]
    counts = traffic.counts
    assert counts.requests > 60
    assert counts.failed == 0, counts.reasons


def test_without_a_drain_streams_would_have_been_cut(world):
    """So the test above can fail."""
    with Traffic(world.fleet.url, model=MODEL, plan=PLAN) as traffic:
        time.sleep(1.5)
        world.take(2)
    assert traffic.counts.truncated > 0


def until(condition, worker):
    def looked():
        worker.look()
        return condition()

    wait_for(looked, seconds=60, every_s=EVERY_S, why=lambda: worker.in_hand)
