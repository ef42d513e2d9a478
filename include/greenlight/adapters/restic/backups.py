"""Snapshots of files by restic, one repository a region."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from greenlight.adapters.restic.output import Ended
from greenlight.adapters.restic.repository import ResticRepository
from greenlight.adapters.restic.saveable import few, require_saveable
from greenlight.backup.ports import Snapshot
from greenlight.core.errors import ConfigError, InputError, UnavailableError
from greenlight.core.types import JsonDict, Value

log = logging.getLogger(__name__)

HOST = "greenlight"
"""The same on every machine: restic reads again what no snapshot of the same host and paths has."""
MARK = "mark="
UNREAD = 3
HEALTHY = "no errors were found"
MOST_FINDINGS = 50


class Sizes(Value):
    """What restic said when it made a snapshot, kept beside it: 0.14 forgets it."""

    files: int
    bytes: int
    stored_bytes: int


class ResticBackups:
    """`backup.ports.FileBackups`. Every read is of the store, never of a cache: it is a proof."""

    def __init__(self, repositories: Sequence[ResticRepository]) -> None:
        self._repositories = {repository.region: repository for repository in repositories}

    def prepare(self, region: str) -> None:
        """Make the repository, or open the one that is there.

        Raises:
            InputError: it has lost its `config`, which a new one would not replace.
        """
        repository = self._repository(region)
        if next(repository.objects("config"), None) is None:
            _clear_half_made(repository)
            _done(repository, repository.call("init", "--repository-version", "2"))
        _done(repository, repository.read("--no-lock", "cat", "config"))

    def back_up(self, region: str, *, root: Path, paths: Sequence[str], mark: str) -> Snapshot:
        """Save `paths`, relative to `root`. Pipes and sockets have no content and are left out."""
        require_saveable(root, paths)
        repository = self._repository(region)
        ended = repository.call(
            "backup", "--json", "--host", HOST, "--tag", f"{MARK}{mark}", "--", *paths, cwd=root
        )
        if ended.code not in (0, UNREAD):
            raise repository.failure(ended)
        made, unread = _summary(ended), _unread(ended)
        if unread or ended.code == UNREAD:
            _done(repository, repository.call("forget", "--", made["snapshot_id"]))
            raise InputError(f"not everything under {root} could be read: {few(unread)}")
        (found,) = _found(repository, made["snapshot_id"])
        sizes = Sizes(
            files=made["total_files_processed"],
            bytes=made["total_bytes_processed"],
            stored_bytes=made["data_added"],
        )
        repository.keep(_sizes_name(found["id"]), sizes.model_dump_json().encode())
        return _snapshot(found, sizes)

    def snapshots(self, region: str) -> tuple[Snapshot, ...]:
        """Return the snapshots that can be read, oldest first. An empty region has none."""
        repository = self._repository(region)
        if next(repository.objects(), None) is None:
            return ()
        made = [_snapshot(found, _sizes(repository, found["id"])) for found in _found(repository)]
        return tuple(sorted(made, key=lambda snapshot: snapshot.at))

    def verify(self, region: str, snapshot: str) -> tuple[str, ...]:
        """Read all data of the repository and return what is wrong, one a line.

        What is there is counted first: for each object that is missing or cut short, reading would
        wait most of a minute.
        """
        repository = self._repository(region)
        findings: list[str] = []
        if next(repository.objects(f"snapshots/{snapshot}"), None) is None:
            findings.append(f"snapshot {snapshot} is gone")
        for depth in ((), ("--read-data",)):
            findings += _damage(repository, repository.read("check", *depth))
            if findings:
                break
        more = len(findings) - MOST_FINDINGS
        return (*findings[:MOST_FINDINGS], *([f"and {more:,} more"] if more > 0 else ()))

    def listing(self, region: str, snapshot: str) -> Mapping[str, int]:
        """Return the sizes of the files of a snapshot by path relative to the root."""
        return _listing(self._repository(region), snapshot)

    def restore(self, region: str, snapshot: str, *, to: Path, folder: str | None = None) -> None:
        """Write the files of a snapshot under `to` as they were under the root.

        restic restores nothing without a word when the snapshot has no such folder.
        """
        repository = self._repository(region)
        only = ("--include", f"/{_literal(folder)}") if folder else ()
        _done(
            repository,
            repository.read("restore", "--target", str(to.absolute()), *only, "--", snapshot),
        )
        if folder and not (to / folder).exists():
            raise InputError(f"region {region}: snapshot {snapshot} has no {folder}")

    def forget(self, region: str, snapshots: Sequence[str]) -> None:
        """Delete snapshots and the data that only they used; those that are gone are fine."""
        if snapshots:
            repository = self._repository(region)
            _done(repository, repository.call("forget", "--prune", "--", *snapshots))
            for snapshot in snapshots:
                repository.remove(_sizes_name(snapshot))

    def _repository(self, region: str) -> ResticRepository:
        if region not in self._repositories:
            known = ", ".join(self._repositories)
            raise ConfigError(f"there is no region {region!r}; there are {known}")
        return self._repositories[region]


def _clear_half_made(repository: ResticRepository) -> None:
    """Remove the key of an `init` that was killed: with it there, a new `config` can't be read.

    Raises:
        InputError: there is more than a key.
    """
    there = list(repository.objects())
    lost = [name for name in there if not name.startswith(("keys/", "locks/"))]
    if lost:
        raise InputError(
            f"region {repository.region}: the repository has lost its config, but has "
            f"{len(lost)} other objects; bring back an older version of restic/config, or move "
            f"what is under restic/ away to begin anew"
        )
    for name in there:
        repository.remove(name)


def _damage(repository: ResticRepository, ended: Ended) -> tuple[str, ...]:
    if ended.code == 0 and HEALTHY in ended.stdout:
        return ()
    if ended.damage:
        repository.reach()
        return ended.damage
    failure = repository.failure(ended)
    if isinstance(failure, InputError):
        return (str(failure),)
    raise failure


def _done(repository: ResticRepository, ended: Ended) -> str:
    if ended.code != 0:
        raise repository.failure(ended)
    return ended.stdout


def _literal(path: str) -> str:
    """Return a pattern of restic's that fits one path."""
    return re.sub(r"([\\*?\[])", r"\\\1", path)


