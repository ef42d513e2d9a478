"""`greenlight deploy`: bring an approved version to a fleet, look at it, go back."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from greenlight.cli.console import console, say
from greenlight.cli.deploy_benchmark import benchmark
from greenlight.core.digest import short
from greenlight.core.settings import load_settings, read_config
from greenlight.core.types import JsonDict

if TYPE_CHECKING:
    from greenlight.deploy.plans import Plan
    from greenlight.deploy.request import DeployRequest
    from greenlight.entrypoints.deploy import Deploy

app = typer.Typer(
    help="Blue/green deploys: plan, run, status, rollback, history.", no_args_is_help=True
)

app.command()(benchmark)

FleetName = Annotated[str, typer.Argument(metavar="FLEET", help="Name from fleet.yaml.")]
FleetOrNone = Annotated[str | None, typer.Argument(metavar="[FLEET]", help="Name from fleet.yaml.")]
Local = Annotated[
    bool, typer.Option("--local", help="Every fleet whose hosts are all this machine.")
]
Version = Annotated[str, typer.Option(help="A version's number, or an alias.")]
RolloutName = Annotated[str, typer.Option("--rollout", help="Name from rollout.yaml.")]
AllowInterface = Annotated[
    bool,
    typer.Option("--allow-interface-change", help="Deploy another tokenizer or chat template too."),
]
ReplaceDead = Annotated[
    bool,
    typer.Option(
        "--replace-dead",
        help="Give up the live version: no engine of it answers, and it can't start again.",
    ),
]
By = Annotated[str, typer.Option(help="Who does it, kept in the journal; you.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def plan(
    fleet: FleetName,
    version: Version = "approved",
    rollout: RolloutName = "standard",
    *,
    allow_interface_change: AllowInterface = False,
    replace_dead: ReplaceDead = False,
    as_json: AsJson = False,
) -> None:
    """Say what a deploy would do, and whether it is refused; nothing is changed."""
    request = _request(
        fleet, version, rollout,
        allow_interface_change=allow_interface_change, replace_dead=replace_dead,
    )  # fmt: skip
    found = _open(fleet).plan(request, rollout_id=new_rollout_id(fleet), by=getpass.getuser())
    if as_json:
        typer.echo(json.dumps(found.to_json()))
    else:
        _print_plan(found)
    raise typer.Exit(1 if found.refusals else 0)


@app.command()
def run(
    fleet: FleetName,
    version: Version = "approved",
    rollout: RolloutName = "standard",
    *,
    allow_interface_change: AllowInterface = False,
    replace_dead: ReplaceDead = False,
    by: By = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="The same as `plan`.")] = False,
    resume: Annotated[
        str | None, typer.Option(help="Go on with a rollout whose process was killed: its id.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Deploy; whatever goes wrong, the old version serves everybody."""
    from greenlight.entrypoints.deploy import open_deploy

    if dry_run:
        plan(
            fleet, version, rollout,
            allow_interface_change=allow_interface_change, replace_dead=replace_dead,
            as_json=as_json,
        )  # fmt: skip
        return
    request = _request(
        fleet, version, rollout,
        allow_interface_change=allow_interface_change, replace_dead=replace_dead,
    )  # fmt: skip
    rollout_id = resume or new_rollout_id(fleet)
    if not as_json:
        console.print(f"rollout {rollout_id}", markup=False)
    ended = open_deploy(fleet).run(
        request,
        rollout_id=rollout_id,
        by=by or getpass.getuser(),
        on_step=_quiet if as_json else say,
    )
    if as_json:
        typer.echo(json.dumps(ended))
    else:
        console.print(f"{ended['outcome']}: {ended.get('reason') or ''}", markup=False)


@app.command()
def fleets(*, as_json: AsJson = False) -> None:
    """List the fleets of fleet.yaml, with their hosts."""
    from greenlight.deploy.fleet import FleetFile

    settings = load_settings()
    found = read_config(settings.config_file("fleet"), FleetFile).fleets
    if as_json:
        typer.echo(json.dumps([fleet.model_dump(mode="json") for fleet in found]))
        return
    _print_table(
        [
            {
                "fleet": fleet.name,
                "model": fleet.model,
                "engine": str(fleet.engine.kind),
                "router": f"{fleet.router.address}:{fleet.router.port}",
                "hosts": ", ".join(f"{host.name} ({host.runner})" for host in fleet.hosts),
            }
            for fleet in found
        ]
    )


