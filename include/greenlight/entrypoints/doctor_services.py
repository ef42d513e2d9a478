"""The doctor's look at services of your own, which stand in for the embedded stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from greenlight.core.errors import ConfigError
from greenlight.core.findings import Answer, Finding, answer_if, look
from greenlight.core.settings import Settings

PROGRAMS = ("haproxy", "pgbackrest", "restic")
"""What the commands themselves start."""


def look_at_services(settings: Settings) -> Iterator[Finding]:
    """Ask each configured service whether it is well."""
    from greenlight.adapters import answer_times
    from greenlight.entrypoints import stack

    asked: dict[str, Callable[[], float]] = {
        "database": lambda: answer_times.of_database(stack.open_database(settings))
    }
    for name, url, path in (
        ("MLflow", settings.mlflow_url, "/health"),
        ("Airflow", settings.airflow_url, "/api/v2/monitor/health"),
        ("Prometheus", settings.prometheus_url, "/-/healthy"),
        ("Alertmanager", settings.alertmanager_url, "/-/healthy"),
    ):
        if url:
            asked[name] = partial(answer_times.of_url, url.rstrip("/") + path)
    for name, ask in asked.items():
        yield from look("stack", partial(_say, name, ask))


def look_at_secrets(settings: Settings) -> Iterator[Finding]:
    """Read the secrets that this process was given: each service has its own few."""
    from greenlight.adapters.stack.secrets import MAKERS, load_secret

    there = [name for name in MAKERS if (settings.secrets / name).exists()]
    for name in there:
        try:
            load_secret(settings.secrets, name)
        except ConfigError as error:
            yield Finding(
                part="secrets", answer=Answer.FAILED, evidence=str(error),
                fix="`greenlight secrets init` makes it",
            )  # fmt: skip
    yield answer_if(
        "secrets", bool(there), f"{len(there)} secrets were given to this process",
        fix=f"mount them at {settings.secrets}", otherwise=Answer.WARNING,
    )  # fmt: skip


def _say(name: str, ask: Callable[[], float]) -> Iterator[Finding]:
    yield Finding(part="stack", answer=Answer.OK, evidence=f"{name}: answers in {ask():.2f} s")
