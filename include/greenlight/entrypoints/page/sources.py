"""Where the panels read: opened on first use and kept, so that a page costs no new connections."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.settings import Settings, read_config
from greenlight.deploy.fleet import Fleet, FleetFile
from greenlight.entrypoints import stack

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa

    from greenlight.backup.ports import BackupHistory
    from greenlight.deploy.ports import JournalStore, LeaseStore, ServerState
    from greenlight.deploy.shares import ServerKey
    from greenlight.registry.ports import ApprovalStore, ModelRegistry
    from greenlight.scaling.ports import ScheduleStore

ROUTER_WITHIN_S = 2.0


class Sources:
    """Stores and files of one home. What can't be opened is tried again by the next reader."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()

    @property
    def fleets(self) -> tuple[Fleet, ...]:
        """The fleets of fleet.yaml, read anew each time.

        Raises:
            ConfigError: the file is wrong.
        """
        return read_config(self.settings.config_file("fleet"), FleetFile).fleets

    @cached_property
    def database(self) -> sa.Engine:
        """Greenlight's database.

        Raises:
            RefusedError: none is configured, and the embedded stack is not up.
        """
        return stack.open_database(self.settings)

    @cached_property
    def journal(self) -> JournalStore:
        """What rollouts did."""
        from greenlight.adapters.rollout_store import DatabaseJournal

        return DatabaseJournal(self.database)

    @cached_property
    def leases(self) -> LeaseStore:
        """Who changes which fleet."""
        from greenlight.adapters.rollout_store import DatabaseLeases

        return DatabaseLeases(self.database)

    @cached_property
    def approvals(self) -> ApprovalStore:
        """What people decided."""
        from greenlight.adapters.approval_store import DatabaseApprovals

        return DatabaseApprovals(self.database)

    @cached_property
    def backups(self) -> BackupHistory:
        """Backup runs and drills."""
        from greenlight.adapters.backup_store import DatabaseHistory

        return DatabaseHistory(self.database)

    @cached_property
    def schedules(self) -> ScheduleStore:
        """Schedules, and how the days went."""
        from greenlight.adapters.schedule_store import DatabaseSchedules

        return DatabaseSchedules(self.database)

    @cached_property
    def registry(self) -> ModelRegistry:
        """The model registry.

        Raises:
            RefusedError: none is configured, and the embedded stack is not up.
        """
        from greenlight.entrypoints.models import open_registry

        return open_registry(self.settings)

    def servers(self, fleet: Fleet) -> Mapping[ServerKey, ServerState]:
        """Return what a fleet's router does. It is only asked, never started.

        Raises:
            UnavailableError: it does not answer.
        """
        from greenlight.adapters.haproxy.runtime import RuntimeApi

        folder = self.settings.home / "router" / fleet.name
        return RuntimeApi(folder, timeout_s=ROUTER_WITHIN_S).servers()
