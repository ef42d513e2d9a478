"""One backup run: a consistent set in every region, each read back where it is.

The order makes the set consistent. The database's copies come first, then one restore point; with
the registry locked for that instant, the versions it holds are listed. An artifact is written
before its version appears and is never changed, so a snapshot of the files taken *after* the point
holds everything that was registered at it. The manifest is written last: a run that is killed
leaves no set, and what it did copy goes with the next prune.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from greenlight.backup.ports import CatalogueVersion, DatabaseCopy, Snapshot
from greenlight.backup.sets import (
    BackupKind,
    BackupSet,
    RegionCopy,
    SavedSource,
    SavedVersion,
    Verdict,
    Verification,
)
from greenlight.core.errors import (
    ConfigError,
    GreenlightError,
    RefusedError,
    ResourceError,
    UnavailableError,
)

if TYPE_CHECKING:
    from greenlight.entrypoints.backup_tools import BackupTools

log = logging.getLogger(__name__)

ARCHIVED_WITHIN_S = 300.0
MOST_SKEW_S = 60.0
REGION_FAILS = (UnavailableError, ResourceError, ConfigError)
"""Away, full, or not letting us in."""

MOST_FINDINGS = 10

Say = Callable[[str], None]
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would do."""

    kind: BackupKind
    why: str
    regions: tuple[str, ...]
    sources: tuple[SavedSource, ...]
    excluded: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return it as a person reads it."""
        return [
            f"copy the databases to {' and '.join(self.regions)}: {self.kind} ({self.why})",
            "make a restore point, and list the registered versions at that very instant",
            *(f"save {s.name}: {s.path}, {s.files:,} files, {_mb(s.bytes)}" for s in self.sources),
            f"leave out {len(self.excluded)} secrets: {', '.join(self.excluded) or 'none'}",
            "write the signed manifest to every region, then read everything back there",
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What became of a run. `failed`: what kept regions from having the set."""

    backup: BackupSet
    verifications: tuple[Verification, ...]
    failed: tuple[GreenlightError, ...]


@dataclass(slots=True, kw_only=True)
class Run:
    """One run. `check` raises when the lease is lost."""

    tools: BackupTools
    name: str
    began: datetime
    plan: Plan
    check: Callable[[], None]
    say: Say
    failed: list[GreenlightError] = field(default_factory=list)

    def make(self) -> Ended:
        """Make the set, and verify it.

        Raises:
            RefusedError: this machine's clock is not the database server's.
            GreenlightError: no region took it; the class is that of the first region's failure.
        """
        tools = self.tools
        require_same_time(tools.clock.now(), tools.databases.mark_time().at)
        recorded = tools.record_tokens()
        tools.database_backups.prepare()
        databases = self._in_each(self.plan.regions, self._copy_databases)
        if not databases:
            raise none_took_it(self.failed)
        tools.databases.mark_time()
        catalogue = tools.databases.freeze(f"greenlight-{self.name}")
        self.say(f"restore point at {catalogue.point.at:%H:%M:%S} UTC")
        versions, problems = self._versions(catalogue.versions)
        snapshots = self._in_each(tuple(databases), self._save_files)
        tools.databases.mark_time()
        self._wait_for_the_log()
        if not snapshots:
            raise none_took_it(self.failed)
        backup = BackupSet(
            id=self.name,
            began_at=self.began,
            ended_at=tools.clock.now(),
            point=catalogue.point,
            versions=versions,
            rows=dict(catalogue.rows),
            sources=self.plan.sources,
            excluded=self.plan.excluded,
            copies=tuple(
                region_copy(region, databases[region], snapshot)
                for region, snapshot in snapshots.items()
            ),
            recorded=recorded,
            tools=tools.tool_versions(),
            problems=problems,
        )
        self.check()
        written = self._in_each(tuple(snapshots), lambda region: tools.store(region).put(backup))
        checks = tuple(verify(tools, backup, region, say=self.say) for region in written)
        return Ended(backup=backup, verifications=checks, failed=tuple(self.failed))

    def _wait_for_the_log(self) -> None:
        """Return when the log up to here is in every region that answers.

        The server calls a segment archived when every region has it. While one is away, each of
        the others is asked by itself.
        """
        if self.failed:
            self.tools.database_backups.prepare()
        else:
            self.tools.databases.wait_archived(at_most_s=ARCHIVED_WITHIN_S)

    def _copy_databases(self, region: str) -> DatabaseCopy:
        began = self.tools.clock.monotonic()
        copy = self.tools.database_backups.back_up(region, self.plan.kind, mark=self.name)
        seconds = self.tools.clock.monotonic() - began
        self.say(
            f"region {region}: databases copied ({copy.kind}, {_mb(copy.stored_bytes)} stored, "
            f"{seconds:.1f} s)"
        )
        return copy

    def _save_files(self, region: str) -> Snapshot:
        began = self.tools.clock.monotonic()
        self.tools.files.prepare(region)
        snapshot = self.tools.files.back_up(
            region,
            root=self.tools.home,
            paths=[source.path for source in self.plan.sources],
            mark=self.name,
        )
        seconds = self.tools.clock.monotonic() - began
        self.say(
            f"region {region}: {snapshot.files:,} files saved ({_mb(snapshot.stored_bytes)} "
            f"stored, {seconds:.1f} s)"
        )
        return snapshot

    def _versions(
        self, versions: Sequence[CatalogueVersion]
    ) -> tuple[tuple[SavedVersion, ...], tuple[str, ...]]:
        from greenlight.adapters.saved_files import VersionFiles

        files = VersionFiles(self.tools.home)
        found = [files.of(version) for version in versions]
        files.keep()
        problems = tuple(problem for _, problem in found if problem)
        for problem in problems:
            log.error("%s: %s", self.name, problem)
        return tuple(saved for saved, _ in found), problems

    def _in_each(self, regions: Sequence[str], act: Callable[[str], Made]) -> dict[str, Made]:
        """Do it in every region; one that fails doesn't keep the others from it."""
        made = {}
        for region in regions:
            self.check()
            try:
                made[region] = act(region)
            except REGION_FAILS as error:
                log.error("region %s: %s", region, error)
                self.failed.append(error)
        return made


