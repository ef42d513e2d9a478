"""What a rollout did, as events; what is true now, folded from them.

Every step is written before it is done (`began`) and after (`done`). A worker that was killed in
between repeats the step, which is idempotent: so the journal needs no clean-up.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from greenlight.core.types import JsonDict
from greenlight.deploy.colours import Colour

if TYPE_CHECKING:
    from greenlight.deploy.ports import JournalStore


class Phase(StrEnum):
    """Where in its step an event was written."""

    BEGAN = "began"
    DONE = "done"
    FAILED = "failed"


class Outcome(StrEnum):
    """How a rollout ended."""

    LIVE = "live"
    """The new colour serves everybody, and the alias points at it."""
    ROLLED_BACK = "rolled back"


class Step(StrEnum):
    """The steps of a rollout, in their order. Some happen once a host or once a share."""

    PREPARE = "prepare"
    SMOKE = "smoke"
    WARM_UP = "warm up"
    SHIFT = "shift"
    ANALYSE = "analyse"
    BAKE = "bake"
    PROMOTE = "promote"
    RETIRE = "retire"
    """The old colour is drained and stopped."""
    ROLL_BACK = "roll back"
    CLEAN_UP = "clean up"
    """The new colour is stopped after a roll-back."""
    FINISH = "finish"
    DRAIN = "drain"
    """No step of the way: its cloud takes a host, and so it gets no more requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One attempt to bring one version to one fleet. `colour` is the one it goes to.

    `request` is what was asked for, so that a retry after a crash does the same.
    """

    id: str
    fleet: str
    model: str
    version: int
    digest: str
    flags_digest: str
    strategy: str
    colour: Colour
    started_at: datetime
    started_by: str
    previous_version: int | None
    """What was live before; `None`: nothing was."""
    previous_digest: str | None
    request: JsonDict = field(default_factory=dict)

    @property
    def is_first(self) -> bool:
        """Whether nothing was live on the fleet before."""
        return self.previous_digest is None

    @property
    def replaces_dead(self) -> bool:
        """Whether no engine of what was live answered, and a person gave it up."""
        return bool(self.request.get("replaces_dead"))

    @property
    def is_alone(self) -> bool:
        """Whether nobody serves beside it: nothing to compare with, nobody to go back to."""
        return self.is_first or self.replaces_dead


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the journal. `subject`: the host or the share a step was about."""

    rollout_id: str
    at: datetime
    step: Step
    phase: Phase
    subject: str = ""
    fence: int | None = None
    detail: JsonDict = field(default_factory=dict)
    number: int | None = None
    """The store's, `None` before it is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What the journal says about a rollout.

    `share`: the last share of the new colour, in percent, that was shifted to and read back.
    `breached`: it goes back, and never forward again.
    """

    done: frozenset[tuple[Step, str]]
    share: int
    outcome: Outcome | None
    reason: str | None
    breached: bool

    def has(self, step: Step, subject: str = "") -> bool:
        """Return whether a step is done."""
        return (step, subject) in self.done


def progress(events: Sequence[Event]) -> Progress:
    """Fold a rollout's events, oldest first."""
    done: set[tuple[Step, str]] = set()
    share, breached = 0, False
    outcome: Outcome | None = None
    reason: str | None = None
    for event in events:
        if event.phase is Phase.FAILED:
            reason = event.detail.get("reason", reason)
            breached = breached or event.step is not Step.CLEAN_UP
        if event.step is Step.ROLL_BACK:  # begun: traffic may be back already
            breached = True
            reason = event.detail.get("reason", reason)
        if event.phase is not Phase.DONE:
            continue
        done.add((event.step, event.subject))
        if event.step in (Step.SHIFT, Step.ROLL_BACK):
            share = int(event.detail.get("share", 0))
        if event.step is Step.FINISH:
            outcome = Outcome(event.detail["outcome"])
            reason = event.detail.get("reason", reason)
    return Progress(
        done=frozenset(done), share=share, outcome=outcome, reason=reason, breached=breached
    )


History = Sequence[tuple[Rollout, Progress]]
"""A fleet's rollouts and how each stands, oldest first."""


def history_of(
    journal: JournalStore, fleet: str, *, ended: MutableMapping[str, Progress] | None = None
) -> History:
    """Read a fleet's rollouts, and fold the events of each.

    `ended`: for who asks again and again, what it found of rollouts that have an outcome, by id.
    These are not read a second time.
    """
    known = {} if ended is None else ended
    found = []
    for rollout in journal.rollouts(fleet):
        made = known.get(rollout.id) or progress(journal.events(rollout.id))
        if made.outcome is not None:
            known[rollout.id] = made
        found.append((rollout, made))
    return found


def since_live(journal: JournalStore, fleet: str) -> History:
    """Read no more than says what a fleet serves: back to the last rollout that went live."""
    found: list[tuple[Rollout, Progress]] = []
    for rollout in reversed(journal.rollouts(fleet)):
        found.append((rollout, progress(journal.events(rollout.id))))
        if found[-1][1].outcome is Outcome.LIVE:
            break
    return found[::-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What a fleet serves, as the journal has it."""

    version: int
    digest: str
    colour: Colour
    flags_digest: str
    rollout_id: str


def live(history: History) -> Live | None:
    """Return what the last rollout that went live left, oldest first; `None`: nothing yet."""
    for rollout, made in reversed(history):
        if made.outcome is Outcome.LIVE:
            return Live(
                version=rollout.version,
                digest=rollout.digest,
                colour=rollout.colour,
                flags_digest=rollout.flags_digest,
                rollout_id=rollout.id,
            )
    return None


def unfinished(history: History) -> Rollout | None:
    """Return the newest rollout without an outcome: it runs, or its worker was killed."""
    return next((rollout for rollout, made in reversed(history) if made.outcome is None), None)
