from datetime import UTC, datetime, timedelta

from greenlight.adapters.old_versions import Version, superseded

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def a_version(hours, *, key="pack", is_latest=False, is_marker=False):
    at = NOON + timedelta(hours=hours)
    return Version(
        key=key, id=f"{key}{hours}", at=at, bytes=10, is_latest=is_latest, is_marker=is_marker
    )


def test_the_newest_version_stays_however_old_it_is():
    assert superseded([a_version(-900, is_latest=True)], before=NOON) == ([], [])


def test_what_was_overwritten_long_ago_goes_and_what_was_lately_stays():
    oldest, older, newest = a_version(-9), a_version(-5), a_version(1, is_latest=True)
    assert superseded([newest, oldest, older], before=NOON) == ([oldest], [])


def test_a_deleted_object_goes_whole_and_its_marker_last():
    content, marker = a_version(-9), a_version(-5, is_latest=True, is_marker=True)
    assert superseded([content, marker], before=NOON) == ([content], [marker])


def test_what_was_deleted_lately_stays_with_its_marker():
    content, marker = a_version(-9), a_version(1, is_latest=True, is_marker=True)
    assert superseded([content, marker], before=NOON) == ([], [])


def test_a_marker_stays_while_a_version_behind_it_does():
    late, early = a_version(2, is_latest=True), a_version(-1, is_marker=True)
    content = a_version(-9)
    assert superseded([late, early, content], before=NOON) == ([content], [])


def test_objects_do_not_supersede_each_other():
    one, other = a_version(-9, key="a", is_latest=True), a_version(-5, key="b", is_latest=True)
    assert superseded([one, other], before=NOON) == ([], [])
