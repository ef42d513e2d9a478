"""Which sets a region keeps, and why: grandfather, father, son, over a floor that nothing breaks.

A period's place goes to its newest verified set; to its newest unchecked one when none is verified;
never to one that is known to be damaged. Periods without a set don't count, so a machine that was
off for a month loses nothing by it. Days, ISO weeks and months are UTC's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from greenlight.backup.backup_file import Retention
from greenlight.backup.inventory import Inventory, StoredSet, chain_of
from greenlight.core.errors import RefusedError

Reasons = dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of one set. `kept_for`: why it stays; empty: it is deleted."""

    id: str
    state: str
    is_verified: bool
    kept_for: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """What retention does in one region.

    `decisions`: newest first. `expire`: labels of database copies to delete, newest first, so that
    what builds on another goes before it; `forget`: snapshots to delete. Both also name what
    killed runs left. `floor_reached`: a set stays for `min_verified` alone, which the policy would
    delete: too few sets get verified.
    """

    region: str
    decisions: tuple[Decision, ...]
    unreadable: tuple[str, ...]
    expire: tuple[str, ...]
    forget: tuple[str, ...]
    min_verified: int
    floor_reached: bool

    @property
    def kept(self) -> tuple[Decision, ...]:
        """The sets that stay, newest first."""
        return tuple(decision for decision in self.decisions if decision.kept_for)

    @property
    def deleted(self) -> tuple[Decision, ...]:
        """The sets that go, newest first."""
        return tuple(decision for decision in self.decisions if not decision.kept_for)

    @property
    def is_empty(self) -> bool:
        """Whether nothing goes, neither sets nor what killed runs left."""
        return not (self.deleted or self.expire or self.forget)

    @property
    def verified_before(self) -> int:
        """Verified sets there are."""
        return sum(decision.is_verified for decision in self.decisions)

    @property
    def verified_after(self) -> int:
        """Verified sets that stay."""
        return sum(decision.is_verified for decision in self.kept)

    def require_floor(self) -> None:
        """Return when enough verified sets stay.

        Raises:
            RefusedError: the plan would go below `min_verified`. Nothing was deleted.
        """
        if self.verified_after < min(self.min_verified, self.verified_before):
            raise RefusedError(
                f"region {self.region}: the plan leaves {self.verified_after} of "
                f"{self.verified_before} verified sets, and min_verified is {self.min_verified}; "
                "nothing was deleted"
            )

    def lines(self) -> list[str]:
        """Return it as a person reads it."""
        found = [
            f"region {self.region}: {len(self.kept)} sets stay, {len(self.deleted)} go; "
            f"{self.verified_after} of {self.verified_before} verified sets stay "
            f"(never fewer than {self.min_verified})"
        ]
        found += [
            f"{'keep' if one.kept_for else 'delete':6}  {one.id}  {one.state:12}  "
            f"{'; '.join(one.kept_for) or 'no rule keeps it'}"
            for one in self.decisions
        ]
        found += [
            f"keep    {set_id}  unreadable    nobody can say what its manifest named"
            for set_id in self.unreadable
        ]
        if self.floor_reached:
            found.append("the floor keeps what the policy would delete: too few sets are verified")
        if self.expire or self.forget:
            found.append(
                f"delete {len(self.expire)} database copies ({', '.join(self.expire) or 'none'}) "
                f"and {len(self.forget)} snapshots ({', '.join(self.forget) or 'none'})"
            )
        return found


def plan_prune(inventory: Inventory, *, retention: Retention, now: datetime) -> PrunePlan:
    """Decide what a region keeps; nothing is touched.

    When fewer sets are verified than the floor asks for, no set is deleted: one that
    nobody could check yet may be the good one.

    Raises:
        RefusedError: the plan would break the floor, which only a mistake in here can cause.
    """
    newest_first = tuple(reversed(inventory.sets))
    reasons: Reasons = {stored.id: [] for stored in newest_first}
    _keep_periods(reasons, newest_first, retention)
    _keep_newest(reasons, newest_first)
    _keep_locked(reasons, newest_first, now)
    left = _left_by_runs(inventory, lock=timedelta(days=retention.lock_days), now=now)
    _keep_chains(reasons, newest_first, left.chains)
    floor_reached = _keep_floor(reasons, newest_first, retention.min_verified)
    if floor_reached:
        _keep_chains(reasons, newest_first, left.chains)
    kept = [stored for stored in newest_first if reasons[stored.id]]
    labels = {label for stored in kept for label in stored.chain} | left.labels
    snapshots = {stored.snapshot_id for stored in kept} | left.snapshots
    plan = PrunePlan(
        region=inventory.region,
        decisions=tuple(
            Decision(
                id=stored.id,
                state=stored.state,
                is_verified=stored.is_verified,
                kept_for=tuple(reasons[stored.id]),
            )
            for stored in newest_first
        ),
        unreadable=inventory.unreadable,
        expire=tuple(c.label for c in reversed(inventory.copies) if c.label not in labels),
        forget=tuple(s.id for s in reversed(inventory.snapshots) if s.id not in snapshots),
        min_verified=retention.min_verified,
        floor_reached=floor_reached,
    )
    plan.require_floor()
    return plan


