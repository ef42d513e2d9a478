"""The page, its panels and its questions as HTML. Everything that is shown is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from greenlight.adapters.cost_report import money, percent, utc
from greenlight.adapters.drill_report import lasted
from greenlight.adapters.page.panels import Health, Panel, PanelName, Unread, WayBack
from greenlight.adapters.page.strip import strip_of
from greenlight.backup.ladder import Outcome, Rung
from greenlight.core.digest import short
from greenlight.cost.report import AdviceRow, Standing
from greenlight.deploy.rules import Verdict

FOLDER = Path(__file__).parent
STATIC = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""Files that a browser asks for, and what they are."""
TITLES = {
    PanelName.FLEETS: "Fleets",
    PanelName.ROLLOUTS: "Rollouts on their way",
    PanelName.REVIEW: "Waits for a person",
    PanelName.HISTORY: "History",
    PanelName.COST: "Cost",
    PanelName.ADVICE: "Advice",
    PanelName.SCHEDULES: "Schedules",
    PanelName.BACKUPS: "Backups and drills",
}
LIVE_S, CALM_S = 15, 120
EVERY = {
    name: LIVE_S if name in (PanelName.FLEETS, PanelName.ROLLOUTS) else CALM_S for name in PanelName
}
"""Seconds between two refreshes of a panel; one that could not be read is tried again soon."""
SYMBOLS = {"good": "✔", "bad": "✘", "warn": "!", "unsure": "?"}
"""Beside words: neither colour nor a symbol alone should decide."""
HEALTHS = {
    Health.SERVING: "good",
    Health.READY: "good",
    Health.DRAINING: "warn",
    Health.DOWN: "bad",
    Health.RESTING: "unsure",
    Health.UNKNOWN: "unsure",
}
VERDICTS = {
    Verdict.PASS: "good",
    Verdict.FAIL: "bad",
    Verdict.INSUFFICIENT: "warn",
    Verdict.ERROR: "bad",
    Verdict.NOT_APPLICABLE: "unsure",
    Verdict.NOT_MEASURED: "unsure",
}
OUTCOMES = {Outcome.PASS: "good", Outcome.FAIL: "bad", Outcome.INCONCLUSIVE: "unsure"}
NOTICED = {
    Outcome.PASS: "noticed",
    Outcome.FAIL: "not noticed",
    Outcome.INCONCLUSIVE: "not tried",
}
STANDINGS = {Standing.WITHIN: "good", Standing.AT_RISK: "warn", Standing.OVER: "bad"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who looks, and what they may do."""

    name: str
    may_go_back: bool = False
    may_answer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a person did just now. `href`, `link`: where it can be followed, and what is clicked."""

    says: str
    href: str = ""
    link: str = ""


def render_panel(name: PanelName, panel: Panel | Unread, *, visitor: Visitor) -> str:
    """Return the inside of one panel."""
    environment = _environment()
    if isinstance(panel, Unread):
        template = environment.from_string(
            '{% import "parts.html.j2" as parts %}{{ parts.unread(panel) }}'
        )
    else:
        template = environment.get_template(f"{name}.html.j2")
    return template.render(panel=panel, visitor=visitor)


def render_page(
    panels: Mapping[PanelName, Panel | Unread],
    *,
    visitor: Visitor,
    read_at: datetime,
    notice: Notice | None = None,
) -> str:
    """Return the whole page."""
    inside = {
        name: Markup(render_panel(name, panel, visitor=visitor))  # noqa: S704 - it was escaped
        for name, panel in panels.items()
    }
    every = {n: LIVE_S if isinstance(panel, Unread) else EVERY[n] for n, panel in panels.items()}
    return _render("page", panels=inside, every=every, notice=notice, read_at=read_at)


def render_way_back(way: WayBack, *, run: str, dag: str, reason_max: int) -> str:
    """Return the question before going back. `run`: the id of what the answer starts."""
    return _render("roll_back", way=way, run=run, dag=dag, reason_max=reason_max)


def render_answer(
    row: AdviceRow, *, name: str, accept: bool, currency: str, reason_max: int
) -> str:
    """Return the question before advice is answered."""
    return _render(
        "answer", row=row, name=name, accept=accept, currency=currency, reason_max=reason_max
    )


def render_refusal(headline: str, why: str) -> str:
    """Return a page that says why nothing was done."""
    return _render("refusal", headline=headline, why=why)


def figures(value: float | None) -> str:
    """Return a number with as many figures as say something; `–`: there is none."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def web(address: str) -> str:
    """Return an address that a link may have: no script, no file."""
    return address if urlsplit(address).scheme in ("http", "https") else "#"


def _render(template: str, /, **values: Any) -> str:
    return _environment().get_template(f"{template}.html.j2").render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figures": figures, "lasted": lasted, "money": money, "percent": percent, "short": short,
        "utc": utc, "web": web,
    }  # fmt: skip
    environment.globals |= {
        "ahead": strip_of, "health": HEALTHS, "noticed": NOTICED,
        "outcomes": OUTCOMES, "rungs": tuple(Rung), "standings": STANDINGS, "symbols": SYMBOLS,
        "titles": TITLES, "verdicts": VERDICTS,
    }  # fmt: skip
    return environment
