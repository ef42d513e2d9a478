"""Give back what a bucket that keeps every version holds of deleted and overwritten objects.

On AWS a lifecycle rule does it. SeaweedFS would need two more servers for that, so the embedded
stores have it done here, when backups are pruned: without it they would only ever grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from greenlight.adapters import s3
from greenlight.backup.backup_file import S3Store

AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of an object. A marker says that the object was deleted; it has no content."""

    key: str
    id: str
    at: datetime
    bytes: int
    is_latest: bool
    is_marker: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What was given back."""

    versions: int
    bytes: int


def remove_old_versions(store: S3Store, *, before: datetime) -> Removed:
    """Delete for good what was deleted or overwritten before an instant. What is locked stays.

    Raises:
        UnavailableError: the store does not answer.
        ConfigError: it refuses the keys.
    """
    client = s3.open_client(store)
    with s3.translated(store):
        old, markers = superseded(_versions(client, store.bucket), before=before)
        stayed = _delete(client, store.bucket, old)
        # a marker that goes while a version is left would bring the object back
        kept = {version.key for version in stayed}
        gone = [marker for marker in markers if marker.key not in kept]
        stayed += _delete(client, store.bucket, gone)
    removed = [version for version in (*old, *gone) if version not in stayed]
    return Removed(versions=len(removed), bytes=sum(version.bytes for version in removed))


def superseded(
    versions: Iterable[Version], *, before: datetime
) -> tuple[list[Version], list[Version]]:
    """Return the versions that something replaced before an instant, and lonely old markers.

    A marker is returned when every version of its object is; it must be deleted after them.
    """
    old: list[Version] = []
    markers: list[Version] = []
    by_key = sorted(versions, key=lambda version: version.key)
    for _, group in groupby(by_key, key=lambda version: version.key):
        newest, *others = sorted(group, key=lambda v: (v.is_latest, v.at), reverse=True)
        successors = [newest, *others]
        gone = [v for v, after in zip(others, successors, strict=False) if after.at < before]
        old += gone
        if newest.is_marker and newest.at < before and len(gone) == len(others):
            markers.append(newest)
    return old, markers


def _versions(client: Any, bucket: str) -> Iterator[Version]:
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for kind in ("Versions", "DeleteMarkers"):
            for found in page.get(kind, ()):
                yield Version(
                    key=found["Key"],
                    id=found["VersionId"],
                    at=found["LastModified"],
                    bytes=found.get("Size", 0),
                    is_latest=found["IsLatest"],
                    is_marker=kind == "DeleteMarkers",
                )


def _delete(client: Any, bucket: str, versions: Sequence[Version]) -> list[Version]:
    """Delete versions and return those that stayed."""
    stayed = []
    for start in range(0, len(versions), AT_ONCE):
        batch = {(v.key, v.id): v for v in versions[start : start + AT_ONCE]}
        objects = [{"Key": key, "VersionId": id_} for key, id_ in batch]
        answer = client.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        refused = answer.get("Errors", ())
        stayed += [batch[found["Key"], found["VersionId"]] for found in refused]
    return stayed