def _unread(ended: Ended) -> list[str]:
    """Return what restic could not read, with why. A path that has gone is no error to it."""
    gone = [line for line in ended.stderr.splitlines() if line.endswith("does not exist, skipping")]
    errors = [line for line in _lines(ended.stderr) if line.get("message_type") == "error"]
    return gone + [f"{line['item']} ({_why(line['error'])})" for line in errors]


def _why(error: Any) -> str:
    if isinstance(error, dict) and isinstance(error.get("Err"), int):
        return os.strerror(error["Err"])
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)


def _summary(ended: Ended) -> JsonDict:
    for line in _lines(ended.stdout):
        if line.get("message_type") == "summary":
            return line
    raise UnavailableError("restic ended well without saying what it saved")


def _lines(text: str) -> Iterator[JsonDict]:
    for line in text.split("\n"):
        if line.startswith("{"):
            yield _parsed(line)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UnavailableError(
            f"restic's answer is no JSON ({error}); a full disk here cuts it short"
        ) from error


def _found(repository: ResticRepository, *ids: str) -> list[JsonDict]:
    """Return the snapshots that can be read. What is wrong with the others, `verify` says."""
    ended = repository.read("--no-lock", "snapshots", "--json", "--", *ids)
    found: list[JsonDict] = _parsed(_done(repository, ended))
    for complaint in ended.complaints:
        log.warning("restic in region %s: %s", repository.region, complaint)
    return found


def _snapshot(found: JsonDict, sizes: Sizes) -> Snapshot:
    marks = [tag for tag in found.get("tags") or () if tag.startswith(MARK)]
    return Snapshot(
        id=found["id"],
        at=datetime.fromisoformat(found["time"]).astimezone(UTC),
        mark=marks[0].removeprefix(MARK) if marks else None,
        files=sizes.files,
        bytes=sizes.bytes,
        stored_bytes=sizes.stored_bytes,
    )


def _listing(repository: ResticRepository, snapshot: str) -> dict[str, int]:
    ended = repository.read("--no-lock", "ls", "--json", "--", snapshot)
    lines = list(_lines(_done(repository, ended)))
    if not lines or lines[0].get("id") != snapshot:  # which is exit code 0 to restic
        raise InputError(f"region {repository.region} has no snapshot {snapshot}")
    files = (line for line in lines[1:] if line["type"] == "file")
    return {file["path"].removeprefix("/"): file["size"] for file in files}


def _sizes(repository: ResticRepository, snapshot: str) -> Sizes:
    """Return what was written down; else count what the snapshot takes by itself."""
    try:
        return Sizes.model_validate_json(repository.object(_sizes_name(snapshot)) or b"")
    except ValidationError:
        files = _listing(repository, snapshot)
        alone = repository.read("--no-lock", "stats", "--json", "--mode", "raw-data", snapshot)
        return Sizes(
            files=len(files),
            bytes=sum(files.values()),
            stored_bytes=_parsed(_done(repository, alone))["total_size"],
        )


def _sizes_name(snapshot: str) -> str:
    return f"sizes/{snapshot}.json"
