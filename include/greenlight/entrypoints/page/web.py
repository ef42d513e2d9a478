"""The page as an application inside Airflow's API server: addresses, permissions, headers.

Who may do what is Airflow's word, handed in as `Access`: reading takes the right to see the DAG
`deploy_blue_green`, going back the right to start it, answering advice the right to start
`cost_rightsizing_hourly`. What changes something is asked about on a page of its own, and taken
from that page only (see `origin`).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Form, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from greenlight.adapters.page import render
from greenlight.adapters.page.panels import PanelName, WayBack
from greenlight.adapters.page.render import Notice, Visitor
from greenlight.core.errors import GreenlightError, InputError, RefusedError, RetryableError
from greenlight.core.settings import read_config
from greenlight.deploy.rollout_file import RolloutFile
from greenlight.entrypoints.cost_advice import Advising
from greenlight.entrypoints.cost_page import advice_row
from greenlight.entrypoints.cost_tools import CostTools, open_tools
from greenlight.entrypoints.page import actions, backups, costs, review, rollouts, schedules
from greenlight.entrypoints.page.origin import why_foreign
from greenlight.entrypoints.page.reading import Reader
from greenlight.entrypoints.page.sources import Sources

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'self'; "
    "base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}
"""Nothing of another origin is loaded, and nobody else frames the page."""
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"
"""The report is one file with its style inside; it has no script."""
RUN = re.compile(r"page-[a-z0-9-]{1,80}\Z")
TITLES = {
    400: "That can't be done",
    401: "You are logged out",
    403: "You may not do this",
    404: "There is nothing here",
    409: "Not any more",
    503: "Something doesn't answer",
}

Depended = Callable[..., object]
StartRun = Callable[..., None]
"""Takes `(dag_id, run_id=, conf=, by=, note=)`; raises `InputError` or `UnavailableError`. A run of
this id that is there already is fine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What Airflow says, as dependencies of FastAPI.

    `read`, `go_back`, `answer`: raise an `HTTPException` for who may not. `visitor`: who it is.
    """

    read: Depended
    go_back: Depended
    answer: Depended
    visitor: Callable[..., Visitor]


class Page:
    """What the addresses do, for one home."""

    def __init__(
        self,
        sources: Sources,
        *,
        start_run: StartRun,
        reader: Reader | None = None,
        open_costs: Callable[[], CostTools] | None = None,
    ) -> None:
        self._sources, self._start_run = sources, start_run
        self.reader = reader or read_from(sources)
        self._open_costs = open_costs or (
            lambda: open_tools(sources.settings, engine=sources.database)
        )

    def whole(self, visitor: Visitor, notice: Notice | None) -> str:
        """Return the page with every panel."""
        panels = self.reader.read(PanelName)
        read_at = self._sources.clock.now()
        return render.render_page(panels, visitor=visitor, read_at=read_at, notice=notice)

    def panel(self, name: PanelName, visitor: Visitor) -> str:
        """Return the inside of one panel."""
        (panel,) = self.reader.read([name]).values()
        return render.render_panel(name, panel, visitor=visitor)

    def ask_way_back(self, fleet: str, version: int | None) -> str:
        """Return the question."""
        way = self._way_back(fleet, version)
        dag = actions.DEPLOY if way.running is None else actions.GO_BACK
        run = f"page-{fleet}-{secrets.token_hex(8)}"
        return render.render_way_back(way, run=run, dag=dag, reason_max=actions.REASON_MAX)

    def go_back(
        self, *, fleet: str, version: int | None, seen: str, run: str, rollout: str, reason: str,
        by: str,
    ) -> tuple[str, str]:  # fmt: skip
        """Start what was asked about; return the DAG and its run."""
        if not RUN.match(run):
            raise InputError(f"{run!r} is no id of a run that this page gives")
        way = self._way_back(fleet, version)
        actions.require_seen(way, seen)
        dag, conf = actions.start(way, rollout=rollout, reason=reason, by=by)
        self._start_run(dag, run_id=run, conf=conf, by=by, note=reason.strip())
        return dag, run

    def ask_answer(self, name: str, *, accept: bool) -> str:
        """Return the question."""
        tools = self._open_costs()
        found = actions.require_open(tools.store.advice(), name)
        return render.render_answer(
            advice_row(found, counts=True),
            name=name,
            accept=accept,
            currency=tools.prices.currency,
            reason_max=actions.REASON_MAX,
        )

    def answer(self, name: str, *, accept: bool, reason: str, by: str) -> None:
        """Keep the answer."""
        advising = Advising(self._open_costs())
        actions.answer_advice(advising, name, accept=accept, by=by, reason=reason)

    def report(self) -> Path:
        """Return the file of the last cost report."""
        path = costs.report_folder(self._sources.settings) / f"{costs.REPORT}.html"
        if not path.is_file():
            raise InputError("no cost report was written yet: cost_rightsizing_hourly writes it")
        return path

    def _way_back(self, fleet: str, version: int | None) -> WayBack:
        known = [one.name for one in self._sources.fleets]
        if fleet not in known:
            raise InputError(f"fleet.yaml has no fleet {fleet!r}: it has {', '.join(known)}")
        file = read_config(self._sources.settings.config_file("rollout"), RolloutFile)
        return actions.way_back(
            self._sources.journal, fleet, version=version, rollouts=tuple(file.rollouts)
        )


def read_from(sources: Sources) -> Reader:
    """Return a reader of all panels."""
    return Reader(
        {
            PanelName.FLEETS: lambda: rollouts.fleets(sources),
            PanelName.ROLLOUTS: lambda: rollouts.running(sources),
            PanelName.REVIEW: lambda: review.review(sources),
            PanelName.HISTORY: lambda: rollouts.history(sources),
            PanelName.COST: lambda: costs.cost(sources),
            PanelName.ADVICE: lambda: costs.advice(sources),
            PanelName.SCHEDULES: lambda: schedules.schedules(sources),
            PanelName.BACKUPS: lambda: backups.backups(sources),
        }
    )


def build(page: Page, *, access: Access, hosts: Collection[str] = ()) -> FastAPI:
    """Return the application. `hosts`: what this server is called beside what a request says."""
    app = FastAPI(title="Greenlight", docs_url=None, redoc_url=None, openapi_url=None)
    _add_errors(app)
    _add_headers(app)
    _add_reading(app, page, access)
    _add_acting(app, page, access, hosts)
    _add_files(app)
    return app


def _add_reading(app: FastAPI, page: Page, access: Access) -> None:
    known = Depends(access.visitor)
    may_read = [Depends(access.read)]

    @app.get("/", dependencies=may_read)
    def whole(
        visitor: Visitor = known, started: str = "", run: str = "", answered: str = ""
    ) -> HTMLResponse:
        return HTMLResponse(page.whole(visitor, _notice(started, run, answered)))

    @app.get("/panel/{name}", dependencies=may_read)
    def panel(name: PanelName, visitor: Visitor = known) -> HTMLResponse:
        return HTMLResponse(page.panel(name, visitor))

    @app.get("/cost-report", dependencies=may_read)
    def cost_report() -> FileResponse:
        found = FileResponse(page.report(), media_type="text/html")
        found.headers["Content-Security-Policy"] = REPORT_POLICY
        return found


def _add_acting(app: FastAPI, page: Page, access: Access, hosts: Collection[str]) -> None:
    known = Depends(access.visitor)
    own = Depends(_from_our_page(hosts))
    sure = Depends(_sure)

    # A page that asks is refused to who may not answer, so that nobody fills it in for nothing.
    @app.get("/roll-back", dependencies=[Depends(access.go_back)])
    def ask_way_back(fleet: str, version: int | None = None) -> HTMLResponse:
        return HTMLResponse(page.ask_way_back(fleet, version))

    @app.post("/roll-back", dependencies=[Depends(access.go_back), own, sure])
    def go_back(
        fleet: Annotated[str, Form()],
        seen: Annotated[str, Form()],
        run: Annotated[str, Form()],
        reason: Annotated[str, Form()] = "",
        version: Annotated[int | None, Form()] = None,
        way: Annotated[str, Form()] = "",
        visitor: Visitor = known,
    ) -> RedirectResponse:
        dag, started = page.go_back(
            fleet=fleet, version=version, seen=seen, run=run, rollout=way, reason=reason,
            by=visitor.name,
        )  # fmt: skip
        return _back(started=dag, run=started)

    @app.get("/advice", dependencies=[Depends(access.answer)])
    def ask_answer(name: str, answer: str = "accept") -> HTMLResponse:
        return HTMLResponse(page.ask_answer(name, accept=_is_accepted(answer)))

    @app.post("/advice", dependencies=[Depends(access.answer), own, sure])
    def keep_answer(
        name: Annotated[str, Form()],
        answer: Annotated[str, Form()],
        reason: Annotated[str, Form()] = "",
        visitor: Visitor = known,
    ) -> RedirectResponse:
        accept = _is_accepted(answer)
        page.answer(name, accept=accept, reason=reason, by=visitor.name)
        return _back(answered="accepted" if accept else "dismissed")


def _add_files(app: FastAPI) -> None:
    """Add what a browser loads; last, as its address takes any name."""

    @app.get("/{name}")
    def static(name: str) -> FileResponse:
        if name not in render.STATIC:
            raise HTTPException(404, f"there is no {name}")
        return FileResponse(render.FOLDER / name, media_type=render.STATIC[name])


def _from_our_page(hosts: Collection[str]) -> Callable[[Request], None]:
    def check(request: Request) -> None:
        known = {*hosts, request.headers.get("host", "")}
        if why := why_foreign(request.headers, hosts=known):
            raise HTTPException(403, f"This was refused: {why}. Nothing was done.")

    return check


def _sure(sure: Annotated[str, Form()] = "") -> None:
    if sure != "yes":
        raise HTTPException(400, "This is asked about first, and nobody said yes.")


def _is_accepted(answer: str) -> bool:
    if answer not in ("accept", "dismiss"):
        raise InputError(f"answer {answer!r} is neither accept nor dismiss")
    return answer == "accept"


def _back(**told: str) -> RedirectResponse:
    return RedirectResponse(f"./?{urlencode(told)}", status_code=303)


def _notice(started: str, run: str, answered: str) -> Notice | None:
    """Return what was just done. Anybody can make up an address: only what we know is said."""
    if started in (actions.DEPLOY, actions.GO_BACK) and RUN.match(run):
        return Notice(
            says=f"Going back was started, as run {run}.",
            href=f"../dags/{started}/runs/{run}",
            link="Follow it in Airflow",
        )
    if answered in ("accepted", "dismissed"):
        return Notice(says=f"The advice is {answered}.")
    return None


def _add_headers(app: FastAPI) -> None:
    @app.middleware("http")
    async def add(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await answer(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(StarletteHTTPException)
    def refuse(request: Request, error: StarletteHTTPException) -> HTMLResponse:
        why = "log in to Airflow again" if error.status_code == 401 else str(error.detail)
        return _refusal(error.status_code, why)

    @app.exception_handler(RequestValidationError)
    def name_field(request: Request, error: RequestValidationError) -> HTMLResponse:
        wrong = (f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
        return _refusal(400, "; ".join(wrong))

    @app.exception_handler(GreenlightError)
    def tell(request: Request, error: GreenlightError) -> HTMLResponse:
        return _refusal(_status_of(error), str(error))


def _status_of(error: GreenlightError) -> int:
    if isinstance(error, RefusedError):
        return 409
    return 503 if isinstance(error, RetryableError) else 400


def _refusal(status: int, why: str) -> HTMLResponse:
    headline = TITLES.get(status, "That didn't work")
    return HTMLResponse(render.render_refusal(headline, why), status_code=status)