def require_same_time(here: datetime, server: datetime) -> None:
    """Return when this machine's clock and the database server's say the same.

    Sets are named by the one and restored to by the other.

    Raises:
        RefusedError: they don't. Nothing was written.
    """
    ahead = (here - server).total_seconds()
    if abs(ahead) > MOST_SKEW_S:
        raise RefusedError(
            f"this machine's clock is {abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} "
            f"the database server's, and {MOST_SKEW_S:g} s are allowed: a set would have a name "
            "that its restore point belies; set the clocks right"
        )


def none_took_it(failed: Sequence[GreenlightError]) -> GreenlightError:
    """Return the error of a run that no region took; a retry helps when it helps the first."""
    return type(failed[0])(f"no region took the set: {'; '.join(map(str, failed))}")


def verify(tools: BackupTools, backup: BackupSet, region: str, *, say: Say) -> Verification:
    """Read a set back where it is, and keep the verdict there."""
    verdict, findings = Verdict.PASS, backup.problems
    began = tools.clock.monotonic()
    try:
        findings += find_damage(tools, backup, region)
        verdict = Verdict.FAIL if findings else Verdict.PASS
    except REGION_FAILS as error:
        verdict, findings = Verdict.INCONCLUSIVE, (*findings, str(error))
    checked = Verification(
        set_id=backup.id,
        manifest_digest=backup.digest,
        region=region,
        at=tools.clock.now(),
        verdict=verdict,
        findings=findings,
    )
    if verdict is not Verdict.INCONCLUSIVE:
        tools.store(region).put_verification(checked)
    seconds = tools.clock.monotonic() - began
    say(f"region {region}: read back: {verdict} ({seconds:.1f} s)")
    for finding in findings:
        say(f"region {region}: {finding}")
    return checked


def find_damage(tools: BackupTools, backup: BackupSet, region: str) -> tuple[str, ...]:
    """Return what is wrong with a set in a region.

    Raises:
        UnavailableError: the region does not answer.
    """
    copy = backup.copy_in(region)
    if copy is None:
        return (f"the manifest names no copy in region {region}",)
    findings = [
        *few(tools.database_backups.verify(region, copy.database_label, until=backup.point.lsn)),
        *few(tools.files.verify(region, copy.snapshot)),
    ]
    if not findings:
        findings += few(missing_files(backup, tools.files.listing(region, copy.snapshot)))
    return tuple(findings)


def few(findings: Sequence[str]) -> tuple[str, ...]:
    """Return the first findings and how many more there are: one cut file may damage thousands."""
    more = len(findings) - MOST_FINDINGS
    return (*findings[:MOST_FINDINGS], *([f"and {more:,} more"] if more > 0 else ()))


def missing_files(backup: BackupSet, listing: Mapping[str, int]) -> tuple[str, ...]:
    """Return the versions' files that a snapshot lacks, or has in another size."""
    return tuple(
        f"{version.model} version {version.version}: {file.path} "
        + (
            f"has {listing[file.path]:,} bytes, not {file.size:,}"
            if file.path in listing
            else "is missing"
        )
        for version in backup.versions
        for file in version.files
        if listing.get(file.path) != file.size
    )


def region_copy(region: str, databases: DatabaseCopy, snapshot: Snapshot) -> RegionCopy:
    """Return what the manifest says of one region."""
    return RegionCopy(
        region=region,
        database_label=databases.label,
        kind=databases.kind,
        snapshot=snapshot.id,
        database_bytes=databases.stored_bytes,
        files_bytes=snapshot.stored_bytes,
    )


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
