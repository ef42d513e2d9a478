"""`greenlight secrets init`: what docker-compose.yaml needs before its first start."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.errors import InputError
from greenlight.core.settings import PROJECT

FOLDER = PROJECT / "secrets"
VARIABLES = PROJECT / ".env"
CONTAINERS_UID = 10001
"""Whom containers run as when root makes the secrets: nobody of the machine, and never root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a call did. Names only, never a value."""

    folder: Path
    names: tuple[str, ...]
    uid: int
    gid: int
    variables: Path
    variables_changed: bool


def init(
    *,
    folder: Path = FOLDER,
    variables: Path = VARIABLES,
    edge_host: str = "localhost",
    uid: int | None = None,
    gid: int | None = None,
    clock: Clock | None = None,
) -> Made:
    """Make the secrets that are missing, give them to the containers' user, and say who that is.

    Compose reads the user and the folder from `variables`, its `.env`. Running it again makes only
    what is missing.

    Raises:
        InputError: the containers would run as root.
        ConfigError: a secret is weak, can be read by others, or belongs to somebody else.
    """
    from greenlight.adapters.stack import compose_secrets

    uid, gid = _user(uid, gid)
    folder = folder.expanduser().absolute()
    now = (clock or SystemClock()).now()
    names = compose_secrets.make_secrets(folder, edge_host=edge_host, now=now)
    compose_secrets.give_to(folder, uid=uid, gid=gid)
    changed = compose_secrets.write_variables(
        variables,
        {
            "GREENLIGHT_SECRETS": f"'{folder}'",  # spaces, $ and # mean something else otherwise
            "GREENLIGHT_UID": str(uid),
            "GREENLIGHT_GID": str(gid),
        },
    )
    return Made(
        folder=folder,
        names=tuple(names),
        uid=uid,
        gid=gid,
        variables=variables,
        variables_changed=changed,
    )


def _user(uid: int | None, gid: int | None) -> tuple[int, int]:
    """Return whom containers run as: the caller, unless that is root."""
    is_root = os.geteuid() == 0
    chosen = uid if uid is not None else CONTAINERS_UID if is_root else os.geteuid()
    group = gid if gid is not None else chosen if is_root else os.getegid()
    if chosen <= 0 or group <= 0:
        raise InputError(
            f"containers can't run as user {chosen}, group {group}: choose --uid and --gid above 0"
        )
    return chosen, group
