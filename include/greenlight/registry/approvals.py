"""Whether a person's decision still stands.

An approval says: this digest, on this evidence, may go live. It is no property of a version's
name: it lapses when the digest changes or the evidence grows old, and a later rejection of the
same evidence overrides it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from greenlight.core.digest import short
from greenlight.core.types import JsonDict


class Decision(StrEnum):
    """What the person said."""

    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One decision. `decided_at` is aware and in UTC; `id` is the store's, `None` before it."""

    decided_at: datetime
    decided_by: str
    decision: Decision
    reason: str
    model: str
    version: int
    digest: str
    evidence_digest: str
    id: int | None = None

    def same_as(self, other: Approval) -> bool:
        """Tell whether both say the same by the same person; the time does not matter."""
        return self._said() == other._said()

    def _said(self) -> tuple[object, ...]:
        return (
            self.model,
            self.version,
            self.digest,
            self.evidence_digest,
            self.decision,
            self.decided_by,
            self.reason,
        )

    def to_json(self) -> JsonDict:
        """Return plain JSON, the time in ISO 8601."""
        return {
            "id": self.id,
            "decided_at": self.decided_at.isoformat(),
            "decided_by": self.decided_by,
            "decision": str(self.decision),
            "reason": self.reason,
            "model": self.model,
            "version": self.version,
            "digest": self.digest,
            "evidence_digest": self.evidence_digest,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Whether a digest may go live now, and why or why not."""

    approved: bool
    reason: str
    approval: Approval | None = None


def standing(
    approvals: Sequence[Approval],
    *,
    digest: str,
    evidence_digest: str,
    evidence_created_at: datetime,
    now: datetime,
    max_age: timedelta,
) -> Standing:
    """Judge the decisions about one model against what is true now.

    The newest decision about exactly this digest and this evidence counts. Evidence exactly
    `max_age` old still counts; evidence from the future does not: a clock is wrong, and nobody
    knows which.
    """
    about = [a for a in approvals if a.digest == digest]
    if not about:
        return _nobody_decided(approvals, digest=digest)
    bound = [a for a in about if a.evidence_digest == evidence_digest]
    if not bound:
        return Standing(
            approved=False,
            reason=f"the decision of {_said_by(_newest(about))} was about other evidence than "
            f"{short(evidence_digest)}: decide again",
            approval=_newest(about),
        )
    latest = _newest(bound)
    if latest.decision is Decision.REJECTED:
        return Standing(
            approved=False,
            reason=f"rejected by {_said_by(latest)}: {latest.reason}",
            approval=latest,
        )
    age = now - evidence_created_at
    if age < timedelta(0):
        return Standing(
            approved=False,
            reason=f"the evidence is dated {evidence_created_at.isoformat()}, after now "
            f"({now.isoformat()}): a clock is wrong",
            approval=latest,
        )
    if age > max_age:
        return Standing(
            approved=False,
            reason=f"the evidence is {age / timedelta(days=1):.1f} days old, more than "
            f"{max_age / timedelta(days=1):g}: validate again",
            approval=latest,
        )
    return Standing(approved=True, reason=f"approved by {_said_by(latest)}", approval=latest)


def _nobody_decided(approvals: Sequence[Approval], *, digest: str) -> Standing:
    if not approvals:
        return Standing(approved=False, reason=f"nobody decided about digest {short(digest)}")
    latest = _newest(approvals)
    return Standing(
        approved=False,
        reason=f"the decision of {_said_by(latest)} was about digest {short(latest.digest)}, "
        f"not {short(digest)}: the model changed",
        approval=latest,
    )


def _newest(approvals: Sequence[Approval]) -> Approval:
    """Return the last decision; of two at the same instant, the one stored later."""
    return max(approvals, key=lambda a: (a.decided_at, a.id or 0))


def _said_by(approval: Approval) -> str:
    return f"{approval.decided_by} at {approval.decided_at.isoformat(timespec='seconds')}"
