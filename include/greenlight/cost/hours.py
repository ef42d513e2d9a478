"""Which hours are due, and what became of each: computed, or kept aside with the reasons.

Hours are computed whole and replaced whole, so that a second run changes nothing and late samples
get in. The newest hours are computed again until nothing late can come; an hour kept aside stays
due for as long as its samples are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from greenlight.core.types import Value
from greenlight.cost.allocation import CostLine
from greenlight.cost.bill import HOUR


class HourState(StrEnum):
    """What became of an hour."""

    COMPUTED = "computed"
    ASIDE = "aside"


@dataclass(frozen=True, slots=True, kw_only=True)
class CostHour:
    """An hour, as it was computed last.

    `bill`: in billionths of `currency`; none: it could not be priced. `reasons`: why it is kept
    aside; it then has no lines. `inputs`: a digest of usage and prices, so that a recomputation
    that changes nothing can be told from one that does.
    """

    hour: datetime
    state: HourState
    computed_at: datetime
    inputs: str
    bill: int | None = None
    currency: str | None = None
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    lines: tuple[CostLine, ...] = ()


def kept(known: HourState | None, fresh: CostHour) -> bool:
    """Return whether an hour that was computed anew replaces what is there.

    An hour with costs isn't given up for one that could not be computed this time.
    """
    return known is not HourState.COMPUTED or fresh.state is HourState.COMPUTED


class HourSettings(Value):
    """When hours are computed.

    `settle_minutes`: how long after its end an hour's samples may still be on their way.
    `recompute_hours`: the newest hours that are computed again. `keep_trying_hours`: how long an
    hour that is missing or kept aside is tried; as long as Prometheus keeps samples, at most.
    """

    settle_minutes: Annotated[int, Field(ge=0)] = 5
    recompute_hours: Annotated[int, Field(ge=1)] = 3
    keep_trying_hours: Annotated[int, Field(ge=1)] = 72


def due(
    known: Mapping[datetime, HourState], *, now: datetime, settings: HourSettings
) -> tuple[datetime, ...]:
    """Return the hours to compute, oldest first."""
    settled = now - timedelta(minutes=settings.settle_minutes)
    newest = settled.replace(minute=0, second=0, microsecond=0) - HOUR
    tried = [newest - n * HOUR for n in range(settings.keep_trying_hours - 1, -1, -1)]
    again = newest - settings.recompute_hours * HOUR
    return tuple(
        hour for hour in tried if hour > again or known.get(hour) is not HourState.COMPUTED
    )
