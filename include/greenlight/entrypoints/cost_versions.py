"""What a quantized version costs beside its parent, and what it lost, by its evidence."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.core.errors import InputError, RefusedError, UnavailableError
from greenlight.core.settings import load_settings
from greenlight.cost.unit_costs import Beside, QualityLoss, UnitCost, beside
from greenlight.registry.tags import Tag

if TYPE_CHECKING:
    from greenlight.registry.ports import ModelRegistry, Version

log = logging.getLogger(__name__)

QUALITY = (
    "perplexity_ratio", "choice_accuracy_recovery", "answer_accuracy_change", "kl_mean",
    "top1_agreement",
)  # fmt: skip
"""What of the evidence tells how far a version is from its parent; each is followed by a set."""


def beside_parents(
    units: tuple[UnitCost, ...], *, registry: ModelRegistry | None = None
) -> tuple[Beside, ...]:
    """Return each quantized version beside its parent; none where the registry doesn't answer.

    Costs are told without it too.
    """
    try:
        registry = registry or _open()
        known = {(unit.model, unit.version): unit for unit in units}
        pairs = (_pair(unit, known, registry) for unit in units)
        return tuple(pair for pair in pairs if pair is not None)
    except (UnavailableError, RefusedError) as error:
        log.warning("versions can't be compared with their parents: %s", error)
        return ()


def _pair(
    unit: UnitCost, known: Mapping[tuple[str, str | None], UnitCost], registry: ModelRegistry
) -> Beside | None:
    if unit.version is None or not unit.version.isdigit():
        return None
    try:
        version = registry.get(unit.model, int(unit.version))
    except InputError as error:
        log.info("%s", error)
        return None
    parent = version.tag(Tag.PARENT_VERSION)
    if parent is None:
        return None
    return beside(unit, known.get((unit.model, parent)), _quality(version, registry))


def _quality(version: Version, registry: ModelRegistry) -> tuple[QualityLoss, ...]:
    from greenlight.entrypoints.evidence import fetch

    with tempfile.TemporaryDirectory(prefix="greenlight-") as folder:
        try:
            metrics = fetch(registry, version, folder=Path(folder)).metrics
        except InputError as error:
            log.info("%s", error)
            return ()
    return tuple(
        QualityLoss(
            metric=metric.name,
            value=metric.value,
            unit=metric.unit,
            low=metric.low,
            high=metric.high,
        )
        for metric in metrics
        if metric.name.partition(".")[0] in QUALITY
    )


def _open() -> ModelRegistry:
    from greenlight.entrypoints.models import open_registry

    return open_registry(load_settings())
