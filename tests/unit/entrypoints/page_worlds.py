"""A home with a fleet, whose stores are in memory."""

import yaml

from greenlight.core.errors import UnavailableError
from greenlight.core.settings import Settings
from greenlight.deploy.colours import Colour
from greenlight.deploy.ports import ServerMode, ServerState
from greenlight.entrypoints.page.sources import Sources
from greenlight.testing import page_story as story
from greenlight.testing.manual_clock import ManualClock
from greenlight.testing.memory_history import MemoryHistory
from greenlight.testing.memory_registry import MemoryRegistry
from greenlight.testing.memory_rollouts import MemoryJournal, MemoryLeases
from greenlight.testing.memory_schedules import MemorySchedules


class Approvals:
    """Decisions in a list."""

    def __init__(self):
        self.kept = []

    def approvals(self, *, model=None, version=None):
        return tuple(self.kept)


def a_server(host, colour, **changes):
    fields = {"weight": 50, "mode": ServerMode.READY, "up": True, "sessions": 0} | changes
    return ServerState(host=host, colour=colour, **fields)


class PageWorld(Sources):
    """Sources of which each part is a fake. `routed`: what the router says; none: it's away."""

    def __init__(self, folder, *, told=True):
        super().__init__(Settings(home=folder / "a home"), clock=ManualClock())
        self.now = self.clock.now()
        config = self.settings.home / "config"
        config.mkdir(parents=True)
        for name, content in {"fleet": story.FLEETS, "scaling": story.SCALING}.items():
            (config / f"{name}.yaml").write_text(yaml.safe_dump(content))
        self.leases = MemoryLeases(self.clock.now)
        self.journal = MemoryJournal(self.leases)
        self.backups, self.schedules = MemoryHistory(), MemorySchedules()
        self.registry, self.approvals = MemoryRegistry(), Approvals()
        self.routed = {(h, c): a_server(h, c) for h in story.HOSTS for c in Colour}
        if told:
            story.tell_rollouts(self.journal, self.leases, now=self.now)
            story.tell_backups(self.backups, now=self.now)
            story.tell_schedules(self.schedules, now=self.now)

    def servers(self, fleet):
        if self.routed is None:
            raise UnavailableError("HAProxy does not answer")
        return self.routed
