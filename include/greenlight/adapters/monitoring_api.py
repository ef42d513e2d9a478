"""What Prometheus and Alertmanager say about themselves."""

from __future__ import annotations

from typing import Any

import yaml

from greenlight.adapters.answer_times import answer_of
from greenlight.core.errors import UnavailableError

MAY_BE_DOWN = "engine"
"""It starts, or its host rests: alerts and the doctor's look at the fleets know which."""
INTEGRATIONS = "_configs"


def silent_targets(url: str) -> list[str]:
    """Return the servers that Prometheus asks in vain, engines left out.

    Raises:
        UnavailableError: Prometheus doesn't answer.
    """
    targets = _ask(f"{url}/api/v1/targets")["data"]["activeTargets"]
    return sorted(
        f"{one['labels']['job']} at {one['labels']['instance']}"
        for one in targets
        if one["health"] != "up" and one["labels"]["job"] != MAY_BE_DOWN
    )


def receivers(url: str) -> list[str]:
    """Return the names of the receivers that reach somebody, as routes use them.

    Raises:
        UnavailableError: Alertmanager doesn't answer.
    """
    config = yaml.safe_load(_ask(f"{url}/api/v2/status")["config"]["original"])
    used = set(_names(config.get("route") or {}))
    return sorted(
        one["name"]
        for one in config.get("receivers") or ()
        if one["name"] in used and any(key.endswith(INTEGRATIONS) for key in one)
    )


def _names(route: dict[str, Any]) -> list[str]:
    below = [name for inner in route.get("routes") or () for name in _names(inner)]
    return [route["receiver"], *below] if "receiver" in route else below


def _ask(url: str) -> Any:
    try:
        return answer_of(url).json()
    except ValueError as error:
        raise UnavailableError(f"{url} does not answer as it should: {error}") from error
