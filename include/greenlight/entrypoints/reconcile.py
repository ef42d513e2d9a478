"""Find versions that were tagged for quantizing and have no run yet.

Events can be lost; the tag in the registry is the truth, and this reads it again and again. The run
id is made from the digest, so one request is one run, however often it is found.
"""

from __future__ import annotations

from greenlight.core.digest import short
from greenlight.core.settings import load_settings
from greenlight.core.types import JsonDict
from greenlight.registry.ports import ModelRegistry, Version
from greenlight.registry.tags import REQUESTED, Tag


def requested_runs(registry: ModelRegistry | None = None) -> list[JsonDict]:
    """Return `{"trigger_run_id", "conf"}` for every imported version whose tag asks for a run."""
    from greenlight.entrypoints.models import open_registry

    registry = registry or open_registry(load_settings())
    return [
        requested_run(version)
        for model in registry.models()
        for version in registry.versions(model)
        if version.tag(Tag.QUANTIZE) == REQUESTED
    ]


def requested_run(version: Version) -> JsonDict:
    """Return the one run that quantizes a version: `{"trigger_run_id", "conf"}`."""
    return {
        "trigger_run_id": f"requested-{version.model}-{version.version}-{short(version.digest)}",
        "conf": {"model": version.model, "version": version.version},
    }
