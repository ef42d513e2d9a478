"""The embedded stack for the CLI and for entry points that need its addresses."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.core.errors import InputError
from greenlight.core.settings import CONFIG_VARIABLE, Settings, load_settings

if TYPE_CHECKING:
    import sqlalchemy as sa

    from greenlight.adapters.stack.embedded import EmbeddedStack
    from greenlight.adapters.stack.readiness import Report
    from greenlight.adapters.stack.services import ServiceName, ServiceStatus, StackAddresses


def up(
    settings: Settings | None = None,
    *,
    report: Report,
    only: Collection[ServiceName] | None = None,
) -> StackAddresses:
    """Start what is missing, and return when it is healthy. `only`: these services; all.

    Raises:
        ConfigError: something is not installed, a port is taken, a secret is bad.
        ProcessDiedError: a service ended while starting.
        UnavailableError: a service did not become healthy in time.
    """
    return _stack(settings).up(report, only=only)


def down(settings: Settings | None = None, *, report: Report) -> None:
    """Stop everything in order; nothing to do is fine."""
    _stack(settings).down(report)


def status(settings: Settings | None = None) -> list[ServiceStatus]:
    """Return every service in the order of starting."""
    return _stack(settings).status()


def addresses(settings: Settings | None = None) -> StackAddresses:
    """Return where the running stack is and how to log in.

    Raises:
        RefusedError: it isn't up; the message says what to run.
    """
    return _stack(settings).addresses()


def open_database(settings: Settings) -> sa.Engine:
    """Return an engine for the configured database, or for the running stack's.

    Raises:
        RefusedError: none is configured, and the stack is not up.
    """
    from greenlight.adapters.database import open_engine

    return open_engine(settings.database_url or addresses(settings).database_url)


def mlflow_url(settings: Settings) -> str:
    """Return where the configured MLflow is, or the running stack's; raises as `addresses`."""
    return settings.mlflow_url or addresses(settings).mlflow_url


def prometheus_url(settings: Settings) -> str:
    """Return where the configured Prometheus is, or the running stack's; raises as `addresses`."""
    return settings.prometheus_url or addresses(settings).prometheus_url


def alertmanager_url(settings: Settings) -> str:
    """Return where the configured Alertmanager is, or the stack's; raises as `addresses`."""
    return settings.alertmanager_url or addresses(settings).alertmanager_url


def log_files(service: str | None, settings: Settings | None = None) -> list[Path]:
    """Return the log of one service, or of all that have one.

    Raises:
        InputError: no service is called that, or there is no log yet.
    """
    from greenlight.adapters.stack.services import ServiceName

    stack = _stack(settings)
    names = [name for name in ServiceName if service in (None, name.value)]
    if not names:
        known = ", ".join(ServiceName)
        raise InputError(f"no service is called {service!r}; there are {known}")
    found = [path for name in names if (path := stack.supervisor.log(name)).exists()]
    if not found:
        raise InputError(f"there is no log under {stack.settings.logs} yet; run `make up`")
    return found


def last_lines(path: Path, *, lines: int) -> Iterator[str]:
    """Yield the last lines of a log."""
    with path.open(errors="replace") as file:
        yield from deque(file, maxlen=lines)


def _stack(settings: Settings | None) -> EmbeddedStack:
    from greenlight.adapters.stack.embedded import EmbeddedStack

    environment = dict(os.environ)
    if CONFIG_VARIABLE in environment:  # the services run in another folder
        environment[CONFIG_VARIABLE] = str(Path(environment[CONFIG_VARIABLE]).absolute())
    return EmbeddedStack(settings or load_settings(), environment=environment)
