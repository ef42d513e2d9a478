"""What Greenlight needs from a model registry and from its own database, named after the need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from greenlight.core.digest import Manifest
from greenlight.core.types import JsonDict
from greenlight.registry.approvals import Approval
from greenlight.registry.tags import EXPERIMENT, Tag

Table = Mapping[str, list[str | int | float | None]]
"""Columns by name, all of one length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRef:
    """A version of a registered model, and what it really is."""

    model: str
    version: int
    digest: str

    def to_json(self) -> JsonDict:
        """Return `{"model", "version", "digest"}`."""
        return {"model": self.model, "version": self.version, "digest": self.digest}


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A complete version as the registry knows it."""

    model: str
    version: int
    digest: str
    run_id: str
    created_at: datetime
    tags: Mapping[str, str]
    aliases: tuple[str, ...] = ()
    description: str = ""

    @property
    def ref(self) -> VersionRef:
        """Only the identity."""
        return VersionRef(model=self.model, version=self.version, digest=self.digest)

    def tag(self, tag: Tag) -> str | None:
        """Return one tag's value, or `None`."""
        return self.tags.get(tag)

    def to_json(self) -> JsonDict:
        """Return plain JSON, times in ISO 8601."""
        return {
            **self.ref.to_json(),
            "run_id": self.run_id,
            "created_at": self.created_at.isoformat(),
            "tags": dict(self.tags),
            "aliases": list(self.aliases),
            "description": self.description,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetUse:
    """A data set that a run read; `context` is `calibration` or `evaluation`."""

    name: str
    digest: str
    source: str
    context: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLog:
    """Everything a run leaves behind for readers.

    `key` identifies the work: logging a finished key again returns the run that is there, and
    the residue of a killed attempt is replaced. `artifacts` maps a path inside the run to a local
    file or folder; `tables` maps a path ending in `.json` to columns.
    """

    key: str
    name: str
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    datasets: tuple[DatasetUse, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    experiment: str = EXPERIMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRef:
    """A finished run and the page a person reads it on."""

    run_id: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A model folder that should become a version.

    `manifest` is what `folder` held when it was checked; files that it does not list are not
    registered. `evidence_digest` is part of the identity: the same files judged anew are a new
    version. The run's `key` is set by the registry.
    """

    model: str
    folder: Path
    manifest: Manifest
    run: RunLog
    tags: Mapping[str, str]
    description: str = ""
    evidence_digest: str | None = None

    @property
    def digest(self) -> str:
        """The model digest."""
        return self.manifest.digest


class ModelRegistry(Protocol):
    """Remembers versions of models, by digest. Readers never see an incomplete version.

    Every method raises `UnavailableError` when the registry does not answer.
    """

    def register(self, registration: Registration) -> Version:
        """Make a version, or return the one that holds this digest and evidence already.

        Killed at any point, it leaves nothing that `versions` shows; called again, it finishes.

        Raises:
            InputError: the folder no longer holds what the manifest lists.
        """

    def models(self) -> tuple[str, ...]:
        """Return the names of registered models, sorted."""

    def versions(self, model: str) -> tuple[Version, ...]:
        """Return the complete versions, oldest first; none for an unknown model."""

    def get(self, model: str, version: int) -> Version:
        """Return one complete version.

        Raises:
            InputError: there is none; the message names those that exist.
        """

    def find(
        self, model: str, *, tags: Mapping[str, str], alias: str | None = None
    ) -> Version | None:
        """Return the newest complete version with all these tags (and this alias), or `None`."""

    def set_alias(self, model: str, *, alias: str, version: int) -> None:
        """Point `alias` at a version. Idempotent."""

    def remove_alias(self, model: str, *, alias: str) -> None:
        """Make `alias` point nowhere. Idempotent."""

    def set_tags(self, model: str, *, version: int, tags: Mapping[str, str]) -> None:
        """Set or replace tags of a version. Idempotent."""

    def set_description(self, model: str, *, version: int, description: str) -> None:
        """Replace the description of a version. Idempotent."""

    def download(self, model: str, *, version: int, target: Path) -> Manifest:
        """Write the version's model folder to `target`, which appears only when it is verified.

        Raises:
            InputError: the files are not those of the version's digest.
        """

    def download_artifact(self, model: str, *, version: int, path: str, target: Path) -> Path:
        """Write one file of the version's run into the folder `target` and return its path.

        Raises:
            InputError: the run has no such file.
        """

    def log_run(self, run: RunLog) -> RunRef:
        """Log a run that makes no version, such as a search in which no recipe passed."""

    def version_url(self, model: str, version: int) -> str:
        """Return the address of the page that shows a version."""

    def artifact_link(self, model: str, *, version: int, path: str) -> str:
        """Return a link to a file of the version's run, for its description.

        It is relative where readers may reach the registry by another address than we do.
        """


class ApprovalStore(Protocol):
    """Decisions of people, append-only."""

    def append(self, approval: Approval) -> Approval:
        """Keep a decision and return it with its id."""

    def approvals(
        self, *, model: str | None = None, version: int | None = None
    ) -> tuple[Approval, ...]:
        """Return decisions, oldest first, of one model or version or of all."""
