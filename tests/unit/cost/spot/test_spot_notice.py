from datetime import UTC, datetime, timedelta

import pytest

from greenlight.core.errors import InputError
from greenlight.cost.spot.notice import LAST, Notice, NoticeKind, Serving, Step, answer

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SOON = NOW + timedelta(seconds=120)
TAKEN = Notice(host="a", kind=NoticeKind.INTERRUPTION, at=SOON)
AT_RISK = Notice(host="a", kind=NoticeKind.REBALANCE, at=None)


def fleet(hosts=("a", "b", "c"), draining=(), starting=(), at_least=2):
    return Serving(hosts=hosts, draining=draining, starting=starting, at_least=at_least)


def steps(notice, there):
    return [action.step for action in answer(notice, there, now=NOW)]


def test_a_host_that_is_taken_is_replaced_and_drained_by_then():
    found = answer(TAKEN, fleet(), now=NOW)
    assert [action.step for action in found] == [Step.START_REPLACEMENT, Step.DRAIN]
    assert found[1].by == SOON
    assert "taken in 120 s" in found[1].why


def test_the_last_host_serves_until_shortly_before_it_is_taken():
    alone = fleet(hosts=("a", "b"), draining=("b",), at_least=1)
    assert steps(TAKEN, alone)[-1] is Step.WAIT
    late = answer(TAKEN, alone, now=SOON - LAST)
    assert late[-1].step is Step.DRAIN
    assert steps(TAKEN, fleet(hosts=("a", "c"), at_least=1))[-1] is Step.DRAIN


def test_a_host_that_its_group_ends_is_drained_like_one_that_is_taken():
    ended = Notice(host="a", kind=NoticeKind.TERMINATION, at=SOON)
    assert steps(ended, fleet()) == [Step.START_REPLACEMENT, Step.DRAIN]


def test_a_host_at_risk_is_drained_when_enough_others_serve():
    assert steps(AT_RISK, fleet()) == [Step.START_REPLACEMENT, Step.DRAIN]


def test_a_host_at_risk_waits_for_its_replacement_when_others_are_too_few():
    assert steps(AT_RISK, fleet(at_least=3)) == [Step.START_REPLACEMENT, Step.WAIT]
    assert steps(AT_RISK, fleet(hosts=("a", "b", "c", "d"), at_least=3))[-1] is Step.DRAIN


def test_hosts_that_drain_already_do_not_count_as_serving():
    assert steps(AT_RISK, fleet(draining=("b",)))[-1] is Step.WAIT


def test_a_replacement_that_starts_already_is_enough():
    assert steps(TAKEN, fleet(starting=("d",))) == [Step.DRAIN]


def test_the_same_notice_twice_asks_for_nothing_new():
    assert steps(TAKEN, fleet(draining=("a",))) == []


def test_a_host_that_does_not_serve_needs_nothing():
    assert steps(TAKEN, fleet(hosts=("b", "c"))) == [Step.WAIT]


def test_a_notice_that_came_too_late_still_drains():
    late = Notice(host="a", kind=NoticeKind.INTERRUPTION, at=NOW - timedelta(seconds=5))
    assert "taken in 0 s" in answer(late, fleet(), now=NOW)[-1].why


@pytest.mark.parametrize("kind", [NoticeKind.INTERRUPTION, NoticeKind.TERMINATION])
def test_an_end_without_a_time_is_refused(kind):
    with pytest.raises(InputError, match=f"the {kind} of a has no time"):
        answer(Notice(host="a", kind=kind, at=None), fleet(), now=NOW)
