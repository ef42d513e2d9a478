"""Manifests and verifications of backup sets in a region's bucket, signed.

`sets/ID/manifest.json` and `sets/ID/verification.json`. The signature (HMAC-SHA256) tells a set of
ours from one that was changed, cut short, or put there by somebody who can write to the bucket. A
manifest is written once: the store itself refuses a second one, whoever comes first.
"""

from __future__ import annotations

import hmac
import json
import logging
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from pydantic import ValidationError

from greenlight.adapters import s3
from greenlight.backup.backup_file import S3Store
from greenlight.backup.sets import BackupSet, Verification
from greenlight.core.clock import Clock, SystemClock
from greenlight.core.digest import digest_json
from greenlight.core.errors import InputError, RefusedError
from greenlight.core.settings import explain
from greenlight.core.types import JsonDict, Value

log = logging.getLogger(__name__)

PREFIX = "sets/"
MANIFEST, VERIFICATION = "manifest", "verification"
MANIFEST_KEY = re.compile(rf"{PREFIX}(\d{{8}}T\d{{6}}Z)/{MANIFEST}\.json")
NO_LOCK = frozenset(
    {
        "InvalidRequest",  # AWS, when the bucket knows no locks
        "NoSuchObjectLockConfiguration",
        "ObjectLockConfigurationNotFoundError",
        s3.MISSING,
    }
)
Kind = TypeVar("Kind", bound=Value)


class S3SetStore:
    """`backup.ports.SetStore` on a bucket. Deleting hides: a versioned bucket keeps what was."""

    def __init__(
        self,
        store: S3Store,
        *,
        region: str,
        signing_key_file: Path,
        clock: Clock = SystemClock(),  # noqa: B008 - stateless
    ) -> None:
        """Read the keys; nobody is asked yet.

        Raises:
            ConfigError: a key can't be read.
        """
        self._store = store
        self._region = region
        self._key = s3.read_secret(signing_key_file).encode()
        self._clock = clock
        self._client: Any = s3.open_client(store)

    @property
    def region(self) -> str:
        """The region's name."""
        return self._region

    def put(self, backup: BackupSet) -> None:
        """Write the manifest, unless the same one is there."""
        name, body = _name(backup.id, MANIFEST), self._sealed(MANIFEST, backup)
        try:
            s3.put(self._client, self._store, key=name, body=body, IfNoneMatch="*")
        except RefusedError as error:
            if not self._has(backup):
                raise RefusedError(
                    f"region {self._region} already has another set {backup.id}, and a set never "
                    f"changes: make a new one"
                ) from error

    def ids(self) -> tuple[str, ...]:
        """Return the names of all sets, oldest first. A name is a time, so they sort."""
        names = s3.keys_under(self._client, self._store, prefix=PREFIX)
        return tuple(sorted(found[1] for name in names if (found := MANIFEST_KEY.fullmatch(name))))

    def get(self, set_id: str) -> BackupSet:
        """Return a manifest whose signature holds."""
        name = _name(set_id, MANIFEST)
        raw = s3.get(self._client, self._store, key=name)
        if raw is None:
            raise InputError(f"region {self._region} has no set {set_id!r}: no {name}")
        backup = self._opened(MANIFEST, raw, BackupSet, name=name)
        if backup.id != set_id:
            raise InputError(f"{self._where(name)} is the manifest of set {backup.id}")
        return backup

    def put_verification(self, verification: Verification) -> None:
        """Keep a check, unless a newer one is there."""
        kept = self.verification(verification.set_id)
        if kept is None or kept.at <= verification.at:
            body = self._sealed(VERIFICATION, verification)
            name = _name(verification.set_id, VERIFICATION)
            s3.put(self._client, self._store, key=name, body=body)

    def verification(self, set_id: str) -> Verification | None:
        """Return the newest check. One that was tampered with counts as none: it proves nothing."""
        name = _name(set_id, VERIFICATION)
        raw = s3.get(self._client, self._store, key=name)
        if raw is None:
            return None
        try:
            found = self._opened(VERIFICATION, raw, Verification, name=name)
        except InputError as error:
            log.warning("A verification counts as none: %s", error)
            return None
        if (found.set_id, found.region) != (set_id, self._region):
            log.warning(
                "A verification counts as none: %s is of set %s in region %s",
                self._where(name),
                found.set_id,
                found.region,
            )
            return None
        return found

    def locked_until(self, set_id: str) -> datetime | None:
        """Return until when the store keeps the manifest."""
        with s3.translated(self._store):
            try:
                answer = self._client.get_object_retention(
                    Bucket=self._store.bucket, Key=_name(set_id, MANIFEST)
                )
            except ClientError as error:
                if s3.code_of(error) in NO_LOCK:
                    return None
                raise
        until: datetime | None = answer.get("Retention", {}).get("RetainUntilDate")
        return until.astimezone(UTC) if until else None

    def delete(self, set_id: str) -> None:
        """Delete the manifest and the verification.

        A versioned bucket would only hide what is locked, which is no way to keep it: so the lock
        is asked first.
        """
        until = self.locked_until(set_id)
        if until is not None and until > self._clock.now():
            raise RefusedError(
                f"set {set_id} is locked in region {self._region} until "
                f"{until:%Y-%m-%d %H:%M:%S} UTC"
            )
        for kind in (MANIFEST, VERIFICATION):
            s3.delete(self._client, self._store, key=_name(set_id, kind))

    def _has(self, backup: BackupSet) -> bool:
        try:
            return self.get(backup.id).digest == backup.digest
        except InputError:
            return False

    def _sealed(self, kind: str, value: Value) -> bytes:
        content = value.model_dump(mode="json")
        sealed = {"signature": self._signature(kind, content), kind: content}
        return json.dumps(sealed, indent=1, sort_keys=True).encode()

    def _opened(self, kind: str, raw: bytes, model: type[Kind], *, name: str) -> Kind:
        try:
            sealed = json.loads(raw)
            if not isinstance(sealed, dict) or sealed.keys() != {"signature", kind}:
                raise InputError(f"{self._where(name)} is no signed {kind}")
            signature, expected = str(sealed["signature"]), self._signature(kind, sealed[kind])
            is_ours = hmac.compare_digest(signature.encode(), expected.encode())
        except ValueError as error:
            raise InputError(
                f"{self._where(name)} is cut short or damaged ({len(raw)} bytes): {error}"
            ) from error
        if not is_ours:
            raise InputError(
                f"{self._where(name)} was changed after it was signed, or signed with another key"
            )
        try:
            return model.model_validate(sealed[kind])
        except ValidationError as error:
            raise InputError(explain(error, where=self._where(name))) from error

    def _signature(self, kind: str, content: JsonDict) -> str:
        """Sign what it is along with what it says: a check can't pass for a manifest."""
        return hmac.new(self._key, digest_json({kind: content}).encode(), "sha256").hexdigest()

    def _where(self, name: str) -> str:
        return f"{name} in region {self._region}"


def _name(set_id: str, kind: str) -> str:
    return f"{PREFIX}{set_id}/{kind}.json"
