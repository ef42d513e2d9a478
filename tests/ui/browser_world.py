"""A real stack whose week is told, engines that answer health checks, and who looks at it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import yaml
from playwright.sync_api import Browser, BrowserContext

from greenlight.adapters import database
from greenlight.adapters.airflow_api import AirflowApi
from greenlight.adapters.backup_store import DatabaseHistory
from greenlight.adapters.cost_store import DatabaseCosts
from greenlight.adapters.haproxy.router import HaproxyRouter
from greenlight.adapters.rollout_store import DatabaseJournal, DatabaseLeases
from greenlight.adapters.schedule_store import DatabaseSchedules
from greenlight.adapters.stack.services import ServiceName, StackAddresses
from greenlight.core.settings import Settings
from greenlight.deploy.colours import Colour
from greenlight.deploy.fleet import Fleet, load_fleet
from greenlight.deploy.ports import ServerMode
from greenlight.entrypoints import cost_page, scaling_replays, stack
from greenlight.entrypoints.cost_tools import open_tools
from greenlight.entrypoints.models import open_registry
from greenlight.entrypoints.page.actions import COST, DEPLOY, GO_BACK
from greenlight.scaling.replay.comparison import Compared, Comparison
from greenlight.testing import cost_fleet
from greenlight.testing import page_story as story
from greenlight.testing.airflow_runs import open_api
from greenlight.testing.candidates import register_candidate, register_parent
from greenlight.testing.servers import free_ports

CHROMIUM = shutil.which("chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SERVICES = {
    ServiceName.POSTGRES,
    ServiceName.PROMETHEUS,
    ServiceName.MLFLOW,
    ServiceName.API_SERVER,
    ServiceName.SCHEDULER,
    ServiceName.DAG_PROCESSOR,
}
PATIENCE_MS = 90_000
"""The first look at a page imports half of the package, on a busy machine."""
WIDE = {"width": 1360, "height": 900}


class Healthy(BaseHTTPRequestHandler):
    """An engine, as far as a router's health check sees it."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def engines(fleet: Fleet) -> Iterator[None]:
    ports = [host.slots.of(colour).port for host in fleet.hosts for colour in Colour]
    servers = [ThreadingHTTPServer(("127.0.0.1", port), Healthy) for port in ports]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


@contextmanager
def routed(settings: Settings, fleet: Fleet) -> Iterator[None]:
    """Run the fleet's router, with half of the traffic on each colour."""
    router = HaproxyRouter(fleet, folder=settings.home / "router" / fleet.name)
    router.ensure_running()
    try:
        every = {(host.name, colour): ServerMode.READY for host in fleet.hosts for colour in Colour}
        router.set_modes(every, fence=1)
        router.shift({Colour.BLUE: 50, Colour.GREEN: 50}, fence=1)
        yield
    finally:
        router.stop(grace_s=1)


def a_home(settings: Settings) -> Fleet:
    """Write the files that a person would, with ports that are free."""
    router, *slots = free_ports(1 + 2 * len(story.HOSTS))
    fleets = yaml.safe_load(yaml.safe_dump(story.FLEETS))
    fleets["fleets"][0]["router"]["port"] = router
    for host in fleets["fleets"][0]["hosts"]:
        host["slots"] = {colour: {"port": slots.pop()} for colour in ("blue", "green")}
    files = {
        "fleet": fleets, "scaling": story.SCALING, "prices": cost_fleet.PRICES,
        "cost": cost_fleet.COST, "budgets": story.BUDGETS,
    }  # fmt: skip
    config = settings.home / "config"
    config.mkdir(parents=True)
    for name, content in files.items():
        (config / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return load_fleet(settings.config_file("fleet"), story.FLEET)


def tell(settings: Settings, found: StackAddresses) -> None:
    """Write the week into the database, the registry and the home."""
    now = datetime.now(UTC)
    engine = database.open_engine(found.database_url)
    story.tell_rollouts(DatabaseJournal(engine), DatabaseLeases(engine), now=now)
    story.tell_backups(DatabaseHistory(engine), now=now)
    story.tell_costs(DatabaseCosts(engine), now=now, days=21)
    story.tell_schedules(DatabaseSchedules(engine), now=now)
    engine.dispose()
    registry, folder = open_registry(settings), settings.home / "models to register"
    folder.mkdir()
    parent = register_parent(registry, folder, model=story.MODEL)
    register_candidate(registry, parent, folder, created_at=now)
    rows = tuple(
        Compared(policy=name, over_oracle=over, slo_pct=slo, served_pct=100.0,
                 gpu_hours=over * 900, starts=starts, stops=starts)
        for name, over, slo, starts in (
            ("oracle", 1.0, 100.0, 28), ("static", 1.92, 100.0, 0), ("hpa", 1.31, 98.4, 61),
            ("previous", 1.2, 99.5, 30), ("schedule", 1.12, 99.9, 30),
        )
    )  # fmt: skip
    kept = Comparison(first=now.date(), last=now.date(), bridged=0.0, rows=rows)
    scaling_replays.keep(settings, story.FLEET, kept, made_at=now)


@dataclass(frozen=True)
class World:
    """The stack, told."""

    settings: Settings
    found: StackAddresses
    api: AirflowApi

    @property
    def url(self) -> str:
        """Where the page is in Airflow."""
        return f"{self.found.airflow_url}/plugin/greenlight"

    def token(self, role: str = "admin") -> str:
        """Return a log-in; for another role than the stack's only user has, one that we sign."""
        ours = self.api._client.headers["Authorization"].removeprefix("Bearer ")
        claims = jwt.decode(ours, options={"verify_signature": False})
        secret = (self.settings.secrets / "airflow_jwt").read_text().strip()
        named = {"sub": "admin" if role == "admin" else role, "role": role}
        return jwt.encode(claims | named, secret, algorithm="HS512")


@contextmanager
def visit(
    browser: Browser, world: World, *, role: str = "admin", **options: Any
) -> Iterator[BrowserContext]:
    """Log in as somebody of a role."""
    context = browser.new_context(**{"viewport": WIDE} | options)
    context.add_cookies([{"name": "_token", "value": world.token(role),
                          "url": world.found.airflow_url}])  # fmt: skip
    context.set_default_timeout(PATIENCE_MS)
    try:
        yield context
    finally:
        context.close()


@contextmanager
def told_stack(settings: Settings) -> Iterator[World]:
    """Run the parts of the stack that the page needs, with the week written into them."""
    fleet = a_home(settings)
    with engines(fleet), routed(settings, fleet):
        try:
            found = stack.up(settings, report=lambda *_: None, only=SERVICES)
            tell(settings, found)
            yield World(settings=settings, found=found, api=open_api(found, DEPLOY, GO_BACK, COST))
        finally:
            stack.down(settings, report=lambda *_: None)


def report(world: World) -> None:
    """Make a cost report as the DAG does."""
    tools = open_tools(world.settings)
    looked = cost_page.look(tools, cost_page.open_outlook(tools))
    cost_page.keep(tools, cost_page.build(tools, looked))
