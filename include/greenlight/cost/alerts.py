"""Alerts about money: told once, and again only after it was over.

What was sent is remembered by keys alone (`CostStore.note_alert`). The first time of a matter is
`KEY#1`, its end `KEY#1/over`, the next time `KEY#2`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

OVER = "/over"
STANDS = timedelta(hours=3)
"""An alert that isn't told again is over after this; costs are looked at every hour."""


class Severity(StrEnum):
    """Who should look, as Alertmanager's routes have it."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One matter. `key` names it, the same one every hour.

    `ends_at`: it is over by then, unless it is told again.
    """

    key: str
    name: str
    severity: Severity
    summary: str
    description: str
    labels: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime


class AlertSink(Protocol):
    """Somebody who is told.

    Alertmanager remembers what it was told and wants to hear all that stands every hour; others get
    what is new only (`Due.fired`).
    """

    def send(self, alerts: Sequence[Alert]) -> None:
        """Tell them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What is to be said now. The keys are to be noted once it is."""

    fired: tuple[Alert, ...]
    over: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """What to note."""
        return (*(alert.key for alert in self.fired), *(f"{key}{OVER}" for key in self.over))


def due(standing: Iterable[Alert], *, sent: Collection[str], held: Collection[str] = ()) -> Due:
    """Return what is new and what is over.

    `standing`: everything that is the case now. `sent`: keys noted so far, of the matters that were
    looked at: what isn't standing is over, unless it is `held`, because it can't be told now or is
    near enough to its limit.
    """
    alerts = {alert.key: alert for alert in standing}
    fired = [
        replace(alert, key=f"{key}#{_times(key, sent) + 1}")
        for key, alert in alerts.items()
        if not is_open(key, sent)
    ]
    known = {one.partition("#")[0] for one in sent}
    over = sorted(
        f"{key}#{_times(key, sent)}"
        for key in known
        if is_open(key, sent) and key not in alerts and key not in held
    )
    return Due(fired=tuple(fired), over=tuple(over))


def is_open(key: str, sent: Collection[str]) -> bool:
    """Return whether a matter was told and not yet over."""
    times = _times(key, sent)
    return times > 0 and f"{key}#{times}{OVER}" not in sent


def _times(key: str, sent: Collection[str]) -> int:
    """Return how often a matter was told."""
    return sum(one.startswith(f"{key}#") and not one.endswith(OVER) for one in sent)
