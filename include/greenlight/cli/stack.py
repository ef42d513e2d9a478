"""`greenlight stack`: PostgreSQL, Redis, MLflow, Airflow and S3 stores on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from greenlight.cli.console import console
from greenlight.core.errors import InputError
from greenlight.entrypoints import stack

if TYPE_CHECKING:
    from greenlight.adapters.stack.services import ServiceName, StackAddresses

app = typer.Typer(
    help="The embedded stack: PostgreSQL, MLflow, Airflow, S3 stores.", no_args_is_help=True
)
FOLLOW_S = 0.3
STYLES = {"running": "green", "unhealthy": "yellow", "stopped": "red"}


@app.command()
def up(
    only: Annotated[
        list[str] | None,
        typer.Option(help="This service alone; may be said again. A look before Airflow begins."),
    ] = None,
) -> None:
    """Start what is missing and wait until it is healthy."""
    begin = time.monotonic()
    found = stack.up(report=_report, only=_services(only) if only else None)
    took = f"Up in {time.monotonic() - begin:.0f} s."
    if only:
        console.print(took)
        return
    console.print(address_table(found))
    console.print(
        f"{took} The password: "
        f"[bold]greenlight stack password[/], or read {found.airflow_password_file}",
        soft_wrap=True,
    )


@app.command()
def down() -> None:
    """Stop everything, in order; the data stays."""
    begin = time.monotonic()
    stack.down(report=_report)
    console.print(f"Down in {time.monotonic() - begin:.0f} s.")


@app.command()
def status() -> None:
    """Show every service; exit code 1 unless all are healthy."""
    table = Table("service", "state", "pid", "port", "why")
    found = stack.status()
    for line in found:
        state = f"[{STYLES[line.state]}]{line.state}[/]"
        table.add_row(
            line.name, state, str(line.pid or ""), str(line.port or ""), line.reason or ""
        )
    console.print(table)
    if any(line.reason for line in found):
        raise typer.Exit(1)


@app.command()
def logs(
    service: Annotated[str | None, typer.Argument(help="One service; none: all.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines to begin with.")] = 40,
) -> None:
    """Show the end of the services' logs."""
    paths = stack.log_files(service)
    ends = {path: path.stat().st_size for path in paths}
    for path in paths:
        for line in stack.last_lines(path, lines=lines):
            _say(path, line, named=len(paths) > 1)
    while follow:
        time.sleep(FOLLOW_S)
        for path in paths:
            for line in _new_lines(path, ends):
                _say(path, line, named=len(paths) > 1)


@app.command()
def password() -> None:
    """Print the password of the Airflow user."""
    typer.echo(stack.addresses().airflow_password)


def address_table(found: StackAddresses) -> Table:
    """Return where everything is, without a secret."""
    table = Table(show_header=False)
    table.add_row("Airflow", found.airflow_url)
    table.add_row("MLflow", found.mlflow_url)
    table.add_row("Prometheus", found.prometheus_url)
    table.add_row("Alertmanager", found.alertmanager_url)
    table.add_row("gateway", f"{found.gateway_url}/v1")
    if found.edge_url:
        table.add_row("... over TLS", f"{found.edge_url}/v1")
    table.add_row("log-in", found.airflow_user)
    return table


def _services(names: Sequence[str]) -> list[ServiceName]:
    from greenlight.adapters.stack.services import ServiceName

    known = [str(name) for name in ServiceName]
    if wrong := [name for name in names if name not in known]:
        raise InputError(f"no service is called {wrong[0]!r}; there are {', '.join(known)}")
    return [ServiceName(name) for name in names]


def _report(step: str, what: str) -> None:
    console.print(f"  {step:<22} {what}", soft_wrap=True)


def _say(path: Path, line: str, *, named: bool) -> None:
    typer.echo((f"{path.stem:<22} " if named else "") + line.rstrip("\n"))


def _new_lines(path: Path, ends: dict[Path, int]) -> Iterator[str]:
    """Yield what was appended since the last call; a log that was rotated begins anew."""
    size = path.stat().st_size if path.exists() else 0
    if size < ends[path]:
        ends[path] = 0
    if size > ends[path]:
        with path.open("rb") as file:
            file.seek(ends[path])
            text = file.read(size - ends[path])
        ends[path] = size
        yield from text.decode(errors="replace").splitlines()
