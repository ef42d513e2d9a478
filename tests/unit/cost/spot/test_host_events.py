import json
from datetime import UTC, datetime, timedelta

import pytest

from greenlight.core.errors import InputError
from greenlight.cost.spot.host_events import NOTICE_TIME, HeldEnd, read_event
from greenlight.cost.spot.notice import NoticeKind
from greenlight.testing.memory_aws import (
    GROUP,
    HOOK,
    an_event,
    ending,
    interruption,
    rebalance,
)

TOLD = datetime(2026, 11, 26, 12, tzinfo=UTC)
INSTANCE = "i-0123456789abcdef0"


def test_a_spot_host_is_taken_two_minutes_after_its_warning():
    event = read_event(interruption(INSTANCE, told=TOLD))
    assert (event.kind, event.instance) == (NoticeKind.INTERRUPTION, INSTANCE)
    assert event.ends == TOLD + NOTICE_TIME


def test_one_that_hibernates_is_taken_at_once():
    assert read_event(interruption(INSTANCE, told=TOLD, action="hibernate")).ends == TOLD


def test_a_hint_has_no_time():
    event = read_event(rebalance(INSTANCE, told=TOLD))
    assert (event.kind, event.ends, event.held) == (NoticeKind.REBALANCE, None, None)


def test_an_end_that_is_held_says_by_whom():
    event = read_event(ending(INSTANCE, told=TOLD, LifecycleActionToken="t"))
    assert event.kind is NoticeKind.TERMINATION
    assert event.held == HeldEnd(group=GROUP, hook=HOOK, instance=INSTANCE, token="t")


def test_the_same_thing_told_twice_has_one_key_and_another_end_another():
    first = read_event(interruption(INSTANCE, told=TOLD))
    assert read_event(interruption(INSTANCE, told=TOLD)).key == first.key
    later = TOLD + timedelta(days=1)
    assert read_event(interruption(INSTANCE, told=later)).key != first.key
    one, two = (read_event(ending(INSTANCE, told=TOLD, LifecycleActionToken=t)) for t in "ab")
    assert one.key != two.key


def without(body, key):
    event = json.loads(body)
    event["detail"].pop(key)
    return json.dumps(event)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("no JSON", "JSON"),
        ("[]", "text"),
        (json.dumps({"detail-type": "x", "time": "2026-11-26T12:00:00Z"}), "detail"),
        (without(interruption(INSTANCE, told=TOLD), "instance-id"), "instance-id"),
        (without(ending(INSTANCE, told=TOLD), "LifecycleActionToken"), "LifecycleActionToken"),
        (
            ending(INSTANCE, told=TOLD, LifecycleTransition="autoscaling:EC2_INSTANCE_LAUNCHING"),
            "LAUNCHING",
        ),
        (an_event("EC2 Instance State-change Notification", {}, told=TOLD), "let no rule"),
    ],
)
def test_what_is_no_such_event_is_refused_with_what_is_wrong(body, says):
    with pytest.raises(InputError, match=says):
        read_event(body)
