"""What `pgbackrest info --output=json` says of one repository."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from greenlight.backup.ports import DatabaseCopy
from greenlight.backup.sets import BackupKind
from greenlight.core.errors import UnavailableError

OK, NO_STANZA, NO_COPIES, HALF_MADE = 0, 1, 2, 3
"""What a repository's state is called. Others are failures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedCopy:
    """A copy, and what pgBackRest alone needs to know of it.

    `archive` holds its log, from segment `first` to `last` at least. `has_bad_pages`: pages of the
    cluster did not fit their checksums when it was made.
    """

    copy: DatabaseCopy
    archive: str
    first: str
    last: str
    has_bad_pages: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What there is. `problem`: why it could not be read, in pgBackRest's words."""

    copies: tuple[ListedCopy, ...] = ()
    problem: str | None = None

    def find(self, label: str) -> ListedCopy | None:
        """Return a copy; none: it isn't there."""
        return next((found for found in self.copies if found.copy.label == label), None)


class _State(BaseModel):
    code: int
    message: str


class _Repo(BaseModel):
    status: _State


class _Reference(BaseModel):
    id: int


class _Span(BaseModel):
    start: str
    stop: str


class _Times(BaseModel):
    start: int
    stop: int


class _Stored(BaseModel):
    delta: int


class _Sizes(BaseModel):
    size: int
    repository: _Stored


class _Backup(BaseModel):
    label: str
    type: str
    prior: str | None
    annotation: dict[str, str] = Field(default_factory=dict)
    archive: _Span
    database: _Reference
    error: bool
    info: _Sizes
    timestamp: _Times


class _Archive(BaseModel):
    id: str
    database: _Reference


class _Stanza(BaseModel):
    backup: list[_Backup]
    archive: list[_Archive]
    repo: list[_Repo]


def parse_info(text: str) -> Listing:
    """Read the answer for one stanza in one repository.

    Raises:
        UnavailableError: it is not what pgBackRest 2.45 answers.
    """
    try:
        # a message in it may quote what was read, whatever that is
        stanzas = TypeAdapter(list[_Stanza]).validate_python(json.loads(text, strict=False))
        ((stanza,), (repo,)) = stanzas, stanzas[0].repo
    except (ValidationError, ValueError, IndexError) as error:
        raise UnavailableError(f"`pgbackrest info` answered something unknown: {error}") from error
    if repo.status.code not in (OK, NO_STANZA, NO_COPIES, HALF_MADE):
        return Listing(problem=repo.status.message)
    archives = {archive.database.id: archive.id for archive in stanza.archive}
    priors = {backup.label: backup.prior for backup in stanza.backup}
    return Listing(
        copies=tuple(
            _listed(backup, archive=archives.get(backup.database.id, ""), priors=priors)
            for backup in stanza.backup
        )
    )


def _listed(backup: _Backup, *, archive: str, priors: dict[str, str | None]) -> ListedCopy:
    copy = DatabaseCopy(
        label=backup.label,
        kind=BackupKind.FULL if backup.type == "full" else BackupKind.INCREMENTAL,
        mark=backup.annotation.get("mark"),
        began_at=datetime.fromtimestamp(backup.timestamp.start, UTC),
        ended_at=datetime.fromtimestamp(backup.timestamp.stop, UTC),
        needs=_chain(backup.prior, priors),
        stored_bytes=backup.info.repository.delta,
        database_bytes=backup.info.size,
    )
    return ListedCopy(
        copy=copy,
        archive=archive,
        first=backup.archive.start,
        last=backup.archive.stop,
        has_bad_pages=backup.error,
    )


def _chain(prior: str | None, priors: dict[str, str | None]) -> tuple[str, ...]:
    """Return the copies that an incremental one builds on, oldest first.

    All of them: pgBackRest deletes what builds on a copy with it, also when not a file of it is
    used any more.
    """
    chain: list[str] = []
    while prior is not None:
        chain.append(prior)
        prior = priors.get(prior)
    return tuple(reversed(chain))
