"""The schedule as YAML: written to be read and diffed by people, read back without loss.

Times of the week are `mon 07:30`, dated ones `2026-12-25 07:30`, both local; overrides have a zone,
because a person may write them elsewhere. Unknown keys are refused.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Self

import yaml
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from greenlight.core.errors import InputError
from greenlight.core.settings import explain
from greenlight.core.types import JsonDict, Value
from greenlight.scaling.calendars import WEEKDAYS
from greenlight.scaling.schedule import (
    Blackout,
    DatedEntry,
    Expected,
    Limits,
    Override,
    Schedule,
    Size,
    WeeklyEntry,
    week_time,
)

_WEEK_TIME = re.compile(rf"^({'|'.join(WEEKDAYS)}) ([01]\d|2[0-3]):([0-5]\d)$")
_LOCAL = "%Y-%m-%d %H:%M"


def _minute(value: Any) -> Any:
    if isinstance(value, str):
        found = _WEEK_TIME.match(value)
        if not found:
            raise ValueError(f"{value!r} is no time of the week such as 'mon 07:30'")
        day, hour, minute = found.groups()
        return WEEKDAYS.index(day) * 24 * 60 + int(hour) * 60 + int(minute)
    return value


def _local(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return datetime.strptime(value, _LOCAL)  # noqa: DTZ007 - local by contract
        except ValueError:
            raise ValueError(f"{value!r} is no local time such as '2026-12-25 07:30'") from None
    return value


def _naive(value: datetime) -> datetime:
    if value.tzinfo is not None:
        raise ValueError("dated entries are in the schedule's zone: leave out the offset")
    return value


WeekTime = Annotated[
    int, BeforeValidator(_minute), Field(ge=0, lt=10_080), PlainSerializer(week_time)
]
LocalTime = Annotated[
    datetime,
    BeforeValidator(_local),
    AfterValidator(_naive),
    PlainSerializer(lambda time: time.strftime(_LOCAL)),
]
Moment = Annotated[
    AwareDatetime, PlainSerializer(lambda time: time.astimezone(UTC).isoformat(timespec="seconds"))
]
Hosts = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]


class _Sized(Value):
    min: Hosts
    desired: Hosts
    max: Hosts
    reason: Text
    slo_pct: float | None = None
    gpu_hours: float | None = None

    @model_validator(mode="after")
    def _sizes_rise(self) -> Self:
        if not self.min <= self.desired <= self.max:
            raise ValueError(f"min {self.min}, desired {self.desired}, max {self.max}: must rise")
        return self

    @property
    def size(self) -> Size:
        return Size(minimum=self.min, desired=self.desired, maximum=self.max)

    @property
    def expected(self) -> Expected | None:
        if self.slo_pct is None or self.gpu_hours is None:
            return None
        return Expected(slo_pct=self.slo_pct, gpu_hours=self.gpu_hours)


class _Weekly(_Sized):
    start: WeekTime = Field(alias="from")
    to: WeekTime


class _Dated(_Sized):
    start: LocalTime = Field(alias="from")
    to: LocalTime


class _Override(Value):
    start: Moment = Field(alias="from")
    expires: Moment
    min: Hosts | None = None
    max: Hosts | None = None
    reason: Text
    by: Text


class _Blackout(Value):
    start: WeekTime = Field(alias="from")
    to: WeekTime
    reason: Text


class _Expected(Value):
    slo_pct: float
    gpu_hours: float


class _ScheduleFile(Value):
    fleet: Text
    zone: Text
    made_at: Moment
    lead_s: Annotated[float, Field(ge=0)]
    gpus_per_host: Annotated[int, Field(ge=0)]
    basis: Text
    floor: Hosts
    ceiling: Hosts
    expected: _Expected | None = None
    week: Annotated[tuple[_Weekly, ...], Field(min_length=1)]
    dated: tuple[_Dated, ...] = ()
    overrides: tuple[_Override, ...] = ()
    blackouts: tuple[_Blackout, ...] = ()


def read_schedule(text: str, *, where: str) -> Schedule:
    """Return the schedule of a YAML text. `where`: its name, for messages.

    Raises:
        InputError: it is no YAML, has an unknown key or a bad value, or its week has a hole.
    """
    try:
        file = _ScheduleFile.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise InputError(f"{where} is not YAML: {error}") from error
    except ValidationError as error:
        raise InputError(explain(error, where=where)) from error
    return Schedule(
        fleet=file.fleet,
        zone=file.zone,
        made_at=file.made_at.astimezone(UTC),
        lead_s=file.lead_s,
        gpus_per_host=file.gpus_per_host,
        basis=file.basis,
        limits=Limits(floor=file.floor, ceiling=file.ceiling),
        expected=Expected(**file.expected.model_dump()) if file.expected else None,
        weekly=tuple(
            WeeklyEntry(start=e.start, end=e.to, size=e.size, reason=e.reason, expected=e.expected)
            for e in file.week
        ),
        dated=tuple(
            DatedEntry(start=e.start, end=e.to, size=e.size, reason=e.reason, expected=e.expected)
            for e in file.dated
        ),
        overrides=tuple(
            Override(
                start=o.start.astimezone(UTC),
                expires=o.expires.astimezone(UTC),
                minimum=o.min,
                maximum=o.max,
                reason=o.reason,
                by=o.by,
            )
            for o in file.overrides
        ),
        blackouts=tuple(Blackout(start=b.start, end=b.to, reason=b.reason) for b in file.blackouts),
    )


def write_schedule(schedule: Schedule) -> str:
    """Return the YAML of a schedule, one line an entry, so that a diff shows what moved."""
    file = _ScheduleFile.model_validate(_values(schedule))
    values = file.model_dump(by_alias=True, exclude_none=True)
    lists = {key: values.pop(key) for key in ("week", "dated", "overrides", "blackouts")}
    lines = [_plain(values).rstrip("\n")]
    for key, entries in lists.items():
        if entries:
            lines += ["", f"{key}:", *(f"- {_flow(entry)}" for entry in entries)]
    return "\n".join(lines) + "\n"


def _values(schedule: Schedule) -> JsonDict:
    expected = schedule.expected
    return {
        "fleet": schedule.fleet,
        "zone": schedule.zone,
        "made_at": schedule.made_at,
        "lead_s": schedule.lead_s,
        "gpus_per_host": schedule.gpus_per_host,
        "basis": schedule.basis,
        "floor": schedule.limits.floor,
        "ceiling": schedule.limits.ceiling,
        "expected": expected and {"slo_pct": expected.slo_pct, "gpu_hours": expected.gpu_hours},
        "week": [_entry(entry) for entry in schedule.weekly],
        "dated": [_entry(entry) for entry in schedule.dated],
        "overrides": [
            {
                "from": o.start,
                "expires": o.expires,
                "min": o.minimum,
                "max": o.maximum,
                "reason": o.reason,
                "by": o.by,
            }
            for o in schedule.overrides
        ],
        "blackouts": [
            {"from": b.start, "to": b.end, "reason": b.reason} for b in schedule.blackouts
        ],
    }


def _entry(entry: WeeklyEntry | DatedEntry) -> JsonDict:
    expected = entry.expected
    return {
        "from": entry.start,
        "to": entry.end,
        "min": entry.size.minimum,
        "desired": entry.size.desired,
        "max": entry.size.maximum,
        "reason": entry.reason,
        "slo_pct": expected and expected.slo_pct,
        "gpu_hours": expected and expected.gpu_hours,
    }


def _plain(values: JsonDict) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1000)


def _flow(values: JsonDict) -> str:
    first = {key: values.pop(key) for key in ("from", "to", "expires") if key in values}
    text = yaml.safe_dump(
        first | values, sort_keys=False, allow_unicode=True, width=1000, default_flow_style=True
    )
    return text.rstrip("\n")
