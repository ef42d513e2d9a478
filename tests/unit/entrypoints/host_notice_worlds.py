"""A fleet of EC2 instances in memory with a live version, and what AWS tells of them."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

from rollout_worlds import RolloutWorld, a_fleet

from greenlight.deploy.fleet import Fleet
from greenlight.deploy.journal import Phase, Step
from greenlight.entrypoints.host_notices import HostNotices
from greenlight.testing.manual_clock import ManualClock
from greenlight.testing.memory_aws import MemoryEvents, MemoryHook

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def instance(number):
    return f"i-{number:017x}"


def on_ec2(fleet):
    """Return a fleet whose hosts are instances 0, 1, …"""
    found = fleet.model_dump(mode="json")
    for number, host in enumerate(found["hosts"]):
        host["ssm"] = {"instance_id": instance(number), "bucket": "models"}
    return Fleet.model_validate(found)


class NoticeWorld:
    """Version 1 is live on every host, and the schedule wants `needed` of them."""

    def __init__(self, tmp_path, hosts=3, needed=2, is_live=True):
        self.rollouts = RolloutWorld(tmp_path, hosts=hosts)
        if is_live:
            self.rollouts.run(1)
        self.clock, self.needed, self.counts = ManualClock(NOW), needed, Counter()
        self.queue, self.hook = MemoryEvents(self.clock), MemoryHook(self.clock)
        self.tools = replace(self.rollouts.tools(), clock=self.clock, fleet=on_ec2(a_fleet(hosts)))
        self.notices = self.new_worker()

    def new_worker(self, *, drain_s=600):
        return HostNotices(
            tools=self.tools,
            queue=self.queue,
            hook=self.hook,
            drain_s=drain_s,
            needed=lambda: self.needed,
            count=lambda kind, outcome: self.counts.update([(str(kind), str(outcome))]),
        )

    def look(self, *, later=0.0, **asked):
        self.clock.advance(later)
        return self.notices.look(**asked)

    @property
    def live(self):
        return next(iter(self.rollouts.hosts["gpu-0"].engines))

    def modes(self):
        servers = self.rollouts.router.state().of(self.live)
        return {server.host: str(server.mode) for server in servers}

    def busy(self, host, sessions):
        self.rollouts.router.sessions[host, self.live] = sessions

    def drains(self):
        events = self.rollouts.journal.events("to-1")
        return [(e.subject, e.phase) for e in events if e.step is Step.DRAIN]


DRAINED = [("gpu-0", Phase.BEGAN), ("gpu-0", Phase.DONE)]
