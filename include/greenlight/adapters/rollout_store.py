"""Leases and the journal of rollouts in Greenlight's database.

Times of leases are the database's: the clocks of two controllers need not agree.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from greenlight.adapters.database import connected
from greenlight.adapters.database_tables import LEASES, ROLLOUT_EVENTS, ROLLOUTS
from greenlight.core.errors import InputError, LostLeaseError, RefusedError
from greenlight.deploy.colours import Colour
from greenlight.deploy.journal import Event, Phase, Rollout, Step
from greenlight.deploy.ports import Lease

NOW = sa.func.clock_timestamp()


class DatabaseLeases:
    """`deploy.ports.LeaseStore` on Postgres: one row a fleet, which stays."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def acquire(
        self, fleet: str, *, holder: str, ttl_s: float, instead_of: str | None = None
    ) -> Lease:
        """Take the lease with a new, higher fence."""
        row = {"fleet": fleet, "holder": holder, "taken_at": NOW, "expires_at": _in(ttl_s)}
        insert = postgresql.insert(LEASES).values(fence=1, **row)
        taken = insert.on_conflict_do_update(
            index_elements=[LEASES.c.fleet],
            set_={
                "holder": holder,
                "fence": LEASES.c.fence + 1,
                "taken_at": sa.case((_held_by(holder), LEASES.c.taken_at), else_=NOW),
                "expires_at": _in(ttl_s),
            },
            where=sa.or_(
                LEASES.c.holder.is_(None),
                LEASES.c.holder.in_([holder, instead_of]),
                LEASES.c.expires_at <= NOW,
            ),
        ).returning(LEASES)
        return self._changed(taken, fleet)

    def join(self, fleet: str, *, holder: str, ttl_s: float) -> Lease:
        """Return the holder's lease with its fence as it is, extended."""
        return self._extend(fleet, _held_by(holder), ttl_s)

    def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        """Extend it."""
        mine = sa.and_(_held_by(lease.holder), LEASES.c.fence == lease.fence)
        try:
            return self._extend(lease.fleet, mine, ttl_s)
        except RefusedError as error:
            raise LostLeaseError(str(error)) from error

    def release(self, lease: Lease) -> None:
        """Give it back."""
        with connected(self._engine) as connection:
            connection.execute(
                sa.update(LEASES)
                .where(LEASES.c.fleet == lease.fleet, _held_by(lease.holder))
                .where(LEASES.c.fence == lease.fence)
                .values(holder=None, expires_at=NOW)
            )

    def current(self, fleet: str) -> Lease | None:
        """Return the lease that is held and not expired."""
        query = sa.select(LEASES).where(
            LEASES.c.fleet == fleet, LEASES.c.holder.is_not(None), LEASES.c.expires_at > NOW
        )
        with connected(self._engine) as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else Lease(**row)

    def _extend(self, fleet: str, mine: sa.ColumnElement[bool], ttl_s: float) -> Lease:
        statement = sa.update(LEASES).where(LEASES.c.fleet == fleet, mine)
        return self._changed(statement.values(expires_at=_in(ttl_s)).returning(LEASES), fleet)

    def _changed(self, statement: Any, fleet: str) -> Lease:
        with connected(self._engine) as connection:
            row = connection.execute(statement).mappings().one_or_none()
            if row is not None:
                return Lease(**row)
            query = sa.select(LEASES).where(LEASES.c.fleet == fleet)
            other = connection.execute(query).mappings().one_or_none()
        raise RefusedError(_held_by_another(fleet, other))


class DatabaseJournal:
    """`deploy.ports.JournalStore` on Postgres. Rows are added and never changed."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def open_rollout(self, rollout: Rollout) -> Rollout:
        """Keep a new rollout, or return the one with its id."""
        row = asdict(rollout) | {"colour": str(rollout.colour)}
        insert = postgresql.insert(ROLLOUTS).values(row).on_conflict_do_nothing()
        with connected(self._engine) as connection:
            connection.execute(insert)
        return self.rollout(rollout.id)

    def append(self, event: Event) -> Event:
        """Add an event and return it with its number."""
        row = asdict(event) | {"step": str(event.step), "phase": str(event.phase)}
        del row["number"]
        with connected(self._engine) as connection:
            if event.fence is not None:
                _refuse_stale(connection, event)
            insert = sa.insert(ROLLOUT_EVENTS).values(row).returning(ROLLOUT_EVENTS.c.number)
            return replace(event, number=connection.execute(insert).scalar_one())

    def rollout(self, rollout_id: str) -> Rollout:
        """Return one."""
        found = self._rollouts(ROLLOUTS.c.id == rollout_id)
        if not found:
            raise InputError(f"there is no rollout {rollout_id!r}; see `greenlight deploy history`")
        return found[0]

    def rollouts(self, fleet: str) -> tuple[Rollout, ...]:
        """Return a fleet's rollouts, oldest first."""
        return self._rollouts(ROLLOUTS.c.fleet == fleet)

    def events(self, rollout_id: str) -> tuple[Event, ...]:
        """Return a rollout's events, oldest first."""
        query = (
            sa.select(ROLLOUT_EVENTS)
            .where(ROLLOUT_EVENTS.c.rollout_id == rollout_id)
            .order_by(ROLLOUT_EVENTS.c.number)
        )
        with connected(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(
            Event(**{**row, "step": Step(row["step"]), "phase": Phase(row["phase"])})
            for row in rows
        )

    def _rollouts(self, condition: sa.ColumnElement[bool]) -> tuple[Rollout, ...]:
        query = sa.select(ROLLOUTS).where(condition).order_by(ROLLOUTS.c.started_at, ROLLOUTS.c.id)
        with connected(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(Rollout(**{**row, "colour": Colour(row["colour"])}) for row in rows)


def _in(seconds: float) -> sa.ColumnElement[datetime]:
    return NOW + sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _held_by(holder: str) -> sa.ColumnElement[bool]:
    return LEASES.c.holder == holder


def _held_by_another(fleet: str, row: sa.RowMapping | None) -> str:
    if row is None or row["holder"] is None:
        return f"nobody holds the lease of fleet {fleet}; it was given back"
    until = row["expires_at"].isoformat(timespec="seconds")
    return f"{Lease(**row)}; its lease runs until {until} unless it is renewed"


def _refuse_stale(connection: sa.Connection, event: Event) -> None:
    """Refuse an event of a controller whose lease has passed on. The row is locked: no race."""
    query = (
        sa.select(LEASES.c.fence)
        .join(ROLLOUTS, ROLLOUTS.c.fleet == LEASES.c.fleet)
        .where(ROLLOUTS.c.id == event.rollout_id)
        .with_for_update(read=True, of=LEASES)
    )
    fence = connection.execute(query).scalar_one_or_none()
    if fence is not None and event.fence is not None and event.fence < fence:
        raise LostLeaseError(
            f"rollout {event.rollout_id} acts with fence {event.fence}, but the fleet's lease has "
            f"{fence}: another controller has taken over"
        )
