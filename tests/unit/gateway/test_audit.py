import json
from datetime import datetime, timedelta, timezone

import pytest

from greenlight.core.errors import InputError
from greenlight.gateway.audit import (
    GENESIS,
    MAX_DETAIL,
    Anchor,
    AnchorKind,
    AuditEvent,
    anchored,
    chained,
    is_signed,
    record_hash,
)
from greenlight.testing.gateway_access import an_event
from greenlight.testing.manual_clock import NOON

SECRET = "a secret of the audit log"


def chain(*events, after=None, secret=SECRET):
    return list(chained(events or [an_event(), an_event()], after=after, secret=secret))


def test_a_chain_begins_with_nothing_and_each_record_names_the_one_before():
    first, second = chain()
    assert (first.number, first.previous) == (1, GENESIS)
    assert (second.number, second.previous) == (2, first.hash)


def test_a_chain_goes_on_behind_its_head():
    first = chain(an_event())[0]
    head = anchored(AnchorKind.HEAD, first, at=NOON, secret=SECRET)
    assert chain(an_event(), an_event())[1] == chain(an_event(), after=head)[0]


@pytest.mark.parametrize(
    "change",
    [
        {"at": NOON + timedelta(microseconds=1)}, {"event": "key.rotated"}, {"subject": "eve"},
        {"subject": None}, {"tenant": "narrow"}, {"tenant": None}, {"detail": {}},
        {"detail": {"key": "k", "more": None}},
    ],
)  # fmt: skip
def test_the_hash_covers_every_field(change):
    good = chain(an_event())[0]
    assert chain(an_event(**change))[0].hash != good.hash


def test_the_hash_depends_on_the_secret_on_number_and_on_the_record_before():
    one = chain(an_event())[0]
    assert chain(an_event(), secret="another")[0].hash != one.hash
    assert record_hash(one, secret=SECRET) == one.hash
    assert record_hash(one, secret=SECRET, number=2) != one.hash
    same = chain(an_event(), an_event())
    assert same[0].hash != same[1].hash


def test_the_hash_does_not_depend_on_how_a_time_or_a_detail_is_written():
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5)))
    one = chain(an_event(detail={"a": 1, "b": 2}))[0]
    other = chain(an_event(at=elsewhere, detail={"b": 2, "a": 1}))[0]
    assert one.hash == other.hash


def test_an_anchor_is_signed_in_all_its_fields():
    first, second = chain()
    good = anchored(AnchorKind.HEAD, first, at=NOON, secret=SECRET)
    assert is_signed(good, secret=SECRET)
    assert not is_signed(good, secret="another")
    others = (
        {"number": 2}, {"hash": second.hash}, {"at": (NOON + timedelta(1)).isoformat()},
        {"kind": "pruned"}, {"signature": good.signature[::-1]},
    )  # fmt: skip
    for change in others:
        assert not is_signed(Anchor.from_json(good.to_json() | change), secret=SECRET)


def test_a_record_is_no_anchor():
    first = chain()[0]
    assert anchored(AnchorKind.HEAD, first, at=NOON, secret=SECRET).signature != first.hash


@pytest.mark.parametrize(
    "change",
    [
        {"event": "Key.created"}, {"event": ""}, {"event": "key created"}, {"event": "key."},
        {"subject": "a\x00b"}, {"tenant": "two\nlines"}, {"subject": 7},
        {"detail": {"nan": float("nan")}}, {"detail": {"set": {1}}},
        {"detail": {"long": "x" * MAX_DETAIL}},
    ],
)  # fmt: skip
def test_an_event_that_could_not_be_kept_is_refused_when_it_is_made(change):
    with pytest.raises(InputError):
        an_event(**change)


def test_an_event_survives_a_file():
    event = an_event(at=datetime.fromisoformat("2026-11-24T12:00:00.000001+05:00"))
    assert AuditEvent.from_json(json.loads(json.dumps(event.to_json()))) == event


@pytest.mark.parametrize(
    "data",
    [
        {}, {"at": "now", "event": "key.created"}, {"event": "key.created"},
        {"at": "2026-11-24T12:00:00+00:00", "event": None},
        {"at": "2026-11-24T12:00:00+00:00", "event": "key.created", "more": 1},
    ],
)  # fmt: skip
def test_what_is_no_event_is_refused(data):
    with pytest.raises(InputError):
        AuditEvent.from_json(data)


@pytest.mark.parametrize("data", [{}, {"kind": "head"}, {"kind": "tail", "at": NOON.isoformat()}])
def test_what_is_no_anchor_is_refused(data):
    with pytest.raises(InputError):
        Anchor.from_json(data)
