"""Which hosts of a fleet start, serve, drain and stop, so that as many serve as should.

Nothing here waits: a step is small, and the next look goes on from what it finds. So a host that
drains is taken back the moment it is needed again, and a loop that was killed leaves nothing behind
that the next one couldn't carry on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

ALWAYS = 1
"""Hosts that serve whatever the floor is: clients ask the router, which can't wake anybody."""


class SlotState(StrEnum):
    """What a host does for the live version."""

    SERVING = "serving"
    STARTING = "starting"
    WAITING = "waiting"
    """Its engine is ready, and the router doesn't send it requests yet."""
    DRAINING = "draining"
    RESTING = "resting"
    AWAY = "away"
    """It can't be asked, its engine failed, or it serves something else: left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A host. `draining_s`: for how long it has been; `sessions`: requests that are on it."""

    host: str
    state: SlotState
    sessions: int = 0
    draining_s: float = 0.0
    reason: str = ""


class Action(StrEnum):
    """What is done to a host."""

    START = "start"
    ADMIT = "admit"
    """The router sends it requests, from now on or again."""
    DRAIN = "drain"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do."""

    action: Action
    host: str
    why: str

    @property
    def line(self) -> str:
        """The step, for people."""
        return f"{self.action} {self.host}: {self.why}"


def hosts_there(slots: Sequence[Slot]) -> tuple[int, int]:
    """Return how many serve, and how many are on their way to it."""
    serving = sum(slot.state is SlotState.SERVING for slot in slots)
    coming = sum(slot.state in (SlotState.STARTING, SlotState.WAITING) for slot in slots)
    return serving, coming


def plan_slots(
    slots: Sequence[Slot], *, desired: int, floor: int, drain_s: float, held: bool
) -> tuple[Step, ...]:
    """Return the steps from what there is to `desired` hosts, in the fleet's order of hosts.

    `held`: nothing is known of the load, so a host that drains is taken back. `drain_s`: how long
    its requests may go on. No step leaves fewer serving than the floor, whatever is desired.
    """
    least = max(floor, ALWAYS)
    wanted = max(desired, least)
    draining = [slot for slot in slots if slot.state is SlotState.DRAINING]
    steps = [
        Step(action=Action.ADMIT, host=slot.host, why="its engine is ready")
        for slot in slots
        if slot.state is SlotState.WAITING
    ]
    serving, coming = hosts_there(slots)
    there = serving + coming
    back = draining if held else draining[: max(0, wanted - there)]
    steps += [
        Step(action=Action.ADMIT, host=slot.host, why="it is needed again before it was stopped")
        for slot in back
    ]
    there += len(back)
    if there < wanted:
        resting = [slot for slot in slots if slot.state is SlotState.RESTING]
        steps += [
            Step(action=Action.START, host=slot.host, why=f"{there} hosts, {wanted} are wanted")
            for slot in resting[: wanted - there]
        ]
    if there > wanted and not held:
        steps = _fewer(slots, steps, there - wanted, spare=serving - least, wanted=wanted)
    return (*steps, *_ended([slot for slot in draining if slot not in back], drain_s))


def _fewer(
    slots: Sequence[Slot], steps: Sequence[Step], excess: int, *, spare: int, wanted: int
) -> list[Step]:
    """Return the steps with so many hosts fewer: those that don't serve yet, then the last ones.

    `spare`: how many of those that serve may go.
    """
    why = f"{wanted} hosts are enough"
    coming = [s for s in slots if s.state in (SlotState.STARTING, SlotState.WAITING)]
    ending = {slot.host for slot in coming[::-1][:excess]}
    serving = [slot for slot in slots if slot.state is SlotState.SERVING]
    going = serving[::-1][: max(0, min(excess - len(ending), spare))]
    return [
        *(step for step in steps if step.host not in ending),
        *(Step(action=Action.STOP, host=s.host, why=why) for s in coming if s.host in ending),
        *(Step(action=Action.DRAIN, host=slot.host, why=why) for slot in going),
    ]


def _ended(draining: Sequence[Slot], drain_s: float) -> list[Step]:
    steps = []
    for slot in draining:
        if not slot.sessions:
            steps.append(
                Step(action=Action.STOP, host=slot.host, why="nothing runs on it any more")
            )
        elif slot.draining_s >= drain_s:
            why = f"{slot.sessions} requests outlived drain_s ({drain_s:g} s) and are cut"
            steps.append(Step(action=Action.STOP, host=slot.host, why=why))
    return steps
