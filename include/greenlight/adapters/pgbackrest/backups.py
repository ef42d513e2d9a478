"""Copies of a cluster and its log with pgBackRest: made, listed, verified, restored, deleted."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from greenlight.adapters import s3
from greenlight.adapters.pgbackrest import log_listing, verify
from greenlight.adapters.pgbackrest.config import FOLDER, PATH, STANZA, Repository
from greenlight.adapters.pgbackrest.failures import failure_of
from greenlight.adapters.pgbackrest.info import ListedCopy, Listing, parse_info
from greenlight.adapters.pgbackrest.program import Program
from greenlight.adapters.pgbackrest.segments import holding, timeline
from greenlight.adapters.stack import postgres
from greenlight.backup.ports import DatabaseCopy
from greenlight.backup.sets import BackupKind
from greenlight.core.errors import (
    ConfigError,
    InputError,
    RefusedError,
    ResourceError,
    UnavailableError,
)
from greenlight.core.files import write_json

log = logging.getLogger(__name__)

ARCHIVE = "archive.conf"
"""The configuration with all regions, by which the server pushes its log."""
WRITABLE = f"{PATH.strip('/')}/writable"
"""An object that is written to see whether the store takes anything."""


class PgBackRest:
    """`backup.ports.DatabaseBackups` with pgBackRest. Not for two threads at once."""

    def __init__(self, program: Program, repositories: Sequence[Repository]) -> None:
        """`program` runs for the cluster that is copied."""
        self._program = program
        self._repositories = {repository.region: repository for repository in repositories}

    @property
    def is_archiving(self) -> bool:
        """Whether the cluster's log was ever made to be pushed."""
        return (self._program.cluster.home / FOLDER / ARCHIVE).exists()

    def archive_command(self) -> str:
        """Configure the pushing of the log, and return the server's command for it.

        The server keeps a segment until every region has it: while one is away the others go on
        getting the log, and `pg_wal` grows. No segment is ever dropped.

        Raises:
            ConfigError: a secret or a certificate can't be read.
        """
        repositories = list(self._repositories.values())
        with postgres.opened(self._program.cluster) as (home, _):
            config = self._program.configure(ARCHIVE, repositories, home=home)
        return f"pgbackrest --config={config} --stanza={STANZA} archive-push %p"

    def make_repository(self, region: str, *, server_runs: bool) -> None:
        """Make a region's repository, without which nothing can be pushed there. Idempotent.

        Raises:
            RefusedError: it holds another cluster's copies.
        """
        repository = self._reached(region)
        online = "--online" if server_runs else "--no-online"
        self._program.run(repository, "stanza-create", online)

    def prepare(self) -> None:
        """Make the repositories, and prove that the log arrives in each.

        A region that is away or full, or doesn't let us in, is left out: whoever writes there will
        be told.

        Raises:
            UnavailableError: the log did not arrive.
            RefusedError: a repository holds another cluster's copies.
        """
        self.archive_command()
        for region in self._repositories:
            try:
                repository = self._writable(region)
                self.make_repository(region, server_runs=True)
            except (UnavailableError, ResourceError, ConfigError) as error:
                log.warning("region %s is left out: %s", region, error)
                continue
            self._program.run(repository, "check")

    def back_up(self, region: str, kind: BackupKind, *, mark: str) -> DatabaseCopy:
        """Copy the running cluster. Without a full copy to build on it becomes one.

        What a run left that was killed is used again where it fits, and removed where not.

        Raises:
            RefusedError: another copy is being made.
            ResourceError: the disk or the store is full.
        """
        repository = self._writable(region)
        type_ = "full" if kind is BackupKind.FULL else "incr"
        self._program.run(repository, "backup", f"--type={type_}", f"--annotation=mark={mark}")
        made = [found.copy for found in self._listing(repository).copies if found.copy.mark == mark]
        if not made:
            raise UnavailableError(f"region {region}: the copy {mark} was made, but isn't listed")
        return made[-1]

    def copies(self, region: str) -> tuple[DatabaseCopy, ...]:
        """Return the complete copies, oldest first. A region without a repository has none."""
        return tuple(found.copy for found in self._listing(self._reached(region)).copies)

    def verify(self, region: str, label: str, *, until: str | None = None) -> tuple[str, ...]:
        """Return what is wrong with a copy, those it needs, and the log from it on to the newest.

        `until`: a place that the log must reach. Without it nobody can tell that the newest
        segment is gone. Everything in the repository is read, so it takes as long for one copy as
        for all.

        Raises:
            ConfigError: the passphrase isn't the repository's.
        """
        repository = self._reached(region)
        wanted = self._listing(repository).find(label)
        if wanted is None:
            return (f"copy {label} is not in the repository",)
        output = self._program.run(repository, "verify", *verify.ARGUMENTS)
        report = verify.parse_verify(output.answer, output.log)
        reached = until and holding(until, number=timeline(wanted.last))
        pages = "some pages did not fit their checksums when it was made"
        return (
            *((f"copy {label}: {pages}",) if wanted.has_bad_pages else ()),
            *report.findings(wanted, until=reached),
        )

    def restore(self, region: str, label: str, *, to: Path, at: datetime | None) -> None:
        """Write the cluster into `to`, a folder as `stack.postgres` serves it.

        It recovers at its first start, by a configuration of its own. Recovery that can't reach
        `at` fails. Without `at` it would end silently at the first segment that it can't read, so
        then everything is verified first.

        Raises:
            InputError: the copy, or the log it needs, is damaged or missing.
            RefusedError: `to` holds something.
        """
        if to.exists() and any(to.iterdir()):
            raise RefusedError(f"{to} is not empty: a cluster is restored into a new folder")
        repository = self._reached(region)
        wanted = self._listing(repository).find(label)
        if wanted is None:
            raise InputError(f"region {region} has no copy {label}")
        archived = self._archived_log(repository, wanted)
        number = archived.timeline_at(at, first=wanted.first)
        missing = archived.lacks(first=wanted.first, last=wanted.last, at=at, number=number)
        if missing:
            raise InputError(
                f"region {region}: the log after copy {label} lacks {', '.join(map(str, missing))}"
            )
        if at is None and (findings := self.verify(region, label)):
            raise InputError(f"region {region}: {'; '.join(findings)}")
        self._write(repository, wanted, to=to, at=at, number=number)

    def expire(self, region: str, label: str) -> None:
        """Delete a copy, those that need it, and the log before the oldest full copy that stays.

        Raises:
            RefusedError: no full copy would stay.
        """
        repository = self._reached(region)
        copies = [found.copy for found in self._listing(repository).copies]
        if label not in {copy.label for copy in copies}:
            return
        stay = [copy for copy in copies if copy.label != label and label not in copy.needs]
        full = sum(copy.kind is BackupKind.FULL for copy in stay)
        if not full:
            raise RefusedError(f"region {region}: {label} is the last full copy, so it stays")
        self._program.run(repository, "expire", f"--set={label}", f"--repo1-retention-full={full}")

    def _write(
        self,
        repository: Repository,
        wanted: ListedCopy,
        *,
        to: Path,
        at: datetime | None,
        number: int,
    ) -> None:
        cluster = replace(self._program.cluster, home=to)
        postgres.own_folder(cluster)
        label = wanted.copy.label
        write_json(
            to / postgres.RESTORED,
            {"region": repository.region, "copy": label, "at": at.isoformat() if at else None},
        )
        arguments = [f"--set={label}", "--archive-mode=off", f"--target-timeline={number}"]
        if at is not None:
            second = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")
            arguments += ["--type=time", f"--target={second}", "--target-action=promote"]
        try:
            self._program.elsewhere(cluster).run(repository, "restore", *arguments)
        except BaseException:
            shutil.rmtree(to, ignore_errors=True)
            raise

    def _archived_log(self, repository: Repository, wanted: ListedCopy) -> log_listing.ArchivedLog:
        folder = f"archive/{STANZA}/{wanted.archive}"
        output = self._program.run(repository, "repo-ls", folder, *log_listing.ARGUMENTS)
        return log_listing.parse_log_listing(output.answer)

    def _listing(self, repository: Repository) -> Listing:
        output = self._program.run(repository, "info", "--output=json")
        listing = parse_info(output.answer)
        if listing.problem is not None:
            raise failure_of(
                listing.problem,
                doing=f"region {repository.region}: copies",
                passphrase=repository.passphrase_file,
            )
        return listing

    def _writable(self, region: str) -> Repository:
        """Return a region's repository once its store has taken something.

        With a full one pgBackRest waits for the log to arrive, and says that it didn't.
        """
        repository = self._reached(region)
        client = s3.open_client(repository.store)
        s3.put(client, repository.store, key=WRITABLE, body=b"yes\n")
        return repository

    def _reached(self, region: str) -> Repository:
        """Return a region's repository once its store has answered.

        pgBackRest itself asks a store that is away for minutes.
        """
        repository = self._repositories.get(region)
        if repository is None:
            known = ", ".join(self._repositories)
            raise ConfigError(f"there is no region {region!r}; there are {known}")
        client = s3.open_client(repository.store)
        s3.reach(client, repository.store, prefix=f"{PATH.strip('/')}/")
        return repository
