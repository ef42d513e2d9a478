"""Three panels from the journal: what serves where, what is on its way, what was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from greenlight.adapters.page.panels import (
    ComparisonView,
    FleetCard,
    FleetsPanel,
    Health,
    HistoryPanel,
    PastRollout,
    RolloutCard,
    RolloutsPanel,
    SlotRow,
)
from greenlight.core.errors import UnavailableError
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import Fleet
from greenlight.deploy.journal import (
    Event,
    History,
    Live,
    Outcome,
    Phase,
    Progress,
    Rollout,
    Step,
    live,
    progress,
    since_live,
    unfinished,
)
from greenlight.deploy.ports import ServerMode, ServerState
from greenlight.deploy.rules import Verdict
from greenlight.entrypoints.page.sources import Sources

if TYPE_CHECKING:
    from greenlight.deploy.shares import ServerKey

SHOWN = 12
"""Rollouts of a fleet that history shows."""
DOING: Mapping[Step, str] = {
    Step.PREPARE: "prepare host {}",
    Step.SMOKE: "ask golden prompts",
    Step.WARM_UP: "warm up",
    Step.SHIFT: "move traffic: {}",
    Step.ANALYSE: "compare both colours: {}",
    Step.BAKE: "bake: the old colour stays warm, and both are compared",
    Step.PROMOTE: "make it the champion",
    Step.RETIRE: "drain the old colour",
    Step.ROLL_BACK: "go back",
    Step.CLEAN_UP: "stop the new colour",
    Step.FINISH: "end",
    Step.DRAIN: "AWS takes host {}: it is drained",
}


def fleets(sources: Sources) -> FleetsPanel:
    """Return every fleet with its slots."""
    return FleetsPanel(fleets=tuple(_fleet(sources, fleet) for fleet in sources.fleets))


def running(sources: Sources) -> RolloutsPanel:
    """Return the rollouts without an outcome: they run, or their worker was killed."""
    found = ((f, unfinished(since_live(sources.journal, f.name))) for f in sources.fleets)
    return RolloutsPanel(
        running=tuple(
            _on_its_way(rollout, sources.journal.events(rollout.id))
            for _, rollout in found
            if rollout is not None
        )
    )


def history(sources: Sources) -> HistoryPanel:
    """Return the newest rollouts, and to which of them a fleet could go back."""
    rows: list[PastRollout] = []
    count = 0
    for fleet in sources.fleets:
        every = sources.journal.rollouts(fleet.name)
        count += len(every)
        newest = [(one, progress(sources.journal.events(one.id))) for one in every[-SHOWN:]]
        recent = since_live(sources.journal, fleet.name)
        rows += _past(newest, now=live(recent), is_busy=unfinished(recent) is not None)
    rows.sort(key=lambda row: row.started_at, reverse=True)
    return HistoryPanel(rows=tuple(rows), shown_of=count)


def _fleet(sources: Sources, fleet: Fleet) -> FleetCard:
    recent = since_live(sources.journal, fleet.name)
    lease = sources.leases.current(fleet.name)
    servers: Mapping[ServerKey, ServerState] = {}
    why = None
    if recent:
        try:
            servers = sources.servers(fleet)
        except UnavailableError as error:
            why = str(error)
    total = sum(_weight(server) for server in servers.values())
    return FleetCard(
        name=fleet.name,
        model=fleet.model,
        slots=tuple(
            _slot(host.name, colour, recent, servers.get((host.name, colour)), total)
            for host in fleet.hosts
            for colour in Colour
        ),
        changed_by=None if lease is None else str(lease.holder),
        why_no_router=why,
    )


def _slot(
    host: str, colour: Colour, recent: History, server: ServerState | None, total: int
) -> SlotRow:
    now, coming = live(recent), unfinished(recent)
    role, version, digest = "empty", None, None
    if now is not None and now.colour is colour:
        role, version, digest = "live", now.version, now.digest
    elif coming is not None and coming.colour is colour:
        role = "new" if _is_there(recent[-1][1], host) else "getting ready"
        version, digest = coming.version, coming.digest
    return SlotRow(
        host=host,
        colour=colour,
        role=role,
        version=version,
        digest=digest,
        health=_health(server),
        share=None if server is None else _weight(server) / total if total else 0.0,
    )


def _is_there(made: Progress, host: str) -> bool:
    return made.has(Step.PREPARE, host) or made.has(Step.SHIFT, host)


def _weight(server: ServerState) -> int:
    """Return what counts of it."""
    return server.weight if server.serves else 0


def _health(server: ServerState | None) -> Health:
    if server is None:
        return Health.UNKNOWN
    if server.mode is ServerMode.MAINT:
        return Health.RESTING
    if not server.up:
        return Health.DOWN
    if server.mode is ServerMode.DRAIN:
        return Health.DRAINING
    return Health.SERVING if server.weight else Health.READY


def _on_its_way(rollout: Rollout, events: Sequence[Event]) -> RolloutCard:
    made = progress(events)
    newest = events[-1] if events else None
    doing, since = "begin", rollout.started_at
    if newest is not None:
        same = [e for e in events if (e.step, e.subject) == (newest.step, newest.subject)]
        ended = {Phase.DONE: ": done", Phase.FAILED: ": failed"}.get(newest.phase, "")
        doing = DOING[newest.step].format(_subject(newest)) + ended
        since = newest.at if ended else same[0].at
    return RolloutCard(
        fleet=rollout.fleet,
        id=rollout.id,
        model=rollout.model,
        version=rollout.version,
        previous_version=rollout.previous_version,
        colour=rollout.colour,
        strategy=rollout.strategy,
        started_at=rollout.started_at,
        started_by=rollout.started_by,
        share=made.share,
        doing=doing,
        since=since,
        goes_back=(made.reason or "no reason was written") if made.breached else None,
        comparison=_comparison(events),
    )


def _subject(event: Event) -> str:
    return f"{event.subject} %" if event.subject.isdigit() else event.subject


def _comparison(events: Sequence[Event]) -> ComparisonView | None:
    """Return the newest look: one that was noted meanwhile, or what a step ended with."""
    for event in reversed(events):
        ended = event.phase is Phase.DONE
        look = event.detail if ended else event.detail.get("look")
        if event.step not in (Step.ANALYSE, Step.BAKE) or not look or "rules" not in look:
            continue
        return ComparisonView(
            where=event.detail.get("where") or DOING[event.step].format(_subject(event)),
            looked_at=event.at,
            ended=ended,
            verdict=Verdict(look["verdict"]),
            elapsed_s=look["elapsed_s"],
            step_max_s=look["step_max_s"],
            n_old=look["n_blue"],
            n_new=look["n_green"],
            rules=tuple(look["rules"]),
        )
    return None


def _past(history: History, *, now: Live | None, is_busy: bool) -> list[PastRollout]:
    rows, offered = [], {now.version} if now is not None else set()
    for rollout, made in reversed(history):
        was_live = made.outcome is Outcome.LIVE
        can_go_back = was_live and not is_busy and rollout.version not in offered
        offered |= {rollout.version} if can_go_back else set()
        rows.append(
            PastRollout(
                fleet=rollout.fleet,
                id=rollout.id,
                version=rollout.version,
                digest=rollout.digest,
                colour=rollout.colour,
                outcome="on its way" if made.outcome is None else str(made.outcome),
                reason=made.reason or "",
                started_at=rollout.started_at,
                started_by=rollout.started_by,
                is_live=now is not None and now.rollout_id == rollout.id,
                can_go_back=can_go_back,
            )
        )
    return rows
