"""Whether spans are told, and to whom: OpenTelemetry's standard variables decide.

Nothing is told unless `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`) is set.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache

from greenlight.core.errors import ConfigError
from greenlight.core.traces import Tracer, Untraced

log = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HTTP = "http/protobuf"


def otlp_endpoint(environment: Mapping[str, str]) -> str | None:
    """Return where spans go; none: nowhere.

    Raises:
        ConfigError: a variable asks for what isn't done here.
    """
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or environment.get("OTEL_TRACES_EXPORTER", "").strip() == "none":
        return None
    name, endpoint = _first(environment, ENDPOINTS)
    if not endpoint:
        return None
    if not endpoint.startswith(("http://", "https://")):
        raise ConfigError(
            f"{name}={endpoint!r} is no address of a collector: it must begin with http:// or "
            "https://, such as http://127.0.0.1:4318"
        )
    name, protocol = _first(environment, PROTOCOLS)
    if protocol and protocol != HTTP:
        raise ConfigError(
            f"{name}={protocol!r}: spans are sent over {HTTP} only; unset it, and name the "
            "collector's HTTP port (4318 by convention)"
        )
    return endpoint


def open_tracer(service: str, environment: Mapping[str, str] | None = None) -> Tracer:
    """Return what tells of a service's spans, one a process; `OTEL_SERVICE_NAME` renames it.

    Raises:
        ConfigError: as `otlp_endpoint`.
    """
    env = os.environ if environment is None else environment
    endpoint = otlp_endpoint(env)
    if endpoint is None:
        return Untraced()
    return _opened(env.get("OTEL_SERVICE_NAME", "").strip() or service, endpoint)


def open_lenient_tracer(service: str, environment: Mapping[str, str] | None = None) -> Tracer:
    """As `open_tracer`, but a mistake is only logged: no deploy or roll-back fails for its traces.

    A machine may have these variables for others, who speak gRPC.
    """
    try:
        return open_tracer(service, environment)
    except ConfigError as error:
        log.warning("no spans are told: %s", error)
        return Untraced()


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    return next(
        ((name, text) for name in names if (text := environment.get(name, "").strip())),
        (names[-1], ""),
    )


@cache
def _opened(service: str, endpoint: str) -> Tracer:
    """Opened once a process for each address, which the SDK reads from the variables again."""
    from greenlight.adapters.otlp import OtlpTracer

    del endpoint
    return OtlpTracer(service)
