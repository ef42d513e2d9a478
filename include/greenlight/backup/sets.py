"""A backup set: what was saved at one instant, as its manifest says.

A set exists when its manifest does: it is written last, to every region, so a run that is killed
leaves no set. The manifest is also the answer to "what belonged together": the databases' restore
point, and every registered version with the files it had at that point.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AwareDatetime, Field

from greenlight.core.digest import digest_json
from greenlight.core.types import Value

ID_FORMAT = "%Y%m%dT%H%M%SZ"
SetId = Annotated[str, Field(pattern=r"^\d{8}T\d{6}Z$")]
RegionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class BackupKind(StrEnum):
    """Whether the database's files are copied whole, or only what changed."""

    FULL = "full"
    INCREMENTAL = "incremental"


class RestorePoint(Value):
    """One instant in the databases' log. `at` is the server's clock."""

    name: str
    lsn: str
    at: AwareDatetime


class SavedFile(Value):
    """One file; `path` is relative to the home, with forward slashes; `size` in bytes."""

    path: str
    size: Annotated[int, Field(ge=0)]
    sha256: Digest


class SavedVersion(Value):
    """A registered version at the restore point, and the files of its model folder."""

    model: str
    version: int
    digest: Digest
    run_id: str
    aliases: tuple[str, ...] = ()
    files: tuple[SavedFile, ...]


class SavedSource(Value):
    """One of the declared places, and how much was in it."""

    name: str
    path: str
    files: int
    bytes: int


class RegionCopy(Value):
    """Where one region keeps the set. Sizes in bytes as stored there, for this set alone.

    `kind` is what was really made: the first copy in a region is full whatever was asked for.
    """

    region: RegionName
    database_label: str
    kind: BackupKind
    snapshot: str
    database_bytes: int
    files_bytes: int


class Recorded(Value):
    """What a version generated, greedily, when it was saved: a restored one must say the same.

    `tokens` are compared; `text` is them for people.
    """

    model: str
    version: int
    digest: Digest
    prompt: str
    tokens: tuple[int, ...]
    text: str = ""


class BackupSet(Value):
    """The manifest. `rows`: rows by `database.schema.table` at the point.

    `excluded`: names of the secrets that were left out; without them a restored home asks for new
    ones, and what they encrypted stays closed. `problems`: what was wrong at the source when it was
    saved, such as a version without its files. A set with problems never verifies.
    """

    id: SetId
    began_at: AwareDatetime
    ended_at: AwareDatetime
    point: RestorePoint
    versions: tuple[SavedVersion, ...]
    rows: dict[str, int]
    sources: tuple[SavedSource, ...]
    excluded: tuple[str, ...]
    copies: tuple[RegionCopy, ...]
    recorded: Recorded | None
    tools: dict[str, str]
    problems: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return digest_json(self.model_dump(mode="json"))

    def copy_in(self, region: str) -> RegionCopy | None:
        """Return where a region keeps the set; none: it has no part of it."""
        return next((copy for copy in self.copies if copy.region == region), None)


class Verdict(StrEnum):
    """What checking a set in one region said."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    """It could not be checked: the region was away."""


class Verification(Value):
    """One check of a set where it is kept. `findings` is empty when it passed."""

    set_id: SetId
    manifest_digest: Digest
    region: RegionName
    at: AwareDatetime
    verdict: Verdict
    findings: tuple[str, ...] = ()


def set_id(at: datetime) -> str:
    """Return the name of a set begun at an instant (UTC)."""
    return at.strftime(ID_FORMAT)
