"""Keep the first lines of a version's description true: evidence, approval, rollouts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from greenlight.core.digest import short
from greenlight.core.types import JsonDict
from greenlight.deploy.journal import Outcome
from greenlight.registry.links import APPROVAL, EVIDENCE, ROLLOUT, link, plain, with_links
from greenlight.registry.tags import EVIDENCE_FILE, Tag

if TYPE_CHECKING:
    from greenlight.registry.approvals import Approval
    from greenlight.registry.ports import ModelRegistry, Version

DEPLOY_DAG = "deploy_blue_green"
ENDED = {Outcome.LIVE: "went live", Outcome.ROLLED_BACK: "was taken back"}
"""Said of the past: the page of an old version isn't written again when another goes live."""


class Pages(Protocol):
    """As much of a model registry as describing a version takes."""

    def get(self, model: str, version: int) -> Version:
        """Return one version."""

    def set_description(self, model: str, *, version: int, description: str) -> None:
        """Replace the description of a version."""


def show_evidence(registry: ModelRegistry, version: Version) -> None:
    """Link the evidence of a version that has some."""
    digest = version.tag(Tag.EVIDENCE_DIGEST)
    if digest is None:
        return
    address = registry.artifact_link(version.model, version=version.version, path=EVIDENCE_FILE)
    said = f"{link(f'`{short(digest)}`', address)}, {version.tag(Tag.VERDICT) or 'not judged'}"
    _write(registry, version.model, version.version, {EVIDENCE: said})


def show_approval(registry: Pages, kept: Approval) -> None:
    """Say who decided what, when and why."""
    baseline = " as a baseline" if kept.evidence_digest == kept.digest else ""
    number = "" if kept.id is None else f" (decision {kept.id})"
    said = (
        f"{kept.decision}{baseline} by {plain(kept.decided_by)} at "
        f"{kept.decided_at:%Y-%m-%d %H:%M} UTC{number}: {plain(kept.reason) or 'no reason given'}"
    )
    _write(registry, kept.model, kept.version, {APPROVAL: said})


def show_rollout(registry: Pages, outcome: JsonDict, *, airflow_url: str | None) -> None:
    """Say how a rollout stands, and link Airflow's page of it; `outcome`: of `Steps.outcome`."""
    rollout_id = str(outcome["rollout_id"])
    address = None
    if airflow_url and outcome["started_by"] == "Airflow":
        address = f"{airflow_url.rstrip('/')}/dags/{DEPLOY_DAG}/runs/{quote(rollout_id, safe='')}"
    how = ENDED.get(outcome["outcome"], "is on its way")
    said = f"{link(plain(rollout_id), address)}, begun {outcome['started_at']}, {how}"
    if outcome["outcome"] == Outcome.ROLLED_BACK:
        said += f": {plain(str(outcome['reason']))}"
    about = f"{ROLLOUT} {outcome['fleet']}"
    _write(registry, outcome["model"], outcome["version"], {about: said})


def airflow_pages(configured: str | None) -> str | None:
    """Return where people read Airflow's pages: what Airflow says of itself, else `configured`.

    The address that Greenlight calls may be one that only containers know.
    """
    return os.environ.get("AIRFLOW__API__BASE_URL") or configured


def _write(registry: Pages, model: str, version: int, changes: Mapping[str, str]) -> None:
    found = registry.get(model, version)
    text = with_links(found.description, changes)
    if text != found.description:
        registry.set_description(model, version=version, description=text)
