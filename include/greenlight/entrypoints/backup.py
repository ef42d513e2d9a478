"""Backup sets: made, listed, verified, pruned. What the DAG and `greenlight backup` call."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from greenlight.backup.contents import SOURCES
from greenlight.backup.history import BackupRun
from greenlight.backup.inventory import Inventory, StoredSet, read_inventory
from greenlight.backup.ladder import Outcome
from greenlight.backup.retention import PrunePlan, plan_prune
from greenlight.backup.sets import BackupKind, BackupSet, Verdict, Verification, set_id
from greenlight.core.errors import GateError, InputError, RefusedError, UnavailableError
from greenlight.entrypoints.backup_run import REGION_FAILS, Ended, Plan, Run, Say, verify
from greenlight.entrypoints.lease_keeper import LeaseKeeper

if TYPE_CHECKING:
    from greenlight.backup.ports import SetStore
    from greenlight.entrypoints.backup_tools import BackupTools

log = logging.getLogger(__name__)

LEASE = "backup"
LEASE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A set as one region has it. `stored` is none when the region has no part of it."""

    region: str
    backup: BackupSet
    stored: StoredSet | None
    verification: Verification | None


class Backups:
    """The sets of one home."""

    def __init__(self, tools: BackupTools) -> None:
        self._tools = tools

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions' names."""
        return tuple(self._tools.stores)

    def plan(self, kind: BackupKind | None = None) -> Plan:
        """Say what a run would do; nothing is changed."""
        from greenlight.adapters.saved_files import saved_source, secret_names

        home = self._tools.home
        chosen, why = (kind, "asked for") if kind else self._due()
        return Plan(
            kind=chosen,
            why=why,
            regions=tuple(self._tools.stores),
            sources=tuple(found for source in SOURCES if (found := saved_source(home, source))),
            excluded=secret_names(home),
        )

    def run(self, kind: BackupKind | None = None, *, by: str, say: Say = log.info) -> Ended:
        """Make a set in every region that answers, and verify it where it is.

        Raises:
            RefusedError: another run is going on.
            UnavailableError: a region was away; the set is in the others, verified. Another class
                when it was full, or did not let us in.
            GateError: the set does not verify.
        """
        tools = self._tools
        began = tools.clock.now()
        with self._alone(by) as keeper:
            plan = self.plan(kind)
            run = Run(
                tools=tools,
                name=self._new_id(began),
                began=began,
                plan=plan,
                check=keeper.check,
                say=say,
            )
            ended = run.make()
            tools.history.add_run(_as_run(began, plan.kind, by, ended))
        require_whole(ended)
        return ended

    def inventories(self, region: str | None = None) -> tuple[Inventory, ...]:
        """Return what a region keeps, or each.

        Raises:
            UnavailableError: a region does not answer.
        """
        return tuple(self._inventory(store) for store in self._stores(region))

    def show(self, name: str) -> tuple[Shown, ...]:
        """Return a set as each region has it.

        Raises:
            InputError: no region has it, or its manifest can't be read.
        """
        found = []
        known: set[str] = set()
        for inventory in self.inventories():
            store = self._tools.store(inventory.region)
            known |= {stored.id for stored in inventory.sets} | set(inventory.unreadable)
            if name in store.ids():
                found.append(
                    Shown(
                        region=inventory.region,
                        backup=store.get(name),
                        stored=next((s for s in inventory.sets if s.id == name), None),
                        verification=store.verification(name),
                    )
                )
        if not found:
            newest = ", ".join(sorted(known)[-5:]) or "none"
            raise InputError(f"there is no set {name!r}; the newest are: {newest}")
        return tuple(found)

    def verify(
        self, name: str | None = None, *, region: str | None = None, say: Say = log.info
    ) -> tuple[Verification, ...]:
        """Read a set (the newest) back where it is, in one region or all, and keep the verdicts.

        Raises:
            InputError: there is no such set, or its manifest can't be read.
        """
        checks = []
        for store in self._stores(region):
            wanted = name or next(reversed(store.ids()), None)
            if wanted is None:
                raise InputError(f"region {store.region} has no set yet: `greenlight backup run`")
            checks.append(verify(self._tools, store.get(wanted), store.region, say=say))
        return tuple(checks)

    def prune_plan(self, region: str) -> PrunePlan:
        """Say which sets retention keeps in a region and why, and which would go."""
        return plan_prune(
            self._inventory(self._tools.store(region)),
            retention=self._tools.config.retention,
            now=self._tools.clock.now(),
        )

    def prune(self, plan: PrunePlan, *, by: str, say: Say = log.info) -> None:
        """Delete what a plan says: the manifest first, so that no set is ever half there.

        Also with an empty plan, what an embedded store keeps of deleted objects is given back.

        Raises:
            RefusedError: backups are being made, or sets came or went since the plan was made.
        """
        tools, store = self._tools, self._tools.store(plan.region)
        with self._alone(by) as keeper:
            if self.prune_plan(plan.region) != plan:
                raise RefusedError(
                    f"region {plan.region}: sets have changed since this plan was made; look at "
                    "the new one. Nothing was deleted"
                )
            for decision in plan.deleted:
                keeper.check()
                store.delete(decision.id)
                say(f"region {plan.region}: set {decision.id} is deleted")
            for label in plan.expire:
                keeper.check()
                tools.database_backups.expire(plan.region, label)
            if plan.forget:
                tools.files.forget(plan.region, plan.forget)
            keeper.check()
            lock = timedelta(days=tools.config.retention.lock_days)
            if freed := tools.remove_old_versions(plan.region, tools.clock.now() - lock):
                say(f"region {plan.region}: {freed / 1e6:,.1f} MB of deleted objects given back")

    def _stores(self, region: str | None) -> list[SetStore]:
        return [self._tools.store(region)] if region else list(self._tools.stores.values())

    def _inventory(self, store: SetStore) -> Inventory:
        return read_inventory(store, self._tools.database_backups, self._tools.files)

    def _due(self) -> tuple[BackupKind, str]:
        """Return the kind that is due, and why: full when a region has none young enough."""
        days = self._tools.config.full_every_days
        oldest = self._tools.clock.now() - timedelta(days=days) + timedelta(hours=1)
        for region in self._tools.stores:
            try:
                copies = self._tools.database_backups.copies(region)
            except REGION_FAILS as error:
                log.warning("region %s: %s", region, error)
                continue
            full = [copy for copy in copies if copy.kind is BackupKind.FULL]
            if not full:
                return BackupKind.FULL, f"region {region} has none"
            if full[-1].ended_at < oldest:
                return BackupKind.FULL, f"the last one in region {region} is {days} days old"
        return BackupKind.INCREMENTAL, f"a full one is younger than {days} days"

    def _new_id(self, began: datetime) -> str:
        """Return a name after every set there is, whatever the clock did meanwhile.

        Raises:
            RefusedError: the newest set is of a later time: the clock went back.
        """
        name, newest = set_id(began), ""
        for region, store in self._tools.stores.items():
            try:
                newest = max([newest, *store.ids()[-1:]])
            except REGION_FAILS as error:
                log.warning("region %s: %s", region, error)
        if name <= newest:
            raise RefusedError(
                f"the newest set is {newest}, but it is {name} by this machine's clock: the clock "
                "went back, and retention would take a new set for an old one; set the clock right"
            )
        return name

    @contextmanager
    def _alone(self, by: str) -> Iterator[LeaseKeeper]:
        leases = self._tools.leases
        try:
            lease = leases.acquire(LEASE, holder=by, ttl_s=LEASE_S)
        except RefusedError as error:
            now = leases.current(LEASE)
            since = f"{now.holder} since {now.taken_at:%Y-%m-%d %H:%M:%S} UTC" if now else "nobody"
            raise RefusedError(
                f"backups are being made or pruned by {since}; wait for it. When that was killed, "
                f"its claim lapses within {LEASE_S:g} s"
            ) from error
        try:
            with LeaseKeeper(leases, lease, ttl_s=LEASE_S) as keeper:
                yield keeper
        finally:
            leases.release(lease)


