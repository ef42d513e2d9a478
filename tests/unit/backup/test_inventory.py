from datetime import timedelta

import pytest

from greenlight.backup.inventory import chain_of, read_inventory, stored_set
from greenlight.backup.sets import (
    BackupKind,
    BackupSet,
    RegionCopy,
    RestorePoint,
    Verdict,
    Verification,
    set_id,
)
from greenlight.core.errors import InputError
from greenlight.testing.region_worlds import START, a_copy, a_snapshot


def a_set(at=START, *, regions=("a",)):
    return BackupSet(
        id=set_id(at),
        began_at=at - timedelta(minutes=2),
        ended_at=at + timedelta(minutes=2),
        point=RestorePoint(name="p", lsn="0/1", at=at),
        versions=(),
        rows={},
        sources=(),
        excluded=(),
        copies=tuple(
            RegionCopy(
                region=region,
                database_label=a_copy(at).label,
                kind=BackupKind.FULL,
                snapshot=a_snapshot(at).id,
                database_bytes=1,
                files_bytes=1,
            )
            for region in regions
        ),
        recorded=None,
        tools={},
    )


def a_check(backup, *, verdict=Verdict.PASS, digest=None):
    return Verification(
        set_id=backup.id,
        manifest_digest=digest or backup.digest,
        region="a",
        at=backup.ended_at,
        verdict=verdict,
    )


def stored(backup, *, copies=None, snapshots=None, verification=None):
    at = backup.point.at
    return stored_set(
        backup,
        region="a",
        copies=[a_copy(at)] if copies is None else copies,
        snapshots=[a_snapshot(at)] if snapshots is None else snapshots,
        verification=verification,
        locked_until=None,
    )


@pytest.mark.parametrize(
    ("verdict", "state"),
    [(Verdict.PASS, "verified"), (Verdict.FAIL, "damaged"), (Verdict.INCONCLUSIVE, "not verified")],
)
def test_a_set_is_what_its_last_check_said(verdict, state):
    backup = a_set()
    assert stored(backup, verification=a_check(backup, verdict=verdict)).state == state


def test_a_set_that_was_never_checked_is_neither_verified_nor_damaged():
    found = stored(a_set())
    assert (found.is_verified, found.is_damaged, found.state) == (False, False, "not verified")


def test_a_check_of_another_manifest_says_nothing():
    backup = a_set()
    assert stored(backup, verification=a_check(backup, digest="0" * 64)).verdict is None


def test_a_set_that_was_verified_and_lost_its_snapshot_or_copy_since_is_damaged():
    backup = a_set()
    for gone in ({"snapshots": []}, {"copies": []}):
        found = stored(backup, verification=a_check(backup), **gone)
        assert (found.is_verified, found.state, len(found.lacks)) == (False, "damaged", 1)


def test_a_set_lacks_what_its_copy_builds_on():
    found = stored(a_set(), copies=[a_copy(START, needs=["full"])])
    assert found.lacks == ("database copy full",)


def test_a_set_that_names_no_copy_in_the_region_is_not_there():
    assert stored(a_set(regions=("b",))) is None


def test_a_chain_goes_down_to_the_full_copy_and_ends_with_a_circle():
    copies = [
        a_copy(START, label="c", needs=["b"]),
        a_copy(START, label="b", needs=["a", "c"]),
        a_copy(START, label="a"),
    ]
    assert chain_of("c", {copy.label: copy for copy in copies}) == {"a", "b", "c"}


class Region:
    """One region's three ports."""

    region = "a"

    def __init__(self, *backups, damaged=()):
        self.backups = {backup.id: backup for backup in backups}
        self.damaged = damaged

    def ids(self):
        return tuple(sorted(self.backups))

    def get(self, name):
        if name in self.damaged:
            raise InputError("the signature does not fit")
        return self.backups[name]

    def verification(self, name):
        return a_check(self.backups[name])

    def locked_until(self, name):
        return self.backups[name].point.at + timedelta(days=9)

    def copies(self, region):
        return tuple(a_copy(backup.point.at) for backup in self.backups.values())

    def snapshots(self, region):
        return tuple(a_snapshot(backup.point.at) for backup in self.backups.values())


def test_a_region_is_read_set_by_set_and_an_unreadable_manifest_is_named():
    old, new, away = a_set(), a_set(START + timedelta(days=1)), a_set(regions=("b",))
    damaged = a_set(START + timedelta(days=2))
    away = away.model_copy(update={"id": set_id(START + timedelta(days=3))})
    world = Region(new, old, away, damaged, damaged=(damaged.id,))
    found = read_inventory(world, world, world)
    assert [one.id for one in found.sets] == [old.id, new.id]
    assert [one.id for one in found.verified] == [old.id, new.id]
    assert found.sets[0].locked_until == START + timedelta(days=9)
    assert found.unreadable == (damaged.id,)
