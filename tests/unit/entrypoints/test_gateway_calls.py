from __future__ import annotations

import json

import pytest

from greenlight.entrypoints.gateway.calls import Admitted, Call
from greenlight.gateway.gateway_file import RequestBounds, ServedModel
from greenlight.gateway.limits import Charge
from greenlight.gateway.principals import CredentialKind, Principal, Route
from greenlight.gateway.refusals import Refusal
from greenlight.gateway.stream_meter import Usage
from greenlight.gateway.validation import Checked, Room, check

PRICE = {"input_per_million": 1.0, "output_per_million": 2.0}
SECRET = "what nobody may read later"


def admitted(*, stream: bool = False, n: int = 1) -> Admitted:
    messages = [{"role": "user", "content": SECRET}]
    body = json.dumps({"model": "m", "messages": messages, "stream": stream, "n": n}).encode()
    checked = check(body, route=Route.CHAT, bounds=RequestBounds())
    assert isinstance(checked, Checked)
    return Admitted(
        principal=Principal(
            kind=CredentialKind.API_KEY, subject="k", tenant="t", scopes=frozenset()
        ),
        model=ServedModel.model_validate(
            {"name": "m", "upstream": "http://h", "fleet": "f", "context": 999, "price": PRICE}
        ),
        checked=checked,
        room=Room(prompt=10, answer=100, answers=n),
        reservation=None,
    )


def call(**known: object) -> Call:
    found = Call(route=Route.CHAT, asked_engine=True)
    for name, value in known.items():
        setattr(found, name, value)
    return found


def test_an_answer_costs_what_the_engine_says() -> None:
    used = call(used=Usage(prompt=11, answer=7))
    assert used.charge(admitted()) == Charge(tokens=18, spend=25)


def test_an_answer_from_the_cache_costs_nothing() -> None:
    assert call(asked_engine=False).charge(admitted()) == Charge(tokens=0)


def test_a_failure_costs_nothing() -> None:
    assert call(failed=True).charge(admitted()) == Charge(tokens=0)


def test_a_stream_that_was_cut_costs_what_came() -> None:
    cut = call(cut="client", events=5)
    assert cut.charge(admitted(stream=True)) == Charge(tokens=15, spend=20)


@pytest.mark.parametrize("answers", [1, 3])
def test_an_answer_nobody_waited_for_costs_what_was_reserved(answers: int) -> None:
    expected = Charge(tokens=10 + 100 * answers, spend=10 + 200 * answers)
    assert call(cut="client").charge(admitted(n=answers)) == expected


def test_a_record_says_who_what_and_how_much_and_never_a_text() -> None:
    allowed = admitted()
    made = call(
        principal=allowed.principal, admitted=allowed, used=Usage(prompt=11, answer=7),
        colour="blue",
    )  # fmt: skip
    record = made.record(request_id="r", trace_id="t1", status=200, seconds=1.23456)
    assert record == {
        "request_id": "r", "trace_id": "t1", "route": "chat", "status": 200, "decision": "served",
        "seconds": 1.2346, "cache": "none", "subject": "k", "tenant": "t", "model": "m",
        "prompt_tokens": 11, "answer_tokens": 7, "colour": "blue",
    }  # fmt: skip
    assert SECRET not in json.dumps(record)


def test_a_span_has_names_and_numbers_and_never_a_text() -> None:
    allowed = admitted()
    made = call(
        principal=allowed.principal, admitted=allowed, used=Usage(prompt=11, answer=7),
        colour="blue",
    )  # fmt: skip
    facts = made.facts(path="/v1/chat/completions", status=200)
    assert facts["gen_ai.usage.output_tokens"] == 7
    assert facts["greenlight.tenant"] == "t"
    assert "k" not in facts.values()  # who asked is in the audit log, where it can be erased
    assert SECRET not in json.dumps(facts)


@pytest.mark.parametrize(
    ("status", "code", "cut", "expected"),
    [
        (200, None, None, None),
        (200, None, "engine", "stream_cut"),
        (499, None, "client", None),
        (429, "rate_limit_exceeded", None, None),
        (503, "circuit_open", None, "circuit_open"),
        (500, None, None, "500"),
    ],
)
def test_only_what_goes_wrong_on_this_side_is_a_failure(
    status: int, code: str | None, cut: str | None, expected: str | None
) -> None:
    refusal = Refusal(status=status, code=code, message="because") if code else None
    assert Call(route=Route.CHAT, refusal=refusal, cut=cut).failure(status) == expected


def test_a_record_says_why_a_request_was_refused() -> None:
    refused = Call(route=Route.CHAT, refusal=Refusal(status=401, code="no", message="because"))
    record = refused.record(request_id="r", trace_id="t1", status=401, seconds=0)
    assert (record["decision"], record["code"]) == ("refused", "no")
    assert "subject" not in record
