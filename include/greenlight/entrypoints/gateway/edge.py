"""nginx in front of the gateway, as gateway.yaml describes it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from greenlight.core.errors import ConfigError
from greenlight.core.settings import Ports, Settings
from greenlight.entrypoints.gateway.server import read_file

if TYPE_CHECKING:
    from greenlight.adapters.nginx.process import Nginx


def open_edge(settings: Settings) -> Nginx:
    """Return the nginx of a home; nothing is started.

    Raises:
        ConfigError: gateway.yaml has no `edge`, or it is wrong, or the gateway's port isn't known.
    """
    from greenlight.adapters.nginx.process import Nginx
    from greenlight.adapters.stack.ports import read_ports

    file = read_file(settings)
    if file.edge is None:
        raise ConfigError(
            f"{settings.config_file('gateway')} has no `edge`: say where nginx listens and which "
            "certificate it shows; include/config/gateway.example.yaml explains the keys"
        )
    kept = read_ports(settings.run / "ports.json", Ports)
    port = file.edge.upstream_port or file.listen.port or (kept.gateway if kept else 0)
    if not port or not file.edge.port:
        raise ConfigError("nginx needs ports: set listen.port and edge.port in gateway.yaml")
    edge = file.edge.model_copy(update={"upstream_port": port})
    return Nginx(edge, folder=settings.home / "nginx")


def run(settings: Settings) -> None:
    """Become nginx, in the foreground, until it is told to stop. Does not return.

    Raises:
        ConfigError: nginx refuses a setting or a certificate, or isn't installed.
    """
    nginx = open_edge(settings)
    nginx.prepare()
    command = nginx.command()
    os.chdir(settings.home / "nginx")
    os.execve(command[0], command, {})  # noqa: S606 - a list, no shell


def reload(settings: Settings) -> None:
    """Let the nginx that runs take over what settings and certificate files say now.

    Raises:
        ConfigError: nginx refuses them; it goes on with what it has.
        UnavailableError: none runs.
    """
    open_edge(settings).reload()
