"""What a worker of the gateway works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenlight.core.clock import Clock
from greenlight.core.traces import Tracer
from greenlight.gateway.gateway_file import GatewayFile
from greenlight.gateway.ports import AuditTrail, Authenticator, LimitStore

if TYPE_CHECKING:
    from greenlight.adapters.gateway_metrics import GatewayMetrics
    from greenlight.adapters.upstream import Upstream
    from greenlight.entrypoints.gateway.answers import Answers
    from greenlight.entrypoints.gateway.serving import ServedModels
    from greenlight.entrypoints.gateway.spend_caps import SpendCaps


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Opened once a worker. `answers`: none, when nothing is cached."""

    file: GatewayFile
    authenticator: Authenticator
    limits: LimitStore
    caps: SpendCaps
    answers: Answers | None
    upstreams: Mapping[str, Upstream]
    """By model."""
    served: ServedModels
    trail: AuditTrail
    metrics: GatewayMetrics
    tracer: Tracer
    clock: Clock
