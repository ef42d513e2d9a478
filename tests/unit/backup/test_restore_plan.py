import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlight.backup.restore_plan import Target, plan_restore
from greenlight.core.errors import RefusedError
from greenlight.testing.region_worlds import DAY, FAIL, PASS, START, changed, night, nights

HOME = Path("/srv/greenlight home")
ELSEWHERE = Target(path=Path("/srv/restored"), home=HOME)
SECOND = timedelta(seconds=1)
NOW = START + 3 * DAY + DAY / 2
"""Half a day after the last of four nights."""


def plan(inventory=None, *, at=None, target=ELSEWHERE, now=NOW, archived_until=NOW, to_end=False):
    world = nights([PASS] * 4) if inventory is None else inventory
    return plan_restore(
        world, at=at, target=target, now=now, archived_until=archived_until, to_end=to_end
    )


def refused(**request):
    with pytest.raises(RefusedError) as error:
        plan(**request).require_possible()
    return str(error.value)


def sources(found):
    chosen = found.require_possible()
    return chosen.databases.id, chosen.files.id


def test_between_two_sets_the_databases_come_from_the_one_before_the_files_from_the_one_after():
    found = plan(at=START + DAY + DAY / 2)
    assert sources(found) == (night(1), night(2))
    assert found.warnings == ()


def test_at_a_restore_point_both_come_from_its_own_set():
    assert sources(plan(at=START + 2 * DAY)) == (night(2), night(2))


def test_without_an_instant_the_newest_point_is_restored():
    found = plan()
    assert found.chosen.at == START + 3 * DAY
    assert sources(found) == (night(3), night(3))


def test_as_far_as_the_log_goes_takes_the_newest_copy_and_says_which_files_may_be_missing():
    found = plan(to_end=True, archived_until=None)
    assert found.chosen.at is None
    assert sources(found) == (night(3), night(3))
    (warning,) = found.warnings
    assert warning.startswith("no set is of the end of the log or later")
    assert "replay the log as far as it goes" in "\n".join(found.lines())


def test_an_instant_counts_before_the_end_of_the_log():
    assert plan(at=START + DAY, to_end=True).chosen.at == START + DAY


def test_a_clock_that_is_behind_the_newest_set_leaves_it_the_newest():
    assert sources(plan(now=START, to_end=True)) == (night(3), night(3))


def test_a_copy_that_had_not_ended_at_the_instant_is_not_used():
    ended = START + DAY - timedelta(minutes=1)
    assert sources(plan(at=ended)) == (night(0), night(1))
    assert sources(plan(at=ended + SECOND)) == (night(1), night(1))


def test_a_copy_that_ended_within_the_second_of_its_own_point_can_be_brought_to_that_point():
    world = nights([PASS])
    late = dataclasses.replace(world.sets[0].copy, ended_at=START - SECOND / 10)
    found = plan(changed(world, 0, copy=late), at=START)
    assert sources(found) == (night(0), night(0))


def test_after_the_newest_set_files_of_later_versions_are_missing_and_the_plan_says_since_when():
    found = plan(at=NOW - DAY / 4)
    assert sources(found) == (night(3), night(3))
    assert found.warnings[0].startswith("no set is of 2026-03-05 08:14:07 UTC or later")
    assert "registered after 2026-03-05 02:14:07 UTC are missing" in found.warnings[0]


def test_files_of_versions_that_were_deleted_in_between_come_from_the_set_before():
    world = nights([PASS] * 3, versions={0: {("m", 1), ("m", 2)}})
    found = plan(world, at=START + DAY / 2)
    assert found.require_possible().deleted_since.id == night(0)
    assert f"restore the artifacts of snapshot snap-{night(0)}" in found.lines()
    (warning,) = found.warnings
    assert "m version 2" in warning
    assert f"snap-{night(0)}" in warning


