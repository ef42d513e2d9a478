"""`greenlight secrets`: the files that docker-compose.yaml mounts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from greenlight.cli.console import console
from greenlight.entrypoints import secrets

app = typer.Typer(help="Secrets of the production set-up.", no_args_is_help=True)


@app.command()
def init(
    folder: Annotated[Path, typer.Option(help="Where they are kept.")] = secrets.FOLDER,
    variables: Annotated[
        Path, typer.Option(help="Where compose reads that folder and the user from.")
    ] = secrets.VARIABLES,
    edge_host: Annotated[
        str, typer.Option(help="The name that clients use; for a certificate to begin with.")
    ] = "localhost",
    uid: Annotated[
        int | None, typer.Option(help="Whom containers run as; you, or 10001 when you are root.")
    ] = None,
    gid: Annotated[int | None, typer.Option(help="Their group.")] = None,
) -> None:
    """Make every secret that is missing, once, and never show one."""
    made = secrets.init(folder=folder, variables=variables, edge_host=edge_host, uid=uid, gid=gid)
    for name in made.names:
        console.print(f"  made {name}")
    console.print(
        f"{len(made.names)} secrets made in {made.folder}, mode 600, for user {made.uid}:{made.gid}"
        f", whom the containers run as ({made.variables}).",
        soft_wrap=True,
    )
    if "tls_certificate" in made.names:
        console.print(
            f"The certificate of {edge_host} is vouched for by {made.folder / 'tls_ca'} alone: put "
            "your own into tls_certificate and tls_key before others connect.",
            soft_wrap=True,
        )
    console.print(
        "Keep a copy of backup_pgbackrest, backup_restic and backup_signing elsewhere: no backup "
        "can be restored without them.",
        soft_wrap=True,
    )


@app.callback()
def _nouns() -> None:
    """Keep `init` a command of its own, though it is the only one."""
