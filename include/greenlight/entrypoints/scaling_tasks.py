"""What the tasks of the scaling DAG call: plain JSON in and out."""

from __future__ import annotations

import logging
from dataclasses import asdict

from greenlight.core.digest import short
from greenlight.core.errors import InputError
from greenlight.core.settings import Settings, load_settings
from greenlight.core.types import JsonDict
from greenlight.entrypoints import scaling_replays, scaling_tools
from greenlight.entrypoints.approvals import NO_REASON, OPTIONS
from greenlight.entrypoints.scaling import Scaling
from greenlight.entrypoints.scaling_days import Days
from greenlight.entrypoints.scaling_measured import NotPlanned
from greenlight.registry.approvals import Decision
from greenlight.scaling.description import describe_plan

log = logging.getLogger(__name__)

BY = "Airflow"


def fleets() -> list[str]:
    """Return the fleets that have a schedule."""
    return scaling_tools.scheduled_fleets()


def plan(
    fleet: str, *, scaling: Scaling | None = None, settings: Settings | None = None
) -> JsonDict:
    """Plan, replay and compare; return the proposal, or why there is none. The replay is kept.

    Too little data is no failure: a new fleet has weeks ahead in which nothing can be planned.
    """
    scaling = scaling or open_scaling(fleet)
    found = scaling.plan()
    if isinstance(found, NotPlanned):
        log.warning("%s: no schedule: %s", fleet, "; ".join(found.why))
        return {"fleet": fleet, "digest": None, "why": list(found.why)}
    kept = scaling.propose(found, by=BY)
    scaling_replays.keep(
        settings or load_settings(), fleet, found.replayed, made_at=found.schedule.made_at
    )
    description = describe_plan(found.schedule, found.changes, found.replayed, found.waits_for)
    log.info("%s: schedule %s\n%s", fleet, short(kept.digest), description)
    return {
        "fleet": fleet,
        "digest": kept.digest,
        "title": f"schedule {short(kept.digest)} of {fleet}",
        "description": description,
        "waits_for": list(kept.waits_for),
    }


def question(proposal: JsonDict) -> JsonDict | None:
    """Return what a person is asked; `None`: there is nothing to ask."""
    return proposal if proposal["digest"] and proposal["waits_for"] else None


def record_answer(
    proposal: JsonDict, answer: JsonDict, *, scaling: Scaling | None = None
) -> JsonDict:
    """Record what the approval task brought back; nobody answering is recorded nowhere.

    Raises:
        InputError: an answer that isn't one of those that were asked for.
        RefusedError: the schedule was answered otherwise meanwhile.
    """
    chosen = answer.get("chosen_options") or []
    if not chosen:
        log.info("%s: nobody answered within the time; it isn't applied", proposal["title"])
        return {"decision": None}
    if chosen[0] not in OPTIONS:
        raise InputError(f"answer {chosen[0]!r} is none of {', '.join(OPTIONS)}")
    user = answer.get("responded_by_user") or {}
    reason = str((answer.get("params_input") or {}).get("reason") or "").strip()
    kept = (scaling or open_scaling(proposal["fleet"])).decide(
        proposal["digest"],
        approved=OPTIONS[chosen[0]] is Decision.APPROVED,
        by=user.get("name") or user.get("id") or "unknown Airflow user",
        reason=reason or NO_REASON,
    )
    return {"decision": str(kept.state)}


def apply(proposal: JsonDict, *, scaling: Scaling | None = None) -> JsonDict:
    """Apply a proposal that may be; return what changed, or why nothing did."""
    if not proposal["digest"]:
        return {"applied": False, "why": "; ".join(proposal["why"])}
    found = (scaling or open_scaling(proposal["fleet"])).apply(proposal["digest"], by=BY)
    if found.why_not is not None:
        return {"applied": False, "why": found.why_not}
    return {"applied": True, "lines": list(found.lines)}


def look_back(fleet: str, *, days: Days | None = None) -> JsonDict:
    """Compare yesterday with its plan; return the figures, or why there are none."""
    found = (days or open_days(fleet)).look_back()
    if isinstance(found, NotPlanned):
        log.warning("%s: yesterday isn't looked at: %s", fleet, "; ".join(found.why))
        return {"fleet": fleet, "why": list(found.why)}
    figures = asdict(found) | {"day": f"{found.day}", "fleet": fleet}
    log.info("%s: yesterday: %s", fleet, figures)
    return figures


def open_scaling(fleet: str) -> Scaling:
    """Open everything for one fleet."""
    return Scaling(scaling_tools.open_tools(fleet))


def open_days(fleet: str) -> Days:
    """Open everything for looking at one fleet's days."""
    return Days(scaling_tools.open_tools(fleet))
