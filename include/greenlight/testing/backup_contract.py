"""What every store of sets and every repository must do.

Subclass a suite and give it its fixtures: `store` (and `locked_store`, which locks for a day);
`files`, with a repository in `REGION`, and `corrupt`, which breaks that repository's data;
`databases`, with a repository in `REGION` that is still empty.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from greenlight.backup.ports import DatabaseBackups, FileBackups, SetStore
from greenlight.backup.sets import (
    BackupKind,
    BackupSet,
    RegionCopy,
    RestorePoint,
    SavedFile,
    SavedVersion,
    Verdict,
    Verification,
    set_id,
)
from greenlight.core.errors import ConfigError, InputError, RefusedError

REGION = "a"
NIGHT = datetime(2026, 11, 24, 2, 14, 7, tzinfo=UTC)
NOBODY = "0" * 64


def a_set(day: int = 0, *, lsn: str = "0/3000060") -> BackupSet:
    """Return the set of some days after the first night."""
    at = NIGHT + timedelta(days=day)
    model = SavedFile(path="mlflow/artifacts/1/m/größe 1.bin", size=12, sha256="a" * 64)
    return BackupSet(
        id=set_id(at), began_at=at, ended_at=at + timedelta(minutes=3),
        point=RestorePoint(name=f"greenlight-{set_id(at)}", lsn=lsn, at=at),
        versions=(SavedVersion(model="m", version=1, digest="d" * 64, run_id="r", files=(model,)),),
        rows={"mlflow.public.runs": 3}, sources=(), excluded=("postgres",),
        copies=(
            RegionCopy(
                region=REGION, database_label="20261124-021407F", kind=BackupKind.FULL,
                snapshot="e" * 64, database_bytes=100, files_bytes=10,
            ),
        ),
        recorded=None, tools={"restic": "0.14.0"},
    )  # fmt: skip


def a_check(backup: BackupSet, *, minute: int = 0, verdict: Verdict = Verdict.PASS) -> Verification:
    """Return what checking a set said, some minutes after it was made."""
    return Verification(
        set_id=backup.id, manifest_digest=backup.digest, region=REGION,
        at=backup.ended_at + timedelta(minutes=minute), verdict=verdict,
        findings=() if verdict is Verdict.PASS else ("a pack is gone",),
    )  # fmt: skip


class SetStoreContract:
    """A manifest is written once and read back as it was, or not at all. Each test has its days."""

    def test_a_manifest_is_read_back_as_it_was_written(self, store: SetStore) -> None:
        """To the last digit."""
        store.put(a_set(1))
        assert store.get(a_set(1).id) == a_set(1)
        assert store.region == REGION

    def test_writing_the_same_manifest_again_is_fine(self, store: SetStore) -> None:
        """A retry may not know that the first attempt arrived."""
        store.put(a_set(2))
        store.put(a_set(2))
        assert store.get(a_set(2).id) == a_set(2)

    def test_another_set_of_the_same_name_is_refused(self, store: SetStore) -> None:
        """The first one stays."""
        store.put(a_set(3))
        with pytest.raises(RefusedError, match=a_set(3).id):
            store.put(a_set(3, lsn="0/9"))
        assert store.get(a_set(3).id) == a_set(3)

    def test_names_come_oldest_first(self, store: SetStore) -> None:
        """Whatever the order of writing."""
        days = (12, 10, 11)
        for day in days:
            store.put(a_set(day))
        wanted = [a_set(day).id for day in sorted(days)]
        assert [name for name in store.ids() if name in wanted] == wanted

    def test_a_set_that_is_not_there_is_named(self, store: SetStore) -> None:
        """A check of it is none, which is no failure."""
        name = a_set(900).id
        with pytest.raises(InputError, match=name):
            store.get(name)
        assert store.verification(name) is None
        assert store.locked_until(name) is None
        assert name not in store.ids()

    def test_the_newest_check_counts(self, store: SetStore) -> None:
        """One that arrives late changes nothing."""
        store.put(a_set(20))
        assert store.verification(a_set(20).id) is None
        for minute, verdict in ((1, Verdict.PASS), (3, Verdict.FAIL), (2, Verdict.PASS)):
            store.put_verification(a_check(a_set(20), minute=minute, verdict=verdict))
        assert store.verification(a_set(20).id) == a_check(
            a_set(20), minute=3, verdict=Verdict.FAIL
        )
        assert store.get(a_set(20).id) == a_set(20)

    def test_a_deleted_set_is_gone_with_its_check(self, store: SetStore) -> None:
        """Deleting twice is fine, and its name can be used again."""
        store.put(a_set(30))
        store.put_verification(a_check(a_set(30)))
        assert store.locked_until(a_set(30).id) is None
        store.delete(a_set(30).id)
        store.delete(a_set(30).id)
        assert a_set(30).id not in store.ids()
        assert store.verification(a_set(30).id) is None
        store.put(a_set(30, lsn="0/9"))
        assert store.get(a_set(30).id).point.lsn == "0/9"

    def test_a_locked_set_stays(self, locked_store: SetStore) -> None:
        """Until a time that can be asked."""
        locked_store.put(a_set(40))
        until = locked_store.locked_until(a_set(40).id)
        assert until is not None
        assert timedelta(hours=23) < until - datetime.now(UTC) < timedelta(hours=25)
        with pytest.raises(RefusedError, match=f"{until:%Y-%m-%d}"):
            locked_store.delete(a_set(40).id)
        assert locked_store.get(a_set(40).id) == a_set(40)


def a_home(root: Path) -> Path:
    """Make a home of a few files, one of which is not to be saved."""
    home = root / "the home"
    for path, content in (
        ("models/m 1/größe.bin", b"w" * 70_000),
        ("models/m 1/empty", b""),
        ("config.yaml", b"a: 1\n"),
        ("secrets/key", b"not to be saved"),
    ):
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_bytes(content)
    (home / "config.yaml").chmod(0o640)
    return home


SAVED = ("models", "config.yaml")


class FileBackupsContract:
    """What was saved comes back as it was, or it is said that it doesn't."""

    def test_what_is_saved_comes_back(self, files: FileBackups, tmp_path: Path) -> None:
        """Content and modes, under another root; what was not asked for isn't there."""
        home = a_home(tmp_path)
        made = files.back_up(REGION, root=home, paths=SAVED, mark="20261124T021407Z")
        assert (made.mark, made.files, made.bytes) == ("20261124T021407Z", 3, 70_005)
        assert made.stored_bytes > 0
        assert made.at.tzinfo is not None
        assert made in files.snapshots(REGION)
        assert files.listing(REGION, made.id) == {
            "models/m 1/größe.bin": 70_000,
            "models/m 1/empty": 0,
            "config.yaml": 5,
        }
        target = tmp_path / "another place"
        files.restore(REGION, made.id, to=target)
        for path in files.listing(REGION, made.id):
            assert (target / path).read_bytes() == (home / path).read_bytes()
            assert (target / path).stat().st_mode == (home / path).stat().st_mode
        assert not (target / "secrets").exists()

    def test_one_folder_comes_back_alone(self, files: FileBackups, tmp_path: Path) -> None:
        """Whatever is in its name; one that the snapshot hasn't is no empty success."""
        home = a_home(tmp_path)
        for name in ("m [1]*", "m 1*"):
            (home / "models" / name).mkdir()
            (home / "models" / name / "weights").write_bytes(b"w")
        made = files.back_up(REGION, root=home, paths=SAVED, mark="m")
        target = tmp_path / "to"
        files.restore(REGION, made.id, to=target, folder="models/m [1]*")
        found = [path for path in target.rglob("*") if path.is_file()]
        assert found == [target / "models/m [1]*/weights"]
        with pytest.raises(InputError, match="models/m 2"):
            files.restore(REGION, made.id, to=target, folder="models/m 2")

    def test_what_is_there_already_is_not_stored_again(
        self, files: FileBackups, tmp_path: Path
    ) -> None:
        """And the snapshots come oldest first."""
        home = a_home(tmp_path)
        (home / "models/more").write_bytes(bytes(range(256)) * 400)
        first = files.back_up(REGION, root=home, paths=SAVED, mark="first")
        second = files.back_up(REGION, root=home, paths=SAVED, mark="second")
        assert second.stored_bytes < first.stored_bytes / 10
        assert second.files == first.files
        found = [made for made in files.snapshots(REGION) if made in (first, second)]
        assert found == [first, second]

    def test_a_path_that_is_not_there_is_named(self, files: FileBackups, tmp_path: Path) -> None:
        """And no snapshot counts."""
        before = files.snapshots(REGION)
        with pytest.raises(InputError, match="nothere"):
            files.back_up(REGION, root=a_home(tmp_path), paths=(*SAVED, "nothere"), mark="m")
        assert files.snapshots(REGION) == before

    def test_a_link_to_what_is_not_saved_is_named(self, files: FileBackups, tmp_path: Path) -> None:
        """The snapshot would have had the link and not the file."""
        home = a_home(tmp_path)
        (home / "models/far").symlink_to(home / "secrets")
        (home / "models/near").symlink_to("m 1/empty")
        with pytest.raises(InputError, match=r"models/far leads to .*secrets") as refusal:
            files.back_up(REGION, root=home, paths=SAVED, mark="m")
        assert "near" not in str(refusal.value)

    def test_a_healthy_snapshot_has_no_findings_and_one_that_is_gone_has(
        self, files: FileBackups, tmp_path: Path
    ) -> None:
        """Forgetting leaves the others as they are; what is gone is forgotten already."""
        home = a_home(tmp_path)
        kept = files.back_up(REGION, root=home, paths=SAVED, mark="kept")
        (home / "models/late").write_bytes(b"late" * 9_000)
        gone = files.back_up(REGION, root=home, paths=SAVED, mark="gone")
        assert files.verify(REGION, gone.id) == ()
        files.forget(REGION, [gone.id])
        files.forget(REGION, [gone.id])
        files.forget(REGION, [])
        assert [made for made in files.snapshots(REGION) if made in (kept, gone)] == [kept]
        assert gone.id in "".join(files.verify(REGION, gone.id))
        assert files.verify(REGION, kept.id) == ()
        files.restore(REGION, kept.id, to=tmp_path / "to")
        assert (tmp_path / "to/config.yaml").read_bytes() == b"a: 1\n"

    def test_a_snapshot_that_never_was_is_an_input_error(
        self, files: FileBackups, tmp_path: Path
    ) -> None:
        """Whatever is asked of it."""
        with pytest.raises(InputError, match=NOBODY):
            files.listing(REGION, NOBODY)
        with pytest.raises(InputError, match=NOBODY):
            files.restore(REGION, NOBODY, to=tmp_path / "to")

    def test_damage_is_found_and_never_restored(
        self, files: FileBackups, corrupt: Callable[[], None], tmp_path: Path
    ) -> None:
        """A check that says nothing would be worth nothing."""
        made = files.back_up(REGION, root=a_home(tmp_path), paths=SAVED, mark="m")
        assert files.verify(REGION, made.id) == ()
        corrupt()
        assert files.verify(REGION, made.id)
        with pytest.raises(InputError):
            files.restore(REGION, made.id, to=tmp_path / "to")

    def test_preparing_again_keeps_what_is_there(self, files: FileBackups) -> None:
        """A region that nobody configured is a setting to change."""
        before = files.snapshots(REGION)
        files.prepare(REGION)
        assert files.snapshots(REGION) == before
        with pytest.raises(ConfigError, match="nowhere"):
            files.prepare("nowhere")


class DatabaseBackupsContract:
    """Copies build on each other, and go with what they need."""

    def test_copies_build_on_a_full_one(self, databases: DatabaseBackups, tmp_path: Path) -> None:
        """The first is full whatever was asked for; what needs a copy goes with it."""
        databases.prepare()
        assert databases.copies(REGION) == ()
        full = databases.back_up(REGION, BackupKind.INCREMENTAL, mark="first")
        more = databases.back_up(REGION, BackupKind.INCREMENTAL, mark="second")
        assert (full.kind, full.needs, full.mark) == (BackupKind.FULL, (), "first")
        assert (more.kind, more.needs) == (BackupKind.INCREMENTAL, (full.label,))
        assert databases.copies(REGION) == (full, more)
        assert databases.verify(REGION, more.label) == ()
        (tmp_path / "taken").write_text("by somebody")
        with pytest.raises(RefusedError):
            databases.restore(REGION, more.label, to=tmp_path, at=None)
        newer = databases.back_up(REGION, BackupKind.FULL, mark="third")
        databases.expire(REGION, full.label)
        assert databases.copies(REGION) == (newer,)
        assert databases.verify(REGION, more.label)
