"""The panel of what waits for a person: versions with evidence, and schedules."""

from __future__ import annotations

from collections.abc import Iterator

from greenlight.adapters.page.panels import ReviewPanel, WaitingSchedule, WaitingVersion
from greenlight.entrypoints.page.sources import Sources
from greenlight.registry.approvals import Approval
from greenlight.registry.ports import ModelRegistry, Version
from greenlight.registry.tags import Tag
from greenlight.scaling.kept import ScheduleState
from greenlight.scaling.ports import ScheduleStore
from greenlight.scaling.scaling_file import load_scaling

SHOWN = 20
NOBODY = "nobody decided about it yet"


def review(sources: Sources) -> ReviewPanel:
    """Return what nobody answered yet. What was rejected doesn't wait any more."""
    fleets = sorted(load_scaling(sources.settings.config_file("scaling")).fleets)
    versions = list(_versions(sources.registry, sources.approvals.approvals()))
    versions.sort(key=lambda one: one.made_at, reverse=True)
    return ReviewPanel(
        versions=tuple(versions[:SHOWN]),
        schedules=tuple(_schedules(sources.schedules, fleets)),
    )


def _versions(registry: ModelRegistry, decisions: tuple[Approval, ...]) -> Iterator[WaitingVersion]:
    """Yield versions whose digest and evidence nobody decided about.

    Whether the evidence itself is still young enough is judged when somebody deploys: that takes
    reading it.
    """
    decided = {(one.digest, one.evidence_digest) for one in decisions}
    for model in registry.models():
        for version in registry.versions(model):
            evidence = version.tag(Tag.EVIDENCE_DIGEST)
            if evidence is not None and (version.digest, evidence) not in decided:
                yield _waiting(version, registry, decisions)


def _waiting(
    version: Version, registry: ModelRegistry, decisions: tuple[Approval, ...]
) -> WaitingVersion:
    about = [one for one in decisions if one.digest == version.digest]
    last = max(about, key=lambda one: one.decided_at, default=None)
    return WaitingVersion(
        model=version.model,
        version=version.version,
        digest=version.digest,
        recipe=version.tag(Tag.RECIPE) or "unknown",
        verdict=version.tag(Tag.VERDICT) or "unknown",
        made_at=version.created_at,
        why=NOBODY if last is None else f"{last.decided_by} decided on other evidence: decide anew",
        url=registry.version_url(version.model, version.version),
    )


def _schedules(store: ScheduleStore, fleets: list[str]) -> Iterator[WaitingSchedule]:
    for fleet in fleets:
        for kept in store.newest(fleet, count=1):
            if kept.state is ScheduleState.PROPOSED and kept.waits_for:
                yield WaitingSchedule(
                    fleet=fleet,
                    digest=kept.digest,
                    made_at=kept.made_at,
                    why="; ".join(kept.waits_for),
                )
