"""A schedule as a KEDA ScaledObject: cron triggers, a Prometheus trigger, what holds without it.

The text is rendered, checked against the schema beside this module, and handed to whoever applies
manifests; nothing here talks to a cluster. KEDA takes the most of all triggers, so the base is
`minReplicaCount` and each time with more hosts is a cron trigger above it. Crons have no dates: the
triggers are those of the coming seven days, in which every weekday comes once, so that a holiday
takes the place of its weekday. Rendered every day, they follow; left alone, a holiday would come
back a week later. One maximum holds all week: KEDA has no other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import jsonschema
import yaml
from pydantic import Field

from greenlight.core.errors import ConfigError, InputError
from greenlight.core.files import write_atomically
from greenlight.core.types import JsonDict, Value
from greenlight.scaling.calendars import zone_of
from greenlight.scaling.schedule import Schedule

SCHEMA = Path(__file__).with_name("keda_scaledobject.schema.json")
MANAGED = "greenlight.io/managed-by"
STEP = timedelta(minutes=5)
DAYS = 7


class KedaSettings(Value):
    """Where the ScaledObject goes and what its Prometheus trigger asks.

    `kind`: of what is scaled. `query`: tokens a second of all replicas together; `target`: of one.
    `failures`: polls without an answer, after which replicas stay as they are, unless a cron wants
    more: what isn't measured scales nothing down.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?$")]
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    kind: str = "Deployment"
    workload: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
    prometheus: Annotated[str, Field(pattern=r"^https?://\S+$")]
    query: Annotated[str, Field(min_length=1)]
    target: Annotated[float, Field(gt=0)]
    failures: Annotated[int, Field(ge=1)] = 3
    poll_s: Annotated[int, Field(ge=5)] = 30
    down_window_s: Annotated[int, Field(ge=0, le=3600)] = 300


def render(schedule: Schedule, settings: KedaSettings, *, now: datetime) -> str:
    """Return the manifest of the seven days from the local day of `now`.

    Raises:
        InputError: KEDA wouldn't take it.
    """
    manifest = _manifest(schedule, settings, now)
    check(manifest)
    text = yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=100)
    made = f"{schedule.made_at:%Y-%m-%d %H:%M} UTC"
    return (
        f"# Rendered by Greenlight from the schedule of {made}. Changes by hand are lost.\n{text}"
    )


def write(path: Path, text: str) -> bool:
    """Write the manifest; return whether it changed.

    Raises:
        ConfigError: there is a file that Greenlight didn't write.
    """
    if path.exists():
        there = path.read_text(encoding="utf-8")
        if not _is_ours(there):
            raise ConfigError(f"{path} has no annotation {MANAGED}: Greenlight didn't write it")
        if _without_comment(there) == _without_comment(text):
            return False
    write_atomically(path, text.encode())
    return True


def check(manifest: JsonDict) -> None:
    """Refuse what KEDA wouldn't take.

    Raises:
        InputError: says which value, and why.
    """
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    found = sorted(validator.iter_errors(manifest), key=lambda error: list(map(str, error.path)))
    if found:
        where = ".".join(str(part) for part in found[0].path) or "(top)"
        raise InputError(f"ScaledObject: {where}: {found[0].message}")


def _manifest(schedule: Schedule, settings: KedaSettings, now: datetime) -> JsonDict:
    sizes = list(_sizes(schedule, now))
    base = min(minimum for _, minimum, _ in sizes)
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {
            "name": settings.name,
            "namespace": settings.namespace,
            "annotations": {MANAGED: "greenlight", "greenlight.io/fleet": schedule.fleet},
        },
        "spec": {
            "scaleTargetRef": {"kind": settings.kind, "name": settings.workload},
            "pollingInterval": settings.poll_s,
            "minReplicaCount": base,
            "maxReplicaCount": max(maximum for _, _, maximum in sizes),
            "fallback": {
                "failureThreshold": settings.failures,
                "replicas": base,
                "behavior": "currentReplicasIfHigher",
            },
            "advanced": {
                "horizontalPodAutoscalerConfig": {
                    "behavior": {
                        "scaleDown": {"stabilizationWindowSeconds": settings.down_window_s}
                    }
                }
            },
            "triggers": [*_crons(schedule, sizes, base), _prometheus(settings)],
        },
    }


def _prometheus(settings: KedaSettings) -> JsonDict:
    return {
        "type": "prometheus",
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": settings.prometheus,
            "query": settings.query,
            "threshold": f"{settings.target:g}",
            "ignoreNullValues": "false",
        },
    }


def _sizes(schedule: Schedule, now: datetime) -> Iterator[tuple[datetime, int, int]]:
    """Yield local time, minimum and maximum of each five minutes of seven local days."""
    zone = zone_of(schedule.zone)
    first = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    wall = first.replace(tzinfo=None)
    for step in range(DAYS * 24 * 12):
        local = wall + step * STEP
        size = schedule.at(local.replace(tzinfo=zone))
        yield local, size.minimum, size.maximum


def _crons(
    schedule: Schedule, sizes: list[tuple[datetime, int, int]], base: int
) -> Iterator[JsonDict]:
    """Yield a trigger for each run of steps with more than the base."""
    start = 0
    for step in range(1, len(sizes) + 1):
        if step < len(sizes) and sizes[step][1] == sizes[start][1]:
            continue
        hosts = sizes[start][1]
        if hosts > base:
            end = sizes[start][0] + (step - start) * STEP
            yield {
                "type": "cron",
                "metadata": {
                    "timezone": schedule.zone,
                    "start": _cron(sizes[start][0]),
                    "end": _cron(end),
                    "desiredReplicas": str(hosts),
                },
            }
        start = step


def _cron(local: datetime) -> str:
    return f"{local.minute} {local.hour} * * {(local.weekday() + 1) % 7}"


def _is_ours(text: str) -> bool:
    try:
        manifest = yaml.safe_load(text)
        return manifest["metadata"]["annotations"][MANAGED] == "greenlight"
    except (yaml.YAMLError, KeyError, TypeError):
        return False


def _without_comment(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))
