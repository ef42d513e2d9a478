"""Schedules in Greenlight's database. A change holds only if nobody made another one meanwhile."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from greenlight.adapters.database import connected
from greenlight.adapters.database_tables import SCHEDULE_DAYS, SCHEDULES
from greenlight.core.digest import short
from greenlight.core.errors import InputError, RefusedError
from greenlight.core.types import JsonDict
from greenlight.scaling.kept import KeptSchedule, ScheduleState
from greenlight.scaling.look_back import LookBack

DAY_FIELDS = tuple(field.name for field in fields(LookBack))


class DatabaseSchedules:
    """`scaling.ports.ScheduleStore` on Postgres."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, schedule: KeptSchedule) -> KeptSchedule:
        """Keep a new schedule, or return the one with its digest."""
        insert = postgresql.insert(SCHEDULES).values(_row(schedule)).on_conflict_do_nothing()
        with connected(self._engine) as connection:
            connection.execute(insert)
        return self.get(schedule.digest)

    def change(self, schedule: KeptSchedule, *, was: ScheduleState) -> None:
        """Keep a schedule in place of what has its digest."""
        update = (
            sa.update(SCHEDULES)
            .where(SCHEDULES.c.digest == schedule.digest, SCHEDULES.c.state == str(was))
            .values(_row(schedule))
        )
        with connected(self._engine) as connection:
            if not connection.execute(update).rowcount:
                raise RefusedError(f"schedule {short(schedule.digest)} isn't {was} any more")

    def get(self, digest: str) -> KeptSchedule:
        """Return one."""
        found = self._first(sa.select(SCHEDULES).where(SCHEDULES.c.digest == digest))
        if found is None:
            raise InputError(f"there is no schedule {short(digest)}")
        return found

    def applied(self, fleet: str) -> KeptSchedule | None:
        """Return what was applied last to a fleet."""
        return self._first(_applied(fleet))

    def applied_at(self, fleet: str, moment: datetime) -> KeptSchedule | None:
        """Return what had been applied last by a moment."""
        return self._first(_applied(fleet).where(SCHEDULES.c.applied_at <= moment))

    def newest(self, fleet: str, *, count: int = 20) -> tuple[KeptSchedule, ...]:
        """Return a fleet's newest schedules, the newest first."""
        query = (
            sa.select(SCHEDULES)
            .where(SCHEDULES.c.fleet == fleet)
            .order_by(SCHEDULES.c.made_at.desc())
            .limit(count)
        )
        with connected(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(_schedule(row) for row in rows)

    def save_look_back(self, fleet: str, found: LookBack) -> None:
        """Keep how a day went, in place of what was kept of it."""
        row = asdict(found) | {"fleet": fleet}
        insert = postgresql.insert(SCHEDULE_DAYS).values(row)
        changed = {name: insert.excluded[name] for name in DAY_FIELDS if name != "day"}
        with connected(self._engine) as connection:
            connection.execute(
                insert.on_conflict_do_update(index_elements=["fleet", "day"], set_=changed)
            )

    def look_backs(self, fleet: str, first: date, last: date) -> tuple[LookBack, ...]:
        """Return how the days from `first` to `last` went, oldest first."""
        days = SCHEDULE_DAYS.c
        query = (
            sa.select(*(days[name] for name in DAY_FIELDS))
            .where(days.fleet == fleet, days.day >= first, days.day <= last)
            .order_by(days.day)
        )
        with connected(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(LookBack(**row) for row in rows)

    def _first(self, query: sa.Select[tuple[object, ...]]) -> KeptSchedule | None:
        with connected(self._engine) as connection:
            row = connection.execute(query.limit(1)).mappings().first()
        return None if row is None else _schedule(row)


def _applied(fleet: str) -> sa.Select[tuple[object, ...]]:
    return (
        sa.select(SCHEDULES)
        .where(SCHEDULES.c.fleet == fleet, SCHEDULES.c.applied_at.is_not(None))
        .order_by(SCHEDULES.c.applied_at.desc())
    )


def _row(schedule: KeptSchedule) -> JsonDict:
    changed = {"state": str(schedule.state), "waits_for": list(schedule.waits_for)}
    return asdict(schedule) | changed


def _schedule(row: sa.RowMapping) -> KeptSchedule:
    typed = {"state": ScheduleState(row["state"]), "waits_for": tuple(row["waits_for"])}
    return KeptSchedule(**(dict(row) | typed))
