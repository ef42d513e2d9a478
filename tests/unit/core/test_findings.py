"""Findings: what can't be looked at is not known, which is no pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from greenlight.core.errors import UnavailableError
from greenlight.core.findings import Answer, Finding, answer_if, look, worst


def found(answer: Answer) -> Finding:
    return Finding(part="p", answer=answer, evidence="e")


def test_a_check_that_can_not_be_made_is_unknown_and_keeps_what_it_found_before() -> None:
    def check() -> Iterator[Finding]:
        yield found(Answer.OK)
        raise UnavailableError("nobody answers")

    first, second = look("p", check)
    assert first.answer is Answer.OK
    assert (second.answer, second.evidence) == (Answer.UNKNOWN, "nobody answers")


@pytest.mark.parametrize(
    ("answers", "whole"),
    [
        ([], Answer.UNKNOWN),
        ([Answer.OK], Answer.OK),
        ([Answer.OK, Answer.WARNING], Answer.WARNING),
        ([Answer.WARNING, Answer.UNKNOWN], Answer.UNKNOWN),
        ([Answer.UNKNOWN, Answer.FAILED, Answer.OK], Answer.FAILED),
    ],
)
def test_the_whole_is_as_good_as_its_worst_part(answers: list[Answer], whole: Answer) -> None:
    assert worst([found(answer) for answer in answers]) is whole


def test_what_is_wrong_says_what_to_do_and_what_is_right_does_not() -> None:
    assert answer_if("p", True, "e", fix="do it") == found(Answer.OK)
    wrong = answer_if("p", False, "e", fix="do it", otherwise=Answer.WARNING)
    assert (wrong.answer, wrong.fix) == (Answer.WARNING, "do it")
