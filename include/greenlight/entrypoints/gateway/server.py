"""`greenlight gateway run`: workers that share one socket, and the port their metrics are on.

uvicorn starts the workers, starts those that died again, and ends them in order. It gives the
application to each as a name: `worker.application`, which reads the settings again.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from greenlight.core.errors import ConfigError
from greenlight.core.settings import Ports, Settings, load_settings
from greenlight.entrypoints.tracing import otlp_endpoint
from greenlight.gateway.edge import EdgeSettings
from greenlight.gateway.gateway_file import GatewayFile, load_gateway_file

APPLICATION = "greenlight.entrypoints.gateway.worker:application"
METRICS_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CACHE_SECRET = "gateway_cache"  # noqa: S105 - a name
KEEP_ALIVE_S = 75
"""Longer than nginx keeps an idle connection to us (edge.upstream_idle_s): it closes it first."""
DRAIN_S = 60
"""How long open answers may end before a worker is killed."""
BACKLOG = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where the gateway answers."""

    url: str
    metrics_url: str


def read_file(settings: Settings) -> GatewayFile:
    """Return `gateway.yaml` with the embedded stack's ports and nginx where it says none.

    Raises:
        ConfigError: it is wrong.
    """
    file = load_gateway_file(settings.config_file("gateway"))
    listen = file.listen
    return file.model_copy(
        update={
            "edge": file.edge or _embedded_edge(settings),
            "listen": listen.model_copy(
                update={
                    "port": listen.port or settings.ports.gateway,
                    "metrics_port": listen.metrics_port or settings.ports.gateway_metrics,
                }
            ),
        }
    )


def _embedded_edge(settings: Settings) -> EdgeSettings | None:
    """Return the nginx of the embedded stack; none: there is no such stack."""
    from greenlight.adapters.stack.greenlight_servers import edge_certificates
    from greenlight.adapters.stack.ports import read_ports

    pem = edge_certificates(settings).server
    kept = read_ports(settings.run / "ports.json", Ports)
    port = settings.ports.edge or (kept.edge if kept else 0)
    return EdgeSettings(port=port, certificate=pem, key=pem) if port and pem.exists() else None


def serve(settings: Settings | None = None, *, on_start: Callable[[Listening], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ConfigError: the configuration or a secret is wrong, or a port is taken.
        UnavailableError: the database does not answer.
    """
    settings = settings or load_settings()
    file = read_file(settings)
    folder = metrics_folder(settings)
    shutil.rmtree(folder, ignore_errors=True)  # what an earlier start counted is over
    folder.mkdir(parents=True, mode=0o700)
    os.environ[METRICS_FOLDER_VARIABLE] = str(folder)  # read when prometheus_client is imported

    import uvicorn

    from greenlight.adapters.gateway_metrics import LivingWorkers
    from greenlight.adapters.metrics_server import serve_metrics

    require_usable(settings, file)
    _note_limits(settings, file)
    listener = _bind(file.listen.address, file.listen.port)
    port, stop_metrics = serve_metrics(
        LivingWorkers(folder), address=file.listen.address, port=file.listen.metrics_port
    )
    address = file.listen.address
    on_start(
        Listening(
            url=f"http://{address}:{listener.getsockname()[1]}",
            metrics_url=f"http://{address}:{port}/metrics",
        )
    )
    config = uvicorn.Config(
        APPLICATION,
        factory=True,
        workers=file.listen.workers,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
        backlog=BACKLOG,
    )
    try:
        if file.listen.workers > 1:
            from uvicorn.supervisors import Multiprocess

            Multiprocess(config, sockets=[listener]).run()
        else:
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        stop_metrics()
        listener.close()


def metrics_folder(settings: Settings) -> Path:
    """Return where the workers share what they count."""
    return settings.run / "gateway-metrics"


def require_usable(settings: Settings, file: GatewayFile) -> None:
    """Return when a worker could open everything that is on this machine.

    Raises:
        ConfigError: a secret is missing or weak, a tokenizer can't be read, or a variable of
            OpenTelemetry asks for what isn't done.
    """
    from greenlight.adapters.prompt_tokens import PromptTokens
    from greenlight.entrypoints import gateway_access

    otlp_endpoint(os.environ)
    for name in (gateway_access.PEPPER, gateway_access.AUDIT, CACHE_SECRET):
        gateway_access.load(settings, name)
    for model in file.models:
        if model.tokenizer is not None:
            PromptTokens(model.tokenizer)


def _note_limits(settings: Settings, file: GatewayFile) -> None:
    from greenlight.entrypoints import gateway_access
    from greenlight.entrypoints.gateway.limit_changes import note_limits

    _, audit = gateway_access.open_stores(settings)
    note_limits(audit, file, by=gateway_access.operator("gateway.yaml"))


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"the gateway can't listen on {address}:{port}: {error.strerror}; choose another "
            f"listen.port in gateway.yaml, or stop what is there"
        ) from error
    listener.set_inheritable(True)
    return listener
