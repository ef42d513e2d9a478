"""Whether the audit log is what was written: the first break, and what kind it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from greenlight.core.types import JsonDict
from greenlight.gateway.audit import (
    GENESIS,
    Anchor,
    AnchorKind,
    Record,
    is_signed,
    record_hash,
)

MOVED_BY = 10_000
"""How far from its place a moved record is looked for."""


class BreakKind(StrEnum):
    """What was done to the log."""

    EDITED = "edited"
    """A record's content is not what was written, its hash is."""
    DELETED = "deleted"
    """Records are missing, in the middle or at the end."""
    REORDERED = "reordered"
    """A genuine record stands in another's place."""
    FORGED = "forged"
    """A record or an anchor was not made with the secret."""


class Verdict(StrEnum):
    """What a check found."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    EMPTY = "empty"
    """There is nothing to check, which proves nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """The first place where the log is not what was written."""

    kind: BreakKind
    first: int
    last: int
    says: str

    def __str__(self) -> str:
        """Return the sentence for a person."""
        where = f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"
        return f"record {where}: {self.kind}: {self.says}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """A check from the oldest record to the newest."""

    verdict: Verdict
    records: int
    """How many were found to be right."""
    last: int
    """The number of the last one that was."""
    finding: Break | None = None

    def to_json(self) -> JsonDict:
        """Return it for `--json` and the evidence pack."""
        return {
            "verdict": str(self.verdict),
            "records": self.records,
            "last": self.last,
            "kind": str(self.finding.kind) if self.finding else None,
            "finding": str(self.finding) if self.finding else None,
        }


def verify(
    records: Iterable[Record],
    *,
    head: Anchor | None,
    pruned: Anchor | None,
    secret: str,
    witnesses: Iterable[Anchor] = (),
) -> Verification:
    """Check every record in the order of numbers, then the end.

    `witnesses`: heads that were kept outside of the database.
    """
    check = _Check(secret=secret, head=head, pruned=pruned, witnesses=tuple(witnesses))
    finding = check.anchors() or check.chain(records) or check.end()
    checked = Verdict.PASS if check.seen else Verdict.EMPTY
    verdict = Verdict.FAIL if finding else checked
    return Verification(verdict=verdict, records=check.seen, last=check.number, finding=finding)


class _Check:
    """Walks along the chain; `number` and `previous` are those of the last good record."""

    def __init__(
        self, *, secret: str, head: Anchor | None, pruned: Anchor | None,
        witnesses: tuple[Anchor, ...],
    ) -> None:  # fmt: skip
        self._secret, self._head, self._pruned = secret, head, pruned
        self._witnesses = {witness.number: witness for witness in witnesses}
        self.seen = 0
        self.number, self.previous = (pruned.number, pruned.hash) if pruned else (0, GENESIS)

    def anchors(self) -> Break | None:
        """Check the signatures of everything that isn't a record."""
        named = [(self._head, AnchorKind.HEAD), (self._pruned, AnchorKind.PRUNED)]
        named += [(witness, AnchorKind.HEAD) for witness in self._witnesses.values()]
        for anchor, kind in named:
            if anchor and (anchor.kind is not kind or not is_signed(anchor, secret=self._secret)):
                return _break(
                    BreakKind.FORGED, anchor.number,
                    f"the signed {kind} was not made with this gateway_audit secret",
                )  # fmt: skip
        return None

    def chain(self, records: Iterable[Record]) -> Break | None:
        """Check record after record."""
        for record, following in _pairs(records):
            if finding := self._place(record) or self._content(record, following):
                return finding
            self.number, self.previous = record.number, record.hash
            self.seen += 1
            if finding := self._against_anchors(record):
                return finding
        return None

    def end(self) -> Break | None:
        """Check that the last record is the last one that was written."""
        newest = max((a.number for a in (self._head, *self._witnesses.values()) if a), default=0)
        if newest > self.number:
            return _break(
                BreakKind.DELETED, self.number + 1,
                f"the log ends at {self.number}, but its signed end was at {newest}",
                last=newest,
            )  # fmt: skip
        if self.number and (self._head is None or self._head.number < self.number):
            after = self._head.number + 1 if self._head else 1
            return _break(
                BreakKind.DELETED, after, "the signed end of the log is gone or was set back",
                last=self.number,
            )  # fmt: skip
        return None

    def _place(self, record: Record) -> Break | None:
        expected = self.number + 1
        if record.number > expected:
            return _break(
                BreakKind.DELETED, expected, f"missing between {self.number} and {record.number}",
                last=record.number - 1,
            )  # fmt: skip
        if record.number < expected:
            return _break(BreakKind.REORDERED, record.number, f"it comes after {self.number}")
        return None

    def _content(self, record: Record, following: Record | None) -> Break | None:
        if record_hash(record, secret=self._secret) == record.hash:
            if record.previous == self.previous:
                return None
            return _break(
                BreakKind.REORDERED, record.number,
                f"it is genuine, but it followed another record {self.number} than this one",
            )  # fmt: skip
        if place := self._true_place(record):
            return _break(BreakKind.REORDERED, record.number, f"it was written as {place}")
        if self._hash_is_genuine(record, following):
            return _break(BreakKind.EDITED, record.number, "its content is not what was written")
        return _break(BreakKind.FORGED, record.number, "its hash was not made with the secret")

    def _true_place(self, record: Record) -> int | None:
        """Return the number under which a record would be genuine."""
        near = range(max(1, record.number - MOVED_BY), record.number + MOVED_BY)
        for number in near:
            if record_hash(record, secret=self._secret, number=number) == record.hash:
                return number
        return None

    def _hash_is_genuine(self, record: Record, following: Record | None) -> bool:
        """Return whether somebody who had the secret once named this hash."""
        if any(anchor.hash == record.hash for anchor in self._anchors_at(record)):
            return True
        return (
            following is not None
            and following.previous == record.hash
            and record_hash(following, secret=self._secret) == following.hash
        )

    def _against_anchors(self, record: Record) -> Break | None:
        for anchor in self._anchors_at(record):
            if anchor.hash != record.hash:
                return _break(
                    BreakKind.REORDERED, record.number,
                    "it is genuine, but not the one that was signed as the end of the log",
                )  # fmt: skip
        return None

    def _anchors_at(self, record: Record) -> list[Anchor]:
        found = [self._head, self._witnesses.get(record.number)]
        return [anchor for anchor in found if anchor and anchor.number == record.number]


def _break(kind: BreakKind, first: int, says: str, *, last: int | None = None) -> Break:
    return Break(kind=kind, first=first, last=first if last is None else last, says=says)


def _pairs(records: Iterable[Record]) -> Iterator[tuple[Record, Record | None]]:
    before: Record | None = None
    for record in records:
        if before is not None:
            yield before, record
        before = record
    if before is not None:
        yield before, None