@app.command()
def status(fleet: FleetName, *, as_json: AsJson = False) -> None:
    """Show what is live, who deploys, and what the router sends where."""
    found = _open(fleet).status()
    if as_json:
        typer.echo(json.dumps(found))
        return
    now, running = found["live"], found["rollout"]
    live = f"version {now['version']} ({short(now['digest'])}), {now['colour']}" if now else "-"
    console.print(f"fleet {fleet} serves {found['model']} {live}", markup=False)
    if running:
        console.print(
            f"rollout {running['rollout_id']}: version {running['version']} has "
            f"{running['share']} % as {running['colour']}",
            markup=False,
        )
    if found["lease"]:
        lease = found["lease"]
        console.print(f"lease: {lease['holder']} since {lease['taken_at']}", markup=False)
    _print_table(found["servers"])


@app.command()
def rollback(
    fleet: FleetName,
    reason: Annotated[str, typer.Option(help="Why; kept in the journal.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Go back at once while a rollout is on its way; its process is shut out."""
    ended = _open(fleet).go_back(reason=f"{getpass.getuser()}: {reason}")
    if as_json:
        typer.echo(json.dumps(ended))
    else:
        console.print(f"{ended['outcome']}: {ended['reason']}", markup=False)


@app.command()
def history(fleet: FleetName, *, as_json: AsJson = False) -> None:
    """Show every rollout of a fleet, oldest first."""
    found = _open(fleet).history()
    if as_json:
        typer.echo(json.dumps(found))
        return
    columns = ("started_at", "rollout_id", "version", "colour", "outcome", "started_by", "reason")
    _print_table([{c: entry[c] for c in columns} for entry in found])


@app.command()
def start(fleet: FleetOrNone = None, *, local: Local = False) -> None:
    """Start again what is live, after a reboot, a crash or `stop`; what serves is left alone."""
    for name in _chosen(fleet, local=local):
        deploy = _open(name)
        if local and not may_start(deploy.status()):
            continue
        now = deploy.start()
        console.print(
            f"fleet {name} serves version {now.version} ({short(now.digest)}) as {now.colour}",
            markup=False,
        )


@app.command()
def stop(
    fleet: FleetOrNone = None,
    *,
    local: Local = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop a fleet's engines and its router, at once; `start` starts them again."""
    from greenlight.entrypoints.deploy import stop as stop_fleet

    chosen = _chosen(fleet, local=local)
    if not yes:
        typer.confirm(f"Stop serving on {', '.join(chosen)}?", abort=True)
    for name in chosen:
        stop_fleet(name, settings=load_settings())
        console.print(f"fleet {name} is stopped", markup=False)


def _chosen(fleet: str | None, *, local: bool) -> list[str]:
    """Return the fleet that was named, or every one whose hosts are all this machine."""
    from greenlight.deploy.fleet import FleetFile

    if (fleet is None) is not local:
        raise typer.BadParameter("name a fleet, or all of this machine with --local")
    if fleet is not None:
        return [fleet]
    settings = load_settings()
    found = read_config(settings.config_file("fleet"), FleetFile).fleets
    return [one.name for one in found if one.is_local]


def may_start(now: JsonDict) -> bool:
    """Return whether something is live; a rollout on its way starts its engines itself."""
    return now["live"] is not None and now["rollout"] is None


def new_rollout_id(fleet: str) -> str:
    """Return an id that no other rollout of the fleet has, unless begun in the same second."""
    return f"{fleet}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def _open(fleet: str) -> Deploy:
    from greenlight.entrypoints.deploy import open_deploy

    return open_deploy(fleet, settings=load_settings())


def _request(fleet: str, version: str, rollout: str, **switches: bool) -> DeployRequest:
    from greenlight.deploy.request import parse_deploy_request

    return parse_deploy_request(
        {"fleet": fleet, "version": version, "rollout": rollout, **switches}
    )


def _print_plan(found: Plan) -> None:
    if found.nothing_to_do:
        console.print(found.nothing_to_do, markup=False)
        return
    for number, line in enumerate(found.steps(), start=1):
        console.print(f"{number:3}. {line}", markup=False)
    for refusal in found.refusals:
        console.print(f"refused: {refusal}", markup=False)


def _print_table(rows: list[JsonDict]) -> None:
    table = Table()
    for column in rows[0] if rows else ():
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("-" if value is None else str(value) for value in row.values()))
    console.print(table)


def _quiet(text: str) -> None:
    del text
