"""Whether a version that somebody pointed at in the registry is deployed to a fleet, or why not.

An event may be lost, doubled or late, so it is only a hint: what counts is where the alias points
now. The run's id is made from the fleet, the version and how many of the fleet's rollouts have
ended. So the same wish gives the same run, and a version that is wanted again after another one
gives a new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from greenlight.core.digest import short
from greenlight.core.types import JsonDict
from greenlight.deploy.journal import History, Outcome, live


class Verdict(StrEnum):
    """What is done about a wish."""

    START = "start"
    WAIT = "wait"
    """Somebody changes the fleet; the next reconcile run looks again."""
    SERVED = "served"
    """The fleet has it already."""
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A version that an alias points at for a fleet."""

    fleet: str
    model: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is done, and why. `run_id`: of the deploy to start, else `None`."""

    wish: Wish
    verdict: Verdict
    reason: str
    run_id: str | None = None

    @property
    def conf(self) -> JsonDict:
        """What the deploy is started with."""
        return {"fleet": self.wish.fleet, "version": self.wish.version}

    def to_json(self) -> JsonDict:
        """Return plain JSON."""
        return {
            "fleet": self.wish.fleet,
            "model": self.wish.model,
            "version": self.wish.version,
            "verdict": str(self.verdict),
            "reason": self.reason,
            "run_id": self.run_id,
        }


def serves(history: History, digest: str) -> bool:
    """Return whether the last rollout that went live brought this digest."""
    now = live(history)
    return now is not None and now.digest == digest


def decide(
    wish: Wish, history: History, *, refusal: str | None, changed_by: str | None
) -> Decision:
    """Decide about one fleet. `refusal`: why the version may not go live now.

    `history`: the fleet's rollouts, oldest first. `changed_by`: who holds the fleet's lease.
    """

    def decided(verdict: Verdict, reason: str, run_id: str | None = None) -> Decision:
        return Decision(wish=wish, verdict=verdict, reason=reason, run_id=run_id)

    what = f"version {wish.version} ({short(wish.digest)})"
    if serves(history, wish.digest):
        return decided(Verdict.SERVED, f"fleet {wish.fleet} serves {what} already")
    if refusal is not None:
        return decided(Verdict.REFUSE, f"{what} may not go live: {refusal}")
    if (why := _taken_back(history, wish.digest)) is not None:
        return decided(
            Verdict.REFUSE,
            f"{what} was taken back from fleet {wish.fleet}: {why}. It is not tried again by "
            "itself: trigger `deploy_blue_green` when the cause is gone",
        )
    if changed_by is not None:
        return decided(Verdict.WAIT, f"fleet {wish.fleet} is being changed by {changed_by}")
    ended = sum(made.outcome is not None for _, made in history)
    run_id = f"alias-{wish.fleet}-v{wish.version}-{short(wish.digest)}-{ended}"
    return decided(
        Verdict.START, f"{what} is wanted on fleet {wish.fleet}: see run {run_id}", run_id
    )


def _taken_back(history: History, digest: str) -> str | None:
    """Return why the digest was rolled back since the fleet last got another version."""
    for rollout, made in reversed(history):
        if made.outcome is Outcome.LIVE:
            return None
        if made.outcome is Outcome.ROLLED_BACK and rollout.digest == digest:
            return made.reason or "the journal has no reason"
    return None
