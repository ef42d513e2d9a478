"""Look every hour whether every host serves what was deployed; no host is changed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from greenlight.core.errors import GateError, GreenlightError
from greenlight.core.settings import Settings, load_settings, read_config
from greenlight.core.types import JsonDict
from greenlight.deploy.colours import Colour
from greenlight.deploy.drift import Found, Slot, drift, resting_hosts
from greenlight.deploy.fleet import FleetFile
from greenlight.deploy.journal import history_of, live, unfinished
from greenlight.deploy.ports import EngineStatus, RouterState
from greenlight.registry.tags import Alias

if TYPE_CHECKING:
    from greenlight.entrypoints.rollout_tools import Tools

log = logging.getLogger(__name__)


def deployed_fleets(settings: Settings | None = None) -> list[str]:
    """Return the names of the fleets that something was deployed to."""
    from greenlight.adapters.rollout_store import DatabaseJournal
    from greenlight.entrypoints import stack

    settings = settings or load_settings()
    journal = DatabaseJournal(stack.open_database(settings))
    fleets = read_config(settings.config_file("fleet"), FleetFile).fleets
    return [fleet.name for fleet in fleets if journal.rollouts(fleet.name)]


def check(fleet: str, *, settings: Settings | None = None) -> JsonDict:
    """Compare one fleet with its journal and its alias, and keep the result as a metric.

    Raises:
        GateError: something is not as it should be; the message lists everything.
        ConfigError: the fleet file is wrong, or lacks the fleet.
    """
    from greenlight.adapters.fleet_metrics import write_drift
    from greenlight.entrypoints.rollout_tools import open_tools

    settings = settings or load_settings()
    tools = open_tools(settings, fleet)
    problems = find_drift(tools, least=_least(settings, tools))
    write_drift(settings.metrics, fleet=fleet, problems=len(problems))
    _show_last_rollout(settings, tools)
    if problems:
        raise GateError(
            f"fleet {fleet} is not as it was deployed: {'; '.join(problems)}. See "
            "docs/runbooks/deploy.md"
        )
    log.info("fleet %s serves what was deployed", fleet)
    return {"fleet": fleet, "problems": []}


def find_drift(tools: Tools, *, least: int | None = None) -> tuple[str, ...]:
    """Return everything about a fleet that is not as it should be.

    `least`: hosts that its schedule wants now; the others may rest. `None`: all of them serve.
    """
    model, past = tools.fleet.model, history_of(tools.journal, tools.fleet.name)
    now, left = live(past), unfinished(past)
    running = left is not None and tools.leases.current(tools.fleet.name) is not None
    if running:
        log.info("fleet %s is being changed; it is looked at the next time", tools.fleet.name)
        return ()
    champion = tools.models.registry.find(model, tags={}, alias=Alias.CHAMPION)
    refusal = None
    if now is not None:
        standing = tools.models.standing(model, now.version)
        refusal = None if standing["approved"] else str(standing["reason"])
    engines, router = _engines(tools), _router(tools)
    resting: frozenset[str] = frozenset()
    if least is not None and now is not None and not isinstance(router, str):
        resting = resting_hosts(now.colour, engines, router, least=least)
    found = Found(
        engines=engines,
        router=router,
        resting=resting,
        champion=None if champion is None else (champion.version, champion.digest),
        unfinished=None if left is None else left.id,
        refusal=refusal,
    )
    return drift(now, found)


def _show_last_rollout(settings: Settings, tools: Tools) -> None:
    """Write on the version's page how the last rollout stands, also one from a terminal."""
    from greenlight.entrypoints.models import open_registry
    from greenlight.entrypoints.rollout_steps import Steps
    from greenlight.entrypoints.version_page import airflow_pages, show_rollout

    if rollouts := tools.journal.rollouts(tools.fleet.name):
        outcome = Steps(tools).outcome(rollouts[-1].id)
        pages = airflow_pages(settings.airflow_url)
        show_rollout(open_registry(settings), outcome, airflow_url=pages)


def _least(settings: Settings, tools: Tools) -> int | None:
    from greenlight.adapters.schedule_store import DatabaseSchedules
    from greenlight.entrypoints import stack
    from greenlight.entrypoints.scaling_slots import least_hosts
    from greenlight.scaling.scaling_file import load_scaling

    scaling = load_scaling(settings.config_file("scaling")).fleets.get(tools.fleet.name)
    if scaling is None:
        return None
    store = DatabaseSchedules(stack.open_database(settings))
    return least_hosts(scaling, store, tools.fleet.name, now=tools.clock.now())


def _engines(tools: Tools) -> dict[Slot, EngineStatus | str]:
    found: dict[Slot, EngineStatus | str] = {}
    for host, runner in tools.hosts.items():
        for colour in Colour:
            try:
                found[host, colour] = runner.status(colour)
            except GreenlightError as error:
                found[host, colour] = str(error)
    return found


def _router(tools: Tools) -> RouterState | str:
    try:
        return tools.router.state()
    except GreenlightError as error:
        return str(error)
