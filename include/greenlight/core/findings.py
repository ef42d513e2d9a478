"""What a check of a set-up found: an answer with its evidence, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from greenlight.core.errors import GreenlightError
from greenlight.core.types import JsonDict


class Answer(StrEnum):
    """How a check ended. `UNKNOWN`: it could not be made, which is no pass."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the answer. `part`: what was looked at; `fix`: what to do, unless it is ok."""

    part: str
    answer: Answer
    evidence: str
    fix: str = ""

    def to_json(self) -> JsonDict:
        """Return plain JSON."""
        return asdict(self)


Check = Callable[[], Iterable[Finding]]
"""Looks at one part of a set-up."""


def look(part: str, check: Check) -> Iterator[Finding]:
    """Yield what a check finds. One that can't be made says why; what it found so far stays."""
    try:
        yield from check()
    except GreenlightError as error:
        yield Finding(
            part=part,
            answer=Answer.UNKNOWN,
            evidence=str(error),
            fix="repair that, and look again",
        )


def worst(findings: Sequence[Finding]) -> Answer:
    """Return the answer to the whole: nothing looked at is not known to be good."""
    order = (Answer.FAILED, Answer.UNKNOWN, Answer.WARNING, Answer.OK)
    found = {finding.answer for finding in findings}
    return next((answer for answer in order if answer in found), Answer.UNKNOWN)


def answer_if(
    part: str,
    condition: bool,
    evidence: str,
    *,
    fix: str,
    otherwise: Answer = Answer.FAILED,
) -> Finding:
    """Return ok when the condition holds, else `otherwise` with what to do."""
    if condition:
        return Finding(part=part, answer=Answer.OK, evidence=evidence)
    return Finding(part=part, answer=otherwise, evidence=evidence, fix=fix)
