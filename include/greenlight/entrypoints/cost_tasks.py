"""What the tasks of the cost DAG call: plain JSON in and out."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from greenlight.core.errors import GateError
from greenlight.core.types import JsonDict
from greenlight.cost.bill import HOUR
from greenlight.cost.hours import HourState
from greenlight.entrypoints import cost_outlook, cost_page
from greenlight.entrypoints.cost import Costs, hours_between, summary
from greenlight.entrypoints.cost_advice import Advising, as_json
from greenlight.entrypoints.cost_tools import open_tools

log = logging.getLogger(__name__)


def find_due(first: str | None, last: str | None) -> list[str]:
    """Return the hours to compute: those that are due, or all from `first` to `last`."""
    costs = Costs(open_tools())
    if not first:
        return [hour.isoformat() for hour in costs.due()]
    end = _hour(last) if last else datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return [hour.isoformat() for hour in hours_between(_hour(first), end)]


def compute(hours: list[str]) -> JsonDict:
    """Compute hours, and say what became of each. `news`: what was not kept aside before."""
    tools = open_tools()
    asked = [_hour(hour) for hour in hours]
    before = {one.hour: one for hour in asked for one in tools.store.hours(hour, hour + HOUR)}
    found = Costs(tools).run(asked)
    aside = [hour for hour in found if hour.state is HourState.ASIDE]
    for hour in aside:
        log.warning("%s is kept aside: %s", hour.hour, "; ".join(hour.reasons))
    news = [
        summary(hour)
        for hour in aside
        if (old := before.get(hour.hour)) is None or old.reasons != hour.reasons
    ]
    return {"computed": len(found) - len(aside), "aside": len(aside), "news": news}


def advise() -> JsonDict:
    """Size every host; return what is advised."""
    found = Advising(open_tools()).make()
    for one in found:
        log.info("%s: %s", one.host, one.why or as_json(one)["target"])
    return {"hosts": [as_json(one) for one in found]}


def tell() -> JsonDict:
    """Look at budgets and at yesterday, and tell who should know."""
    return cost_outlook.look_and_tell(open_tools())


def write_report() -> JsonDict:
    """Write the report of the month so far; return where it is."""
    tools = open_tools()
    made = cost_page.make(tools)
    log.info("%s: %s", made.headline, made.standing)
    return cost_page.keep(tools, made)


def report_aside(computed: JsonDict) -> JsonDict:
    """Fail the run in which an hour is first kept aside; trying it again is no news.

    Raises:
        GateError: hours were kept aside; the message has their reasons.
    """
    if news := computed["news"]:
        named = "; ".join(f"{hour['hour']}: {', '.join(hour['reasons'])}" for hour in news)
        raise GateError(f"{len(news)} hours are kept aside and will be tried again: {named}")
    return computed


def _hour(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