def test_what_was_deleted_before_the_instant_or_never_needs_no_other_set():
    world = nights([PASS] * 3, versions={0: {("m", 1), ("m", 2)}})
    for at in (START, START + DAY, START + DAY + DAY / 2):
        assert plan(world, at=at).require_possible().deleted_since is None


def test_a_damaged_set_is_passed_over_and_named():
    found = plan(nights([PASS, FAIL, PASS], full_every=1), at=START + DAY + SECOND)
    assert sources(found) == (night(0), night(2))
    assert found.warnings == (f"damaged sets are not used: {night(1)}",)


def test_a_damaged_set_is_better_than_none_and_the_plan_says_so():
    found = plan(nights([FAIL]))
    assert sources(found) == (night(0), night(0))
    assert found.warnings == (f"set {night(0)} failed its last check, and no better one is there",)


def test_a_set_that_nobody_checked_is_used_with_a_warning():
    found = plan(nights([PASS, None], full_every=1))
    assert sources(found) == (night(1), night(1))
    assert found.warnings == (f"set {night(1)} is not verified in region a",)


def test_a_set_of_which_something_is_gone_is_never_used():
    world = changed(nights([PASS, PASS], full_every=1), 1, snapshot=None, lacks=("snapshot x",))
    assert sources(plan(world)) == (night(0), night(0))


def test_sets_with_an_unreadable_manifest_are_named():
    world = dataclasses.replace(nights([PASS]), unreadable=("20260401T000000Z",))
    assert "20260401T000000Z" in plan(world).warnings[0]


def test_a_region_without_sets_is_refused_and_so_is_one_whose_sets_lost_something():
    assert "region a has no set that can be restored; try another" in refused(inventory=nights([]))
    world = changed(nights([PASS]), 0, lacks=("snapshot x",), snapshot=None)
    assert f"set {night(0)} lacks snapshot x" in refused(inventory=world, at=START)


def test_the_future_is_refused():
    assert "is in the future: it is 2026-03-05 14:14:07 UTC" in refused(at=NOW + SECOND)


def test_before_the_first_instant_is_refused_with_it():
    first = START - timedelta(minutes=1) + SECOND
    said = refused(at=first - SECOND)
    assert "2026-03-02 02:13:07 UTC is before 2026-03-02 02:13:08 UTC, the first instant" in said
    plan(at=first).require_possible()


def test_after_the_end_of_the_archived_log_is_refused_with_it():
    said = refused(at=NOW, archived_until=NOW - timedelta(minutes=5))
    assert "is after 2026-03-05 14:09:07 UTC, the last instant whose log was archived" in said


def test_a_set_proves_that_the_log_arrived_up_to_its_point():
    plan(at=START + 3 * DAY, archived_until=START).require_possible()


def test_when_nobody_knows_how_far_the_log_reaches_the_plan_says_what_is_sure():
    found = plan(at=START + 3 * DAY + DAY / 4, archived_until=None)
    found.require_possible()
    assert "it is sure to reach 2026-03-05 02:14:07 UTC" in found.warnings[-1]
    assert plan(at=START + 3 * DAY, archived_until=None).warnings == ()


def test_a_folder_that_holds_something_is_refused_with_what_it_holds():
    target = dataclasses.replace(ELSEWHERE, holds=("a", "b", "c", "d"))
    assert "/srv/restored is not empty (it holds a, b, c, …)" in refused(target=target)


def test_the_live_home_is_refused_without_the_flag_whatever_it_holds():
    target = Target(path=HOME, home=HOME, holds=("mlflow",), typed_name=HOME.name)
    assert "is the live home, which is the source" in refused(target=target)


@pytest.mark.parametrize("typed", [None, "", "greenlight", "GREENLIGHT HOME"])
def test_the_live_home_is_refused_until_its_name_is_typed(typed):
    target = Target(path=HOME, home=HOME, over_live=True, typed_name=typed)
    assert f"its name must be typed, 'greenlight home', not {typed!r}" in refused(target=target)


