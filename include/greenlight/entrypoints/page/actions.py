"""What a person can do on the page: go back, and answer advice. Each is asked about first.

Going back is a run of a DAG, so that Airflow records who started it and a worker does it.
"""

from __future__ import annotations

from collections.abc import Iterable

from greenlight.adapters.page.panels import WayBack
from greenlight.core.errors import InputError, RefusedError
from greenlight.core.types import JsonDict
from greenlight.cost.savings import Recorded, State
from greenlight.deploy.journal import Outcome, live, progress, since_live, unfinished
from greenlight.deploy.ports import JournalStore
from greenlight.entrypoints.cost_advice import Advising

DEPLOY, GO_BACK, COST = "deploy_blue_green", "deploy_roll_back", "cost_rightsizing_hourly"
"""The DAGs: whoever may start `DEPLOY` may go back; whoever may start `COST` answers advice."""
FASTEST = "blue_green"
"""The rollout that is offered first, where rollout.yaml has it: all at once."""
REASON_MAX = 1000


def start(way: WayBack, *, rollout: str, reason: str, by: str) -> tuple[str, JsonDict]:
    """Return the DAG to start, and what with. `rollout`: a name of rollout.yaml, where one is due.

    Raises:
        InputError: there is no reason, or no such rollout.
    """
    why = reason.strip()
    if not why:
        raise InputError("going back needs a reason: the next reader wants to know")
    if len(why) > REASON_MAX:
        raise InputError(f"the reason has {len(why)} characters, at most {REASON_MAX} are kept")
    if way.running is not None:
        return GO_BACK, {"fleet": way.fleet, "rollout": way.running, "reason": why, "by": by}
    if rollout not in way.ways:
        raise InputError(f"rollout {rollout!r} isn't in rollout.yaml: {', '.join(way.ways)} are")
    return DEPLOY, {"fleet": way.fleet, "version": way.to, "rollout": rollout}


def way_back(
    journal: JournalStore, fleet: str, *, version: int | None, rollouts: tuple[str, ...]
) -> WayBack:
    """Return how a fleet goes back: now, while a rollout is on its way, or to a version before.

    Raises:
        RefusedError: there is nothing to go back to, or not to this version.
    """
    recent = since_live(journal, fleet)
    now, running = live(recent), unfinished(recent)
    if running is not None:
        return WayBack(
            fleet=fleet,
            running=running.id,
            now=running.version,
            to=running.previous_version,
            seen=f"{running.id}, on its way",
            ways=(),
        )
    if now is None:
        raise RefusedError(f"nothing was ever live on fleet {fleet}: there is no way back")
    if version is None:
        raise RefusedError(
            f"no rollout is on its way on fleet {fleet} any more: choose a version of its history"
        )
    if version == now.version:
        raise RefusedError(f"version {version} is what fleet {fleet} serves already")
    if not _was_live(journal, fleet, version):
        raise RefusedError(f"version {version} was never live on fleet {fleet}")
    ways = sorted(rollouts, key=lambda name: (name != FASTEST, name))
    return WayBack(
        fleet=fleet,
        running=None,
        now=now.version,
        to=version,
        seen=f"{now.rollout_id}, live",
        ways=tuple(ways),
    )


def require_seen(way: WayBack, seen: str) -> None:
    """Refuse an answer to a question that would be asked otherwise by now.

    Raises:
        RefusedError: the fleet changed since.
    """
    if way.seen != seen:
        raise RefusedError(
            f"fleet {way.fleet} changed since you were asked: it was about {seen}, and would be "
            f"about {way.seen} now; look at it again. Nothing was started"
        )


def answer_advice(advising: Advising, name: str, *, accept: bool, by: str, reason: str) -> Recorded:
    """Keep a person's answer.

    Raises:
        InputError: there is no such advice.
        RefusedError: it isn't open any more, or can't be answered so; the message says why.
    """
    if accept:
        return advising.accept(name, by=by)
    return advising.dismiss(name, by=by, reason=reason.strip()[:REASON_MAX])


def require_open(advice: Iterable[Recorded], name: str) -> Recorded:
    """Return the advice that a person is asked about.

    Raises:
        InputError: there is none of this name.
        RefusedError: somebody answered it meanwhile.
    """
    found = next((one for one in advice if one.id == name), None)
    if found is None:
        raise InputError(f"there is no advice {name!r}")
    if found.state is not State.OPEN:
        raise RefusedError(f"advice {name} is {found.state} by {found.changed_by} already")
    return found


def _was_live(journal: JournalStore, fleet: str, version: int) -> bool:
    return any(
        progress(journal.events(rollout.id)).outcome is Outcome.LIVE
        for rollout in journal.rollouts(fleet)
        if rollout.version == version
    )
