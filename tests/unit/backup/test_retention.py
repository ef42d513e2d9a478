import dataclasses
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlight.backup.backup_file import Retention
from greenlight.backup.inventory import Inventory, chain_of
from greenlight.backup.retention import Decision, PrunePlan, plan_prune
from greenlight.core.errors import RefusedError
from greenlight.testing.region_worlds import (
    DAY,
    FAIL,
    PASS,
    START,
    a_copy,
    a_snapshot,
    changed,
    night,
    nights,
)

NONE = Retention(daily=0, weekly=0, monthly=0, min_verified=1)


def plan(inventory, policy=NONE, *, now=START + 400 * DAY):
    return plan_prune(inventory, retention=policy, now=now)


def kept(found):
    return {decision.id for decision in found.kept}


def reasons(found, set_id):
    return next(decision.kept_for for decision in found.decisions if decision.id == set_id)


def test_each_of_the_last_days_weeks_and_months_keeps_its_newest():
    found = plan(
        nights([PASS] * 70, full_every=1), Retention(daily=3, weekly=2, monthly=2, min_verified=1)
    )
    assert kept(found) == {night(n) for n in (69, 68, 67, 62, 59)}
    assert reasons(found, night(62)) == ("weekly 2026-W18",)
    assert reasons(found, night(59)) == ("monthly 2026-04",)
    assert reasons(found, night(69)) == (
        "daily 2026-05-10", "weekly 2026-W19", "monthly 2026-05", "newest verified",
    )  # fmt: skip


def test_days_without_a_set_do_not_use_up_places():
    away_for_a_month = nights([PASS] * 3, step=30 * DAY, full_every=1)
    assert len(plan(away_for_a_month, Retention(daily=3, weekly=0, monthly=0)).kept) == 3


def test_a_verified_set_gets_the_place_of_its_day_before_a_newer_unchecked_one():
    twice_a_day = nights([PASS, None, PASS, PASS], step=DAY / 2, full_every=1)
    found = plan(twice_a_day, Retention(daily=2, weekly=0, monthly=0, min_verified=1))
    assert kept(found) == {night(n, step=DAY / 2) for n in (0, 3)}


def test_a_set_known_to_be_damaged_never_takes_a_place():
    found = plan(nights([PASS, FAIL, PASS], full_every=1), Retention(daily=3, min_verified=1))
    assert [decision.id for decision in found.deleted] == [night(1)]


def test_a_set_whose_database_copy_is_gone_counts_as_damaged_although_its_check_passed():
    world = changed(nights([PASS] * 3, full_every=1), 1, lacks=("database copy x",), copy=None)
    assert night(1) not in kept(plan(world, Retention(daily=3, min_verified=1)))


def test_an_incremental_keeps_its_full_and_those_between():
    found = plan(nights([PASS] * 7))
    assert kept(found) == {night(n) for n in range(7)}
    assert reasons(found, night(0)) == (f"needed by {night(6)}",)
    assert found.is_empty


def test_a_chain_that_nothing_needs_any_more_goes_newest_first():
    found = plan(nights([PASS] * 3 + [PASS], full_every=3))
    assert kept(found) == {night(3)}
    assert found.expire == tuple(f"db-{night(n)}" for n in (2, 1, 0))
    assert found.forget == tuple(f"snap-{night(n)}" for n in (2, 1, 0))


def test_the_newest_verified_set_and_everything_newer_stay():
    found = plan(nights([PASS, PASS, FAIL, None], full_every=1))
    assert kept(found) == {night(n) for n in (1, 2, 3)}
    assert reasons(found, night(2)) == ("newer than the newest verified",)


def test_without_any_verified_set_nothing_is_deleted():
    found = plan(nights([FAIL, None] * 10, full_every=1))
    assert found.is_empty
    assert found.floor_reached is False


def test_the_floor_keeps_verified_sets_that_the_policy_would_delete_and_says_so():
    found = plan(nights([PASS] * 5, full_every=1), NONE.model_copy(update={"min_verified": 3}))
    assert kept(found) == {night(n) for n in (2, 3, 4)}
    assert reasons(found, night(3)) == ("one of 3 verified sets that always stay",)
    assert found.floor_reached
    assert "too few sets are verified" in "\n".join(found.lines())


def test_what_the_floor_keeps_keeps_its_chain_too():
    found = plan(nights([PASS] * 4, full_every=2), NONE.model_copy(update={"min_verified": 3}))
    assert reasons(found, night(0)) == (f"needed by {night(1)}",)


