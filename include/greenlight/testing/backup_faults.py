"""Ways in which a backup goes bad, each planted for real and taken back afterwards.

Every fault says how it ought to be noticed: `notice` returns what was said about it, and none when
nobody said anything. That is the failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greenlight.adapters.s3 import keys_under, open_client
from greenlight.backup.sets import Verdict
from greenlight.core.errors import GreenlightError, InputError

if TYPE_CHECKING:
    from greenlight.testing.backup_worlds import BackupWorld

REGION = "b"
"""Where objects are damaged."""

Plant = Callable[["BackupWorld"], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way. `plant` is a context manager: leaving it takes the damage back."""

    name: str
    plant: Plant
    notice: Callable[[BackupWorld], str | None]


def read_back(world: BackupWorld) -> str | None:
    """Return what reading the newest set back says against it; none: it passes."""
    try:
        (check,) = world.backups().verify(region=REGION, say=_quiet)
    except GreenlightError as error:
        return f"{type(error).__name__}: {error}"
    if check.verdict is Verdict.PASS:
        return None
    return f"{check.verdict}: {'; '.join(check.findings)}"


def next_run(world: BackupWorld) -> str | None:
    """Return what the next run says; none: it calls itself a success."""
    try:
        world.backups().run(by="fault drill", say=_quiet)
    except GreenlightError as error:
        return f"{type(error).__name__}: {error}"
    return None


def changed(prefix: str, change: Callable[[bytes], bytes | None], *, largest: bool = True) -> Plant:
    """Return a fault in the region's store: one object is changed; `None` deletes it."""

    @contextmanager
    def plant(world: BackupWorld) -> Iterator[str]:
        store = world.stores[REGION].s3
        client = open_client(store)
        key = pick(client, store, prefix=prefix, largest=largest)
        before = client.get_object(Bucket=store.bucket, Key=key)["Body"].read()
        after = change(before)
        if after is None:
            client.delete_object(Bucket=store.bucket, Key=key)
        else:
            client.put_object(Bucket=store.bucket, Key=key, Body=after)
        try:
            yield key
        finally:
            client.put_object(Bucket=store.bucket, Key=key, Body=before)

    return plant


def pick(client: Any, store: Any, *, prefix: str, largest: bool) -> str:
    """Return the largest (or the newest) object whose name has `prefix` in it.

    Raises:
        InputError: there is none, so the fault can't be planted.
    """
    head = prefix.split("*")[0]
    tail = prefix.partition("*")[2]
    found = [key for key in keys_under(client, store, prefix=head) if key.endswith(tail)]
    if not found:
        raise InputError(f"there is no object {prefix} in {store.bucket} to damage")
    sizes = {key: client.head_object(Bucket=store.bucket, Key=key) for key in found}
    order = "ContentLength" if largest else "LastModified"
    return max(found, key=lambda key: sizes[key][order])


def flip(body: bytes) -> bytes:
    """Return the bytes with one bit changed in the middle."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def cut(body: bytes) -> bytes:
    """Return the first half."""
    return body[: len(body) // 2]


def gone(body: bytes) -> None:
    """Delete it."""
    del body


@contextmanager
def without_artifact(world: BackupWorld) -> Iterator[str]:
    """Delete a registered version's file at the source, before it is saved.

    The set that is made meanwhile stays damaged, so a whole one is made after it.
    """
    with world.hidden_artifact() as name:
        yield name
    world.backups().run(by="fault matrix", say=_quiet)


@contextmanager
def dead_region(world: BackupWorld) -> Iterator[str]:
    """Take the region away."""
    world.stores[REGION].kill()
    try:
        yield REGION
    finally:
        world.stores[REGION].start()


def other_secret(name: str) -> Plant:
    """Return a fault in which a secret is another one."""

    @contextmanager
    def plant(world: BackupWorld) -> Iterator[str]:
        with world.other_secret(name):
            yield name

    return plant


@contextmanager
def killed_run(world: BackupWorld) -> Iterator[str]:
    """Kill a run in the middle: it must leave no set."""
    yield world.kill_a_run()


def no_new_set(world: BackupWorld) -> str | None:
    """Return that the killed run left no set; none: it left one that counts."""
    if world.sets_since_kill():
        return None
    return "it left no set, and the one before is still the newest"


DATABASES, LOG, FILES = "pgbackrest/backup/", "pgbackrest/archive/*.zst", "restic/data/"
MANIFEST, SNAPSHOT = "sets/*manifest.json", "restic/snapshots/"


def damaged(name: str, objects: str, change: Callable[[bytes], bytes | None]) -> Fault:
    """Return a fault in the region's objects, which reading the set back must notice.

    Of manifests, snapshots and log the newest is taken: what is older than the set may be damaged
    without any harm to it.
    """
    newest = objects in (MANIFEST, SNAPSHOT, LOG)
    return Fault(name=name, plant=changed(objects, change, largest=not newest), notice=read_back)


FAULTS = (
    damaged("flipped byte in the databases", DATABASES, flip),
    damaged("flipped byte in the log", LOG, flip),
    damaged("flipped byte in the files", FILES, flip),
    damaged("flipped byte in the manifest", MANIFEST, flip),
    damaged("truncated databases", DATABASES, cut),
    damaged("truncated log", LOG, cut),
    damaged("truncated files", FILES, cut),
    damaged("truncated manifest", MANIFEST, cut),
    damaged("missing log segment", LOG, gone),
    damaged("missing files", FILES, gone),
    damaged("missing snapshot", SNAPSHOT, gone),
    Fault(name="deleted artifact", plant=without_artifact, notice=next_run),
    *(
        Fault(name=name, plant=other_secret(secret), notice=read_back)
        for name, secret in (
            ("wrong key of the databases", "backup_pgbackrest"),
            ("wrong key of the files", "backup_restic"),
            ("wrong key of the manifests", "backup_signing"),
            ("wrong credentials", "store_secret_key"),
        )
    ),
    Fault(name="dead region, read back", plant=dead_region, notice=read_back),
    Fault(name="dead region, backed up", plant=dead_region, notice=next_run),
    Fault(name="killed half-way", plant=killed_run, notice=no_new_set),
)


def _quiet(text: str) -> None:
    del text
