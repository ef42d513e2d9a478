"""`greenlight keys`: make, list, rotate and revoke API keys of the gateway.

A new key is printed once, alone on standard output; all that is said about it goes to standard
error, so that the key can be piped into a secret store.
"""

from __future__ import annotations

import getpass
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from greenlight.cli.console import console
from greenlight.cli.durations import read_duration
from greenlight.core.settings import load_settings
from greenlight.core.types import JsonDict

if TYPE_CHECKING:
    from greenlight.entrypoints.gateway_keys import ApiKeys, Issued

app = typer.Typer(help="API keys: create, list, rotate, revoke.", no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id, from `list`.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")]
Lifetime = Annotated[
    timedelta | None,
    typer.Option(parser=read_duration, metavar="TIME", help="It expires after this: 90d, 24h."),
]


@app.command()
def create(
    *,
    tenant: Annotated[str, typer.Option(help="Whose it is: a tenant of gateway.yaml.")],
    scope: Annotated[
        list[str], typer.Option(help="chat, completions, models, model:NAME, …; may be repeated.")
    ],
    expires: Lifetime = None,
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    dry_run: DryRun = False,
) -> None:
    """Make a key and print it, once."""
    issued = _open().create(
        tenant=tenant, scopes=scope, name=name, lifetime=expires, dry_run=dry_run
    )
    _print(issued, "created", dry_run=dry_run)


@app.command("list")
def list_(
    *,
    tenant: Annotated[str | None, typer.Option(help="Only this one's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List keys, oldest first; never what opens anything."""
    found = _open().list_keys(tenant=tenant)
    if as_json:
        typer.echo(json.dumps(found))
        return
    if not found:
        typer.echo("there is no key; `greenlight keys create` makes one", err=True)
        return
    table = Table()
    for column in ("id", "tenant", "name", "scopes", "state", "created (UTC)", "expires", "used"):
        table.add_column(column, overflow="fold")
    for key in found:
        table.add_row(*_row(key))
    console.print(table)


@app.command()
def rotate(
    key: KeyId,
    *,
    overlap: Annotated[
        timedelta,
        typer.Option(
            parser=read_duration, metavar="TIME", help="The secret before works so long; 0s: not."
        ),
    ],
    expires: Lifetime = None,
    dry_run: DryRun = False,
) -> None:
    """Give a key another secret and print it, once; id, limits and history stay."""
    issued = _open().rotate(key, overlap=overlap, lifetime=expires, dry_run=dry_run)
    _print(issued, "rotated", dry_run=dry_run)


@app.command()
def revoke(key: KeyId, *, dry_run: DryRun = False) -> None:
    """End a key, for good. Gateways know within `key_cache_s` seconds."""
    ended = _open().revoke(key, dry_run=dry_run)
    if dry_run:
        _say(f"key {ended.id} of {ended.tenant} would be revoked")
    else:
        _say(f"key {ended.id} of {ended.tenant} is revoked, by {ended.revoked_by}")


def _open() -> ApiKeys:
    from greenlight.entrypoints.gateway_keys import open_keys

    return open_keys(load_settings(), by=getpass.getuser())


def _print(issued: Issued, verb: str, *, dry_run: bool) -> None:
    key = issued.key
    until = f"until {_time(key.expires_at.isoformat())} UTC" if key.expires_at else "for ever"
    is_ = "would be" if dry_run else "is"
    _say(f"key {key.id} of {key.tenant} {is_} {verb}; it opens {' '.join(key.scopes)}, {until}")
    if key.previous_until is not None:
        _say(f"the secret before works until {_time(key.previous_until.isoformat())} UTC")
    if not issued.opens_a_model:
        _say("no model can be asked with it: that takes a scope model:NAME or model:*")
    if not dry_run:
        _say("this is the only time it is shown:")
        typer.echo(issued.text)


def _row(key: JsonDict) -> list[str]:
    state = key["state"]
    if key["previous_until"]:
        state += f", secret before until {_time(key['previous_until'])}"
    return [
        key["id"],
        key["tenant"],
        escape(key["name"]),
        " ".join(key["scopes"]),
        state,
        _time(key["created_at"]),
        _time(key["expires_at"]),
        _time(key["last_used_at"]),
    ]


def _time(iso: str | None) -> str:
    return iso[:19].replace("T", " ") if iso else "-"


def _say(text: str) -> None:
    typer.echo(text, err=True)
