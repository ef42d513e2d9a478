"""What should have been running in an hour, from fleet.yaml and the journal of rollouts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from greenlight.cost.bill import HOUR, Bought, ItemKind
from greenlight.cost.cost_file import CostFile
from greenlight.cost.inventory import HostPlan, SlotPlan
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import Fleet, Host, RunnerKind
from greenlight.deploy.journal import (
    Event,
    Outcome,
    Phase,
    Rollout,
    Step,
    live,
    progress,
    unfinished,
)
from greenlight.deploy.ports import JournalStore

LOCAL_SKU = "local"
GPU_SHARE_FLAG = "gpu-memory-utilization"


def plans_of(fleet: Fleet, journal: JournalStore, hour: datetime) -> tuple[HostPlan, ...]:
    """Return the fleet's hosts with the engines that the journal puts on them in an hour."""
    past = _until(journal, fleet.name, hour + HOUR)
    slots = tuple(_slots(fleet, past, hour))
    return tuple(
        HostPlan(
            name=host.name,
            gpus=host.gpus,
            slots=tuple(_with_memory(slot, fleet, host) for slot in slots),
            node="" if host.runner is RunnerKind.LOCAL else None,
        )
        for host in fleet.hosts
    )


def hosts_bought(fleets: Iterable[Fleet], config: CostFile) -> tuple[Bought, ...]:
    """Return every fleet's hosts as things that are paid for."""
    return tuple(
        Bought(
            kind=ItemKind.HOST,
            name=host.name,
            sku=config.terms_of(host.name).sku or host.price_key or LOCAL_SKU,
            region=host.region,
            term=config.terms_of(host.name).term,
            environment=config.terms_of(host.name).environment or config.environment,
        )
        for fleet in fleets
        for host in fleet.hosts
        if config.terms_of(host.name).is_paid
    )


def first_hour(journals: Iterable[tuple[Rollout, ...]]) -> datetime | None:
    """Return the first whole hour after anything was deployed; `None`: nothing ever was.

    Hosts cost money before that too, but nobody watched them.
    """
    started = [rollout.started_at for rollouts in journals for rollout in rollouts]
    if not started:
        return None
    return min(started).replace(minute=0, second=0, microsecond=0) + HOUR


Past = Sequence[tuple[Rollout, Sequence[Event]]]
"""A fleet's rollouts with their events, oldest first."""


def _until(journal: JournalStore, fleet: str, end: datetime) -> Past:
    """Return the past as it stood at an instant."""
    return [
        (rollout, [event for event in journal.events(rollout.id) if event.at < end])
        for rollout in journal.rollouts(fleet)
        if rollout.started_at < end
    ]


def _slots(fleet: Fleet, past: Past, hour: datetime) -> Iterable[SlotPlan]:
    """Yield each colour's newest version. Warm is what neither serves nor is on its way to."""
    history = [(rollout, progress(events)) for rollout, events in past]
    serving, changing = live(history), unfinished(history)
    busy = {serving.colour if serving else None, changing.colour if changing else None}
    for colour in Colour:
        there = [
            rollout
            for rollout, made in history
            if rollout.colour is colour and any(step is Step.PREPARE for step, _ in made.done)
        ]
        if there:
            yield SlotPlan(
                slot=str(colour),
                model=fleet.model,
                version=str(there[-1].version),
                is_warm=colour not in busy,
                rests=_rests(_uses(colour, past), hour),
            )


def _uses(colour: Colour, past: Past) -> Iterable[tuple[datetime, datetime | None]]:
    """Yield from when until when something was to run in a colour; `None`: it still is.

    That is from a rollout to it, to when that went back, or to when the next one is live.
    """
    for number, (rollout, events) in enumerate(past):
        if rollout.colour is colour:
            ends = _ended(events, Outcome.ROLLED_BACK)
            later = (_ended(found, Outcome.LIVE) for _, found in past[number + 1 :])
            yield rollout.started_at, ends or next(filter(None, later), None)


def _ended(events: Sequence[Event], outcome: Outcome) -> datetime | None:
    """Return when a rollout ended so; `None`: it did not."""
    return next(
        (
            event.at
            for event in events
            if (event.step, event.phase) == (Step.FINISH, Phase.DONE)
            and event.detail["outcome"] == outcome
        ),
        None,
    )


def _rests(
    uses: Iterable[tuple[datetime, datetime | None]], hour: datetime
) -> tuple[tuple[float, float], ...]:
    """Return the parts of an hour between uses, which are ordered by when they began."""
    free, end, found = hour.timestamp(), (hour + HOUR).timestamp(), []
    for began, ended in uses:
        if began.timestamp() > free:
            found.append((free, min(began.timestamp(), end)))
        free = max(free, end if ended is None else ended.timestamp())
    if free < end:
        found.append((free, end))
    return tuple(found)


def _with_memory(slot: SlotPlan, fleet: Fleet, host: Host) -> SlotPlan:
    """Add what the engine was given of the host's memory: by its flag, or by its profile.

    The profile's part is without the weights, so it is a lower bound; vLLM's own metric is better.
    """
    flag = fleet.engine.flags.get(GPU_SHARE_FLAG)
    reserved: float | None = None
    if flag is not None:
        reserved = float(flag)
    elif host.gpu_memory_gb is not None:
        needed = fleet.engine.kv_cache_gb + fleet.engine.memory_gb
        reserved = min(1.0, needed / host.gpu_memory_gb)
    return replace(slot, reserved=reserved)
