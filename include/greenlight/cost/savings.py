"""What became of advice: accepted, dismissed, realised, and how much of it counts.

Two pieces of advice about the same host are not two savings: stopping it at night and making it
smaller save less together than the sum. Each host's saving counts once, the largest first. What is
told as saved is measured afterwards, from the bill, not taken from the advice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from greenlight.core.errors import RefusedError
from greenlight.core.types import JsonDict
from greenlight.cost.rightsizing.catalogue import HOURS_A_MONTH


class State(StrEnum):
    """Where a piece of advice stands."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DISMISSED = "dismissed"
    REALISED = "realised"
    WITHDRAWN = "withdrawn"
    """What it was made from isn't true any more."""


MOVES: Mapping[State, frozenset[State]] = {
    State.OPEN: frozenset({State.ACCEPTED, State.DISMISSED, State.WITHDRAWN}),
    State.ACCEPTED: frozenset({State.REALISED, State.DISMISSED, State.WITHDRAWN}),
    State.DISMISSED: frozenset({State.OPEN}),
    State.REALISED: frozenset(),
    State.WITHDRAWN: frozenset({State.OPEN}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Advice as it is kept. `id` names what is advised, so that the next hour's advice is the same.

    `resources`: the hosts it is about. `monthly_saving`: as advised; below 0: it costs more, and is
    advice all the same. `hourly_before`: what the resources cost an hour when it was accepted.
    `realised`: measured, a month; `None`: not measured yet.
    """

    id: str
    resources: frozenset[str]
    strategy: str
    monthly_saving: Decimal
    currency: str
    detail: JsonDict
    state: State
    made_at: datetime
    changed_at: datetime
    changed_by: str
    reason: str = ""
    hourly_before: Decimal | None = None
    realised: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Which advice counts. `overlapping`: ids left out, and the id that counts in their place."""

    counted: tuple[Recorded, ...]
    overlapping: Mapping[str, str]

    @property
    def monthly_saving(self) -> Decimal:
        """What is saved a month if all that counts is done."""
        return sum((one.monthly_saving for one in self.counted), Decimal(0))


def count_once(advice: Iterable[Recorded]) -> Counted:
    """Return the advice whose savings can be added up: no two are about the same host.

    Advice that isn't open or accepted, and advice that saves nothing, isn't counted.
    """
    alive = [
        one
        for one in advice
        if one.state in (State.OPEN, State.ACCEPTED) and one.monthly_saving > 0
    ]
    taken: dict[str, str] = {}
    counted: list[Recorded] = []
    overlapping: dict[str, str] = {}
    for one in sorted(alive, key=lambda one: (-one.monthly_saving, one.id)):
        rival = next((taken[name] for name in sorted(one.resources) if name in taken), None)
        if rival is not None:
            overlapping[one.id] = rival
            continue
        counted.append(one)
        taken |= dict.fromkeys(one.resources, one.id)
    return Counted(counted=tuple(counted), overlapping=overlapping)


def renewed(known: Recorded | None, fresh: Recorded) -> Recorded:
    """Return what to keep when advice is made again: a person's answer outlives the hour.

    Open advice takes the newest figures. A dismissed one stays dismissed, an accepted one keeps the
    figures that it was accepted with, and a withdrawn one is open again.
    """
    if known is None or known.state in (State.WITHDRAWN, State.REALISED):
        return fresh
    if known.state is State.OPEN:
        return replace(fresh, made_at=known.made_at)
    return known


def move(advice: Recorded, to: State, *, at: datetime, by: str, reason: str) -> Recorded:
    """Return the advice in another state.

    Raises:
        RefusedError: it can't get there from where it is, or nobody says why.
    """
    if to not in MOVES[advice.state]:
        allowed = ", ".join(sorted(MOVES[advice.state])) or "nothing"
        raise RefusedError(
            f"advice {advice.id} is {advice.state} and can't become {to}: only {allowed}"
        )
    if to is State.DISMISSED and not reason.strip():
        raise RefusedError(f"advice {advice.id}: a dismissal needs a reason, for the next reader")
    return replace(advice, state=to, changed_at=at, changed_by=by, reason=reason)


def accept(advice: Recorded, *, hourly_cost: Decimal, at: datetime, by: str) -> Recorded:
    """Return the advice as accepted. `hourly_cost`: what its resources cost an hour now."""
    accepted = move(advice, State.ACCEPTED, at=at, by=by, reason="")
    return replace(accepted, hourly_before=hourly_cost)


def realise(advice: Recorded, *, cost: Decimal, hours: int, at: datetime, by: str) -> Recorded:
    """Return the advice with what it really saves a month, by the bill of `hours` since then.

    Raises:
        RefusedError: it was never accepted, so that there is nothing to compare with, or less than
        a
            day has passed.
    """
    if hours < 24:
        raise RefusedError(f"advice {advice.id}: {hours} h are too few to measure a saving, 24 are")
    realised = move(advice, State.REALISED, at=at, by=by, reason=f"measured over {hours} h")
    if advice.hourly_before is None:
        raise RefusedError(f"advice {advice.id} has no cost from before it was accepted")
    saved = (advice.hourly_before - cost / hours) * HOURS_A_MONTH
    return replace(realised, realised=saved)