def test_verified_sets_that_the_policy_keeps_count_towards_the_floor():
    found = plan(nights([PASS] * 5, full_every=1), Retention(daily=3, weekly=0, monthly=0))
    assert len(found.kept) == 3
    assert not found.floor_reached


def test_while_fewer_sets_are_verified_than_the_floor_no_set_is_deleted():
    found = plan(nights([None, FAIL, PASS], full_every=1), Retention(daily=1, weekly=0, monthly=0))
    assert not found.deleted
    assert found.floor_reached
    assert reasons(found, night(1)) == (
        "only 1 of 3 verified sets are there, so no set is deleted",
    )


def test_a_plan_below_the_floor_is_refused_with_its_numbers():
    states = {"state": "verified", "is_verified": True}
    wrong = PrunePlan(
        region="a",
        decisions=(
            Decision(id=night(1), kept_for=("newest verified",), **states),
            Decision(id=night(0), kept_for=(), **states),
        ),
        unreadable=(), expire=(), forget=(), min_verified=2, floor_reached=False,
    )  # fmt: skip
    with pytest.raises(RefusedError, match="leaves 1 of 2 verified sets, and min_verified is 2"):
        wrong.require_floor()
    dataclasses.replace(wrong, min_verified=1).require_floor()


def test_a_lock_is_respected_until_it_ends():
    world = nights([PASS] * 3, full_every=1)
    ends = START + 30 * DAY
    world = changed(world, 0, locked_until=ends)
    locked = plan(world, now=ends - timedelta(seconds=1))
    assert reasons(locked, night(0)) == ("locked until 2026-04-01 02:14 UTC",)
    assert night(0) not in kept(plan(world, now=ends))


def test_a_locked_incremental_keeps_the_full_that_is_not_locked_any_more():
    world = changed(nights([PASS] * 4, full_every=2), 1, locked_until=START + 500 * DAY)
    assert kept(plan(world)) == {night(n) for n in (0, 1, 2, 3)}


def with_copies(inventory, *copies, snapshots=()):
    return dataclasses.replace(
        inventory,
        copies=tuple(sorted((*inventory.copies, *copies), key=lambda c: c.ended_at)),
        snapshots=tuple(sorted((*inventory.snapshots, *snapshots), key=lambda s: s.at)),
    )


def test_what_a_killed_run_left_goes_once_a_newer_set_is_there():
    killed = START + DAY / 2
    world = with_copies(
        nights([PASS] * 2, full_every=1), a_copy(killed), snapshots=[a_snapshot(killed)]
    )
    found = plan(world, Retention())
    assert not found.deleted
    assert (found.expire, found.forget) == ((a_copy(killed).label,), (a_snapshot(killed).id,))
    assert not found.is_empty


def test_what_a_run_on_its_way_has_copied_stays_with_everything_it_builds_on():
    world = nights([PASS] * 3, full_every=1)
    running = START + 3 * DAY
    world = with_copies(
        world, a_copy(running, needs=[world.copies[0].label]), snapshots=[a_snapshot(running)]
    )
    found = plan(world)
    assert (found.expire, found.forget) == ((f"db-{night(1)}",), (f"snap-{night(1)}",))
    assert reasons(found, night(0)) == (
        "needed by a database copy that belongs to no readable set",
    )


def test_a_kept_set_may_build_on_what_a_killed_run_left():
    killed = START + DAY / 2
    world = with_copies(nights([PASS] * 2, full_every=1), a_copy(killed))
    world = changed(world, 1, chain=frozenset({world.sets[1].label, a_copy(killed).label}))
    assert plan(world, Retention()).expire == ()


@pytest.mark.parametrize("mark", ["20260302T141407Z", None])
def test_the_copies_of_a_set_with_an_unreadable_manifest_stay(mark):
    at = START + DAY / 2
    world = with_copies(
        nights([PASS] * 2, full_every=1),
        a_copy(at, needs=[f"db-{night(0)}"], mark=mark),
        snapshots=[a_snapshot(at, mark=mark)],
    )
    world = dataclasses.replace(world, unreadable=("20260302T141407Z",))
    found = plan(world)
    assert found.is_empty
    assert "20260302T141407Z  unreadable" in "\n".join(found.lines())


def test_what_a_killed_run_left_stays_while_the_store_locks_it():
    killed = START + DAY / 2
    world = with_copies(nights([PASS] * 2, full_every=1), a_copy(killed))
    policy = Retention(lock_days=30)
    assert plan(world, policy, now=killed + 29 * DAY).expire == ()
    assert plan(world, policy, now=killed + 31 * DAY).expire == (a_copy(killed).label,)


