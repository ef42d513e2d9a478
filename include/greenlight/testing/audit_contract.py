"""What every store of the audit log must do. Subclass it and give it a fixture `audit`, empty."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from greenlight.core.types import JsonDict
from greenlight.gateway.audit import EventName, Record
from greenlight.gateway.audit_check import Verdict, Verification, verify
from greenlight.gateway.stores import AuditStore, Named, SpoolPart
from greenlight.testing.gateway_access import an_event
from greenlight.testing.manual_clock import NOON

AUDIT_SECRET = "a secret of the audit log for tests"  # noqa: S105 - for tests
DAY = timedelta(days=1)
ODD: JsonDict = {
    "float": 1e22, "one": 1.0, "small": 5e-324, "big": 2**70, "text": "Ünïcödé \u2028 \ud800 \x00",
    "nested": {"b": [1, {"a": None}], "a": True},
}  # fmt: skip
"""JSON that a database could be tempted to write in another way."""


def checked(audit: AuditStore) -> Verification:
    """Return what a check of the whole log finds."""
    with audit.snapshot() as log:
        return verify(log.records, head=log.head, pruned=log.pruned, secret=AUDIT_SECRET)


def records(audit: AuditStore) -> list[Record]:
    """Return all records."""
    with audit.snapshot() as log:
        return list(log.records)


class AuditContract:
    """One chain, whoever writes; proven from end to end; nobody in it who was erased."""

    def test_an_empty_log_proves_nothing(self, audit: AuditStore) -> None:
        """It is no pass."""
        assert checked(audit).verdict is Verdict.EMPTY

    def test_records_are_chained_and_proven(self, audit: AuditStore) -> None:
        """In one batch and over several."""
        audit.append([an_event(), an_event(EventName.KEY_ROTATED)])
        head = audit.append([an_event(EventName.KEY_REVOKED)])
        found = records(audit)
        assert [record.number for record in found] == [1, 2, 3]
        assert found[2].previous == found[1].hash
        assert head is not None
        assert (head.number, head.hash) == (3, found[2].hash)
        assert (checked(audit).verdict, checked(audit).records) == (Verdict.PASS, 3)

    def test_odd_details_are_proven_as_they_were_written(self, audit: AuditStore) -> None:
        """A hash is over what was written, not over what a database makes of it."""
        audit.append([an_event(detail=ODD)])
        assert checked(audit).verdict is Verdict.PASS
        assert audit.find()[0].record.detail == ODD

    def test_an_empty_batch_changes_nothing(self, audit: AuditStore) -> None:
        """Not even the signature."""
        before = audit.append([an_event()])
        assert audit.append([]) == before

    def test_a_part_of_a_spool_is_taken_once(self, audit: AuditStore) -> None:
        """Whatever was not known to be written is written again, to no effect."""
        part = SpoolPart(spool="s", start=0, end=10)
        for _ in range(2):
            audit.append([an_event()], part=part)
        audit.append([an_event()], part=SpoolPart(spool="s", start=20, end=30))
        assert audit.position("s").taken == 10
        audit.append([an_event()], part=SpoolPart(spool="s", start=10, end=20))
        assert (audit.position("s").taken, len(audit.find())) == (20, 2)
        audit.forget("s")
        assert audit.position("s").taken == 0

    def test_a_part_without_records_is_taken_too(self, audit: AuditStore) -> None:
        """It may hold identities only."""
        part = SpoolPart(spool="s", start=0, end=10)
        audit.append([], identities={"sub_1": "alice"}, part=part)
        assert audit.position("s").taken == 10

    def test_the_log_names_aliases_and_tells_who_they_are(self, audit: AuditStore) -> None:
        """One alias a subject, for all of its records."""
        audit.append([an_event(subject="sub_1")], identities={"sub_1": "https://idp alice"})
        audit.append([an_event(subject="sub_1"), an_event(subject="sub_2"), an_event(subject=None)])
        found = audit.find()
        aliases = [one.record.subject for one in found]
        assert aliases[0] == aliases[1]
        assert len(set(aliases)) == 3
        assert aliases[3] is None
        assert "sub_1" not in str(found[0].record)
        assert (found[0].subject, found[0].identity) == ("sub_1", "https://idp alice")
        assert (found[2].subject, found[2].identity) == ("sub_2", None)

    def test_an_identity_may_come_later(self, audit: AuditStore) -> None:
        """It is a line of its own in the spool."""
        audit.append([an_event(subject="sub_1")])
        audit.append([an_event(subject="sub_1")], identities={"sub_1": "alice"})
        assert {one.identity for one in audit.find()} == {"alice"}

    def test_records_are_found_by_what_they_say(self, audit: AuditStore) -> None:
        """The newest so many, oldest first."""
        audit.append(
            [
                an_event("key.created", at=NOON, subject="a"),
                an_event("key.revoked", at=NOON + DAY, subject="b", tenant="narrow"),
                an_event("keyboard", at=NOON + 2 * DAY, subject="a"),
            ]
        )
        alias = audit.find()[0].record.subject
        assert _numbers(audit.find(event="key")) == [1, 2]
        assert _numbers(audit.find(event="key.created")) == [1]
        assert _numbers(audit.find(subject="a")) == _numbers(audit.find(subject=alias)) == [1, 3]
        assert _numbers(audit.find(tenant="narrow")) == [2]
        assert _numbers(audit.find(since=NOON + DAY, until=NOON + 2 * DAY)) == [2]
        assert _numbers(audit.find(limit=2)) == [2, 3]

    def test_who_is_erased_is_nobody_and_the_proof_stays(self, audit: AuditStore) -> None:
        """The erasure itself is in the log; they come back as somebody else."""
        audit.append([an_event(subject="sub_1")], identities={"sub_1": "alice"})
        alias = audit.erase("sub_1", event=an_event(EventName.ERASED, subject=None))
        found = audit.find()
        assert (found[0].record.subject, found[0].subject, found[0].identity) == (alias, None, None)
        assert found[1].record.detail["alias"] == alias
        assert checked(audit).verdict is Verdict.PASS
        audit.append([an_event(subject="sub_1")])
        assert audit.find()[2].record.subject != alias

    def test_somebody_is_erased_by_the_alias_too(self, audit: AuditStore) -> None:
        """Whoever reads the log knows no more."""
        audit.append([an_event(subject="sub_1")])
        alias = audit.find()[0].record.subject
        assert alias is not None
        assert audit.erase(alias, event=an_event(EventName.ERASED)) == alias
        assert audit.erase("nobody", event=an_event(EventName.ERASED)) is None

    def test_retention_deletes_whole_days_from_the_start(self, audit: AuditStore) -> None:
        """Only up to the first record that is young: the chain has no holes."""
        times = (NOON, NOON + DAY, NOON + 9 * DAY, NOON + 2 * DAY, NOON + 9 * DAY)
        audit.append([an_event(at=at, subject=f"s{n}") for n, at in enumerate(times)])
        through = audit.prunable(NOON + 5 * DAY)
        assert through is not None
        assert through.number == 2
        assert audit.prune(through, event=an_event(EventName.PRUNED, at=NOON + 9 * DAY)) == 2
        assert _numbers(audit.find()) == [3, 4, 5, 6]
        assert audit.find()[-1].record.detail["through"] == 2
        assert checked(audit).verdict is Verdict.PASS
        assert audit.find(subject="s2")
        assert audit.erase("s1", event=an_event(EventName.ERASED)) is None

    def test_retention_never_deletes_the_newest_record(self, audit: AuditStore) -> None:
        """Where the log ends stays provable."""
        assert audit.prunable(NOON + DAY) is None
        audit.append([an_event(), an_event()])
        through = audit.prunable(NOON + 99 * DAY)
        assert through is not None
        assert through.number == 1

    def test_a_stretch_is_deleted_once(self, audit: AuditStore) -> None:
        """Two commands at once."""
        audit.append([an_event(), an_event(), an_event()])
        through = audit.prunable(NOON + DAY)
        assert through is not None
        assert audit.prune(through, event=an_event(EventName.PRUNED)) == 2
        assert audit.prune(through, event=an_event(EventName.PRUNED)) == 0


def _numbers(found: Sequence[Named]) -> list[int]:
    return [one.record.number for one in found]
