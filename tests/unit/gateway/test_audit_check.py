"""Breaks that a database can't show; tests/contract/test_keys_and_audit.py tampers with one."""

from dataclasses import replace

import pytest

from greenlight.gateway.audit import AnchorKind, anchored, chained, record_hash
from greenlight.gateway.audit_check import BreakKind, Verdict, verify
from greenlight.testing.gateway_access import an_event
from greenlight.testing.manual_clock import NOON

SECRET, OTHER = "a secret of the audit log", "the secret of somebody else"


def chain(count=6, *, secret=SECRET, after=None, tenant="acme"):
    events = [an_event(tenant=tenant, detail={"n": number}) for number in range(count)]
    return list(chained(events, after=after, secret=secret))


def anchor(record, kind=AnchorKind.HEAD, *, secret=SECRET):
    return anchored(kind, record, at=NOON, secret=secret)


def check(records, *, end=None, pruned=None, witnesses=(), head=...):
    head = anchor(end or records[-1]) if head is ... else head
    return verify(records, head=head, pruned=pruned, secret=SECRET, witnesses=witnesses)


def found(records, **about):
    result = check(records, **about)
    assert result.verdict is Verdict.FAIL
    return result.finding.kind, result.finding.first, result.finding.last


def test_a_whole_log_passes():
    result = check(chain())
    assert (result.verdict, result.records, result.last, result.finding) == (
        Verdict.PASS, 6, 6, None,
    )  # fmt: skip


def test_nothing_proves_nothing():
    result = verify([], head=None, pruned=None, secret=SECRET)
    assert result.verdict is Verdict.EMPTY


def test_a_log_that_retention_shortened_passes():
    records = chain()
    result = check(records[3:], pruned=anchor(records[2], AnchorKind.PRUNED))
    assert (result.verdict, result.records, result.last) == (Verdict.PASS, 3, 6)


def test_what_went_before_retention_began_is_missing():
    records = chain()
    pruned = anchor(records[1], AnchorKind.PRUNED)
    assert found(records[3:], pruned=pruned) == (BreakKind.DELETED, 3, 3)


@pytest.mark.parametrize("place", range(6))
def test_every_edit_is_found_where_it_is(place):
    records = chain()
    end = records[-1]
    records[place] = replace(records[place], tenant="other")
    assert found(records, end=end) == (BreakKind.EDITED, place + 1, place + 1)


@pytest.mark.parametrize("place", range(6))
def test_every_record_that_is_left_out_is_missed(place):
    records = chain()
    end = records[-1]
    del records[place]
    assert found(records, end=end) == (BreakKind.DELETED, place + 1, place + 1)


def test_an_end_that_is_cut_off_is_missed():
    records = chain()
    assert found(records[:4], end=records[-1]) == (BreakKind.DELETED, 5, 6)
    assert found([], end=records[-1]) == (BreakKind.DELETED, 1, 6)


def test_an_end_that_is_cut_off_with_an_old_signature_is_missed_by_a_witness():
    records = chain()
    assert check(records[:4]).verdict is Verdict.PASS
    witness = anchor(records[-1])
    assert found(records[:4], witnesses=[witness]) == (BreakKind.DELETED, 5, 6)


def test_a_witness_that_is_behind_changes_nothing():
    records = chain()
    assert check(records, witnesses=[anchor(records[2])]).verdict is Verdict.PASS


def test_records_without_a_signed_end_prove_nothing():
    records = chain()
    assert found(records, head=None) == (BreakKind.DELETED, 1, 6)
    assert found(records, end=records[3]) == (BreakKind.DELETED, 5, 6)


def test_two_records_that_change_places_are_found():
    records = chain()
    records[1], records[2] = replace(records[2], number=2), replace(records[1], number=3)
    assert found(records) == (BreakKind.REORDERED, 2, 2)


def test_a_record_that_stands_there_twice_is_found():
    records = chain()
    assert found([*records[:3], records[2], *records[3:]]) == (BreakKind.REORDERED, 3, 3)


def test_a_genuine_record_of_another_past_is_found():
    records = chain()
    other = chain(tenant="narrow", after=anchor(records[1]))
    assert found([*records[:3], *other[1:]], end=other[-1])[0] is BreakKind.REORDERED


def test_another_past_that_a_witness_did_not_see_is_found():
    records = chain()
    other = chain(tenant="narrow")
    result = found(other, witnesses=[anchor(records[3])])
    assert result == (BreakKind.REORDERED, 4, 4)


def test_a_record_that_was_added_without_the_secret_is_forged():
    records = chain()
    added = chain(1, secret=OTHER, after=anchor(records[-1]))
    assert found([*records, *added], end=records[-1]) == (BreakKind.FORGED, 7, 7)


def test_an_edit_with_all_hashes_made_anew_is_forged():
    records = chain()
    changed = replace(records[2], tenant="other")
    changed = replace(changed, hash=record_hash(changed, secret=OTHER))
    rest = chain(3, secret=OTHER, after=anchor(changed))
    assert found([*records[:2], changed, *rest], end=records[-1]) == (BreakKind.FORGED, 3, 3)


@pytest.mark.parametrize("name", ["head", "pruned", "witnesses"])
def test_a_signature_without_the_secret_is_forged(name):
    records = chain()
    kind = AnchorKind.PRUNED if name == "pruned" else AnchorKind.HEAD
    forged = anchor(records[2], kind, secret=OTHER)
    about = {name: [forged] if name == "witnesses" else forged}
    assert found(records, **about) == (BreakKind.FORGED, 3, 3)


def test_the_end_cannot_stand_for_the_beginning():
    records = chain()
    assert found(records[3:], pruned=anchor(records[2])) == (BreakKind.FORGED, 3, 3)


def test_the_sentence_names_numbers_and_kind():
    records = chain()
    end = records[-1]
    del records[1:3]
    result = check(records, end=end)
    assert str(result.finding) == "record 2 to 3: deleted: missing between 1 and 4"
    assert result.to_json()["kind"] == "deleted"