def test_an_empty_region_has_an_empty_plan():
    assert plan(nights([])).is_empty


def test_the_plan_names_every_set_with_what_keeps_it_or_that_nothing_does():
    lines = plan(nights([PASS, None, PASS], full_every=1), NONE).lines()
    assert lines[0] == (
        "region a: 1 sets stay, 2 go; 1 of 2 verified sets stay (never fewer than 1)"
    )
    assert lines[1] == f"keep    {night(2)}  verified      newest verified"
    assert lines[2] == f"delete  {night(1)}  not verified  no rule keeps it"
    assert lines[-1].startswith("delete 2 database copies (db-")


HISTORIES = st.tuples(
    st.lists(
        st.tuples(
            st.sampled_from([PASS, FAIL, None]),
            st.integers(1, 90),  # hours since the one before
            st.integers(0, 3),  # builds on so many of those before
            st.booleans(),  # its copy vanished
            st.integers(0, 40),  # days of lock
            st.booleans(),  # the run was killed before its manifest
        ),
        max_size=30,
    ),
    st.builds(
        Retention,
        daily=st.integers(0, 5),
        weekly=st.integers(0, 3),
        monthly=st.integers(0, 3),
        min_verified=st.integers(1, 5),
        lock_days=st.sampled_from([0, 0, 5]),
    ),
)


def region_of(history):
    at, sets, copies = START, [], []
    for verdict, hours, builds_on, vanished, lock_days, killed in history:
        at += timedelta(hours=hours)
        needs = tuple(copy.label for copy in copies[-builds_on:]) if builds_on else ()
        one = nights([verdict], start=at, full_every=1)
        copies.append(dataclasses.replace(one.copies[0], needs=needs))
        if not killed:
            sets.append((one.sets[0], vanished, at + lock_days * DAY))
    gone = {stored.label for stored, vanished, _ in sets if vanished}
    there = {copy.label: copy for copy in copies if copy.label not in gone}
    return Inventory(
        region="a",
        sets=tuple(rebuilt(stored, there, copies, until) for stored, _, until in sets),
        unreadable=(),
        copies=tuple(there.values()),
        snapshots=tuple(stored.snapshot for stored, _, _ in sets),
    )


def rebuilt(stored, there, copies, locked_until):
    chain = chain_of(stored.label, {copy.label: copy for copy in copies})
    return dataclasses.replace(
        stored,
        copy=there.get(stored.label),
        chain=chain,
        lacks=tuple(sorted(chain - there.keys())),
        locked_until=locked_until,
    )


def after(inventory, found):
    """The region once the plan was carried out."""
    stay = kept(found)
    return dataclasses.replace(
        inventory,
        sets=tuple(stored for stored in inventory.sets if stored.id in stay),
        copies=tuple(copy for copy in inventory.copies if copy.label not in found.expire),
        snapshots=tuple(s for s in inventory.snapshots if s.id not in found.forget),
    )


@settings(max_examples=300, deadline=None)
@given(HISTORIES, st.integers(0, 60))
def test_whatever_the_history_the_floor_holds_and_no_chain_is_broken(world, days_later):
    history, policy = world
    before = region_of(history)
    now = max((stored.point_at for stored in before.sets), default=START) + days_later * DAY
    found = plan(before, policy, now=now)
    then = after(before, found)

    assert len(then.verified) >= min(policy.min_verified, len(before.verified))
    assert then.verified[-1:] == before.verified[-1:], "the last good chain"
    labels = {copy.label for copy in then.copies}
    snapshots = {snapshot.id for snapshot in then.snapshots}
    for stored in then.sets:
        lacked = set(stored.lacks)
        assert stored.chain - labels <= lacked, "a kept set lost a copy that it needs"
        assert stored.snapshot_id in snapshots
    for copy in then.copies:
        there_before = set(copy.needs) & {c.label for c in before.copies}
        assert there_before <= labels, "a kept copy lost what it builds on"
    for stored in before.sets:
        if stored.locked_until > now or stored.label in labels:
            assert stored.id in kept(found), "locked, or its copy stays without it"


@settings(max_examples=200, deadline=None)
@given(HISTORIES)
def test_a_plan_that_was_carried_out_has_nothing_left_to_do(world):
    history, policy = world
    before = region_of(history)
    now = START + 200 * DAY
    found = plan(before, policy, now=now)
    again = plan(after(before, found), policy, now=now)
    assert again.is_empty
    assert {d.id: d.kept_for for d in again.decisions} == {d.id: d.kept_for for d in found.kept}