def _keep_periods(reasons: Reasons, newest_first: Sequence[StoredSet], policy: Retention) -> None:
    for word, count, form in (
        ("daily", policy.daily, "%Y-%m-%d"),
        ("weekly", policy.weekly, "%G-W%V"),
        ("monthly", policy.monthly, "%Y-%m"),
    ):
        best: dict[str, StoredSet] = {}
        for stored in newest_first:
            if stored.is_damaged:
                continue
            period = stored.point_at.astimezone(UTC).strftime(form)
            holder = best.setdefault(period, stored)
            if stored.is_verified and not holder.is_verified:
                best[period] = stored
        for period in list(best)[:count]:
            reasons[best[period].id].append(f"{word} {period}")


def _keep_newest(reasons: Reasons, newest_first: Sequence[StoredSet]) -> None:
    """Keep the last good chain, and whatever came after it."""
    for stored in newest_first:
        if stored.is_verified:
            reasons[stored.id].append("newest verified")
            return
        reasons[stored.id].append("newer than the newest verified")


def _keep_locked(reasons: Reasons, newest_first: Iterable[StoredSet], now: datetime) -> None:
    for stored in newest_first:
        if stored.locked_until is not None and stored.locked_until > now:
            reasons[stored.id].append(f"locked until {stored.locked_until:%Y-%m-%d %H:%M} UTC")


def _keep_chains(
    reasons: Reasons, newest_first: Sequence[StoredSet], chains: Iterable[frozenset[str]]
) -> None:
    """Keep every set whose database copy a kept set, or a kept copy of no set, builds on."""
    kept = [stored for stored in newest_first if reasons[stored.id]]
    for stored in newest_first:
        if reasons[stored.id]:
            continue
        users = [user.id for user in kept if stored.label in user.chain]
        if users:
            more = f" and {len(users) - 1} more" if len(users) > 1 else ""
            reasons[stored.id].append(f"needed by {users[0]}{more}")
        elif any(stored.label in chain for chain in chains):
            reasons[stored.id].append("needed by a database copy that belongs to no readable set")


def _keep_floor(reasons: Reasons, newest_first: Sequence[StoredSet], least: int) -> bool:
    """Keep the newest verified sets up to the floor; return whether one stays for that alone."""
    verified = [stored for stored in newest_first if stored.is_verified]
    missing = least - sum(bool(reasons[stored.id]) for stored in verified)
    at_risk = [stored for stored in newest_first if not reasons[stored.id]]
    if len(verified) < least:
        why = f"only {len(verified)} of {least} verified sets are there, so no set is deleted"
    else:
        why = f"one of {least} verified sets that always stay"
        at_risk = [stored for stored in at_risk if stored.is_verified][: max(missing, 0)]
    for stored in at_risk:
        reasons[stored.id].append(why)
    return bool(at_risk)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Left:
    """What belongs to no readable set and stays all the same. `chains`: of its database copies."""

    chains: tuple[frozenset[str], ...]
    snapshots: frozenset[str]

    @property
    def labels(self) -> frozenset[str]:
        return frozenset().union(*self.chains)


def _left_by_runs(inventory: Inventory, *, lock: timedelta, now: datetime) -> _Left:
    """Return what was left without a set and must not go yet.

    It may belong to a run that is on its way (newer than the newest set), to a set whose manifest
    is unreadable, or still be locked.
    """
    newest = inventory.sets[-1] if inventory.sets else None
    newest_copy = newest.copy.ended_at if newest and newest.copy else None
    newest_snapshot = newest.snapshot.at if newest and newest.snapshot else None
    owned = {stored.label for stored in inventory.sets}
    owned_snapshots = {stored.snapshot_id for stored in inventory.sets}
    stays = _stays(inventory.unreadable, lock=lock, now=now)
    by_label = {copy.label: copy for copy in inventory.copies}
    return _Left(
        chains=tuple(
            chain_of(copy.label, by_label)
            for copy in inventory.copies
            if copy.label not in owned and stays(copy.ended_at, copy.mark, newest_copy)
        ),
        snapshots=frozenset(
            snapshot.id
            for snapshot in inventory.snapshots
            if snapshot.id not in owned_snapshots
            and stays(snapshot.at, snapshot.mark, newest_snapshot)
        ),
    )


def _stays(
    unreadable: Sequence[str], *, lock: timedelta, now: datetime
) -> Callable[[datetime, str | None, datetime | None], bool]:
    def stays(at: datetime, mark: str | None, newest: datetime | None) -> bool:
        on_its_way = newest is None or at > newest
        may_be_unreadable = bool(unreadable) and (mark is None or mark in unreadable)
        return on_its_way or may_be_unreadable or at + lock > now

    return stays