def require_whole(ended: Ended) -> None:
    """Return when the set is in every region and was read back there.

    Raises:
        GateError: it isn't what was saved.
        GreenlightError: a region failed; the class is that of its failure.
    """
    damaged = [check for check in ended.verifications if check.verdict is Verdict.FAIL]
    if damaged:
        findings = "; ".join(f"region {c.region}: {'; '.join(c.findings)}" for c in damaged)
        raise GateError(f"set {ended.backup.id} does not verify: {findings}")
    unproven = [c for c in ended.verifications if c.verdict is Verdict.INCONCLUSIVE]
    why = [*map(str, ended.failed), *(f for c in unproven for f in c.findings)]
    if why:
        good = [c.region for c in ended.verifications if c.verdict is Verdict.PASS]
        kind = type(ended.failed[0]) if ended.failed else UnavailableError
        raise kind(
            f"set {ended.backup.id} is verified only in {', '.join(good) or 'no region'}: "
            f"{'; '.join(why)}"
        )


def _as_run(began: datetime, kind: BackupKind, by: str, ended: Ended) -> BackupRun:
    verdicts = {check.verdict for check in ended.verifications}
    outcome = Outcome.PASS
    if Verdict.FAIL in verdicts:
        outcome = Outcome.FAIL
    elif ended.failed or Verdict.INCONCLUSIVE in verdicts:
        outcome = Outcome.INCONCLUSIVE
    return BackupRun(
        set_id=ended.backup.id,
        kind=kind,
        began_at=began,
        ended_at=ended.backup.ended_at,
        outcome=outcome,
        started_by=by,
        detail=ended.backup.model_dump(mode="json", include={"copies", "point", "sources"})
        | {"failed": list(map(str, ended.failed))},
    )