def test_with_flag_and_name_the_live_home_is_set_aside_not_deleted():
    target = Target(path=HOME, home=HOME, holds=("mlflow",), over_live=True, typed_name=HOME.name)
    chosen = plan(target=target).require_possible()
    assert chosen.set_aside == HOME.with_name("greenlight home.before-20260305T141407Z")
    assert chosen.steps()[-1].startswith(
        f"stop all that runs in {HOME}, move that to {HOME}.before"
    )
    assert f"beside {HOME}" in chosen.steps()[1]


def test_databases_alone_are_set_aside_and_the_files_are_neither_weighed_nor_restored():
    target = Target(
        path=HOME, home=HOME, over_live=True, typed_name=HOME.name, databases_only=True,
        free_bytes=5_000,
    )  # fmt: skip
    found = plan(at=START + DAY + DAY / 2, target=target)
    chosen = found.require_possible()
    assert chosen.set_aside == HOME / "postgres.before-20260305T141407Z"
    assert chosen.bytes == 5_000
    assert [stored.id for stored in chosen.sets] == [night(1)]
    text = "\n".join(found.lines())
    assert "files of snapshot" not in text
    assert f"move its databases to {chosen.set_aside}" in text


def test_databases_alone_are_refused_over_the_live_home_without_the_flag():
    target = Target(path=HOME, home=HOME, databases_only=True)
    assert "is the live home" in refused(target=target)


def test_the_flag_and_the_name_open_no_other_folder():
    target = dataclasses.replace(ELSEWHERE, holds=("x",), over_live=True, typed_name=HOME.name)
    assert "is not empty" in refused(target=target)


def test_a_folder_that_holds_the_live_home_is_refused_even_with_the_flag():
    target = Target(path=HOME.parent, home=HOME, over_live=True, typed_name="srv")
    assert "holds the live home" in refused(target=target)


def test_a_disk_that_is_too_small_is_refused_with_both_sizes():
    target = dataclasses.replace(ELSEWHERE, free_bytes=7_999)
    assert "it takes 0.008 MB and the log's size, but only 0.007999 MB" in refused(target=target)
    plan(target=dataclasses.replace(ELSEWHERE, free_bytes=8_000)).require_possible()


def test_every_reason_is_given_at_once():
    target = dataclasses.replace(ELSEWHERE, holds=("x",), free_bytes=1)
    said = refused(at=NOW + DAY, target=target)
    for reason in ("in the future", "is not empty", "are free", "nothing was written"):
        assert reason in said


def test_the_plan_is_printed_with_steps_size_notes_and_refusals():
    target = dataclasses.replace(ELSEWHERE, holds=("x",))
    lines = plan(at=NOW - DAY / 4, target=target).lines()
    assert (
        f"restore database copy db-{night(3)} (incremental, ended 2026-03-05 02:13:07" in lines[1]
    )
    assert lines[2].startswith("replay the log up to 2026-03-05 08:14:07 UTC")
    assert lines[5].startswith("it takes about 0.008 MB")
    assert lines[6].startswith("note: no set is of")
    assert lines[7].startswith("refused: /srv/restored is not empty")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([PASS, FAIL, None]), min_size=1, max_size=8),
    st.floats(-1, 9),
)
def test_whatever_is_asked_the_copy_ended_before_and_later_files_are_taken_where_there_are_any(
    verdicts, days
):
    world = nights(verdicts, full_every=1)
    at = START + days * DAY
    chosen = plan(world, at=at, now=START + 20 * DAY, archived_until=START + 20 * DAY).chosen
    good = [stored for stored in world.sets if not stored.is_damaged] or list(world.sets)
    if chosen is None:
        assert all(at < stored.copy.ended_at + SECOND for stored in good)
        return
    assert chosen.databases.copy.ended_at < at
    later = [stored for stored in good if stored.point_at >= at]
    assert (chosen.files.point_at >= at) is bool(later)
    assert chosen.databases.stored in good
