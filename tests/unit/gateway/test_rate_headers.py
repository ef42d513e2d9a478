import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.gateway.limits import Exceeded, Holder, Limit, LimitKind, Standing
from greenlight.gateway.rate_headers import MOST, duration, exceeded_refusal, rate_headers


def standing(kind=LimitKind.REQUESTS, *, amount=100, remaining=40, holder=Holder.KEY,
             reset_s=50.25, next_s: float | None = 1.2, subject="k-1"):  # fmt: skip
    limit = Limit(kind=kind, holder=holder, subject=subject, amount=amount)
    return Standing(limit=limit, remaining=remaining, reset_s=reset_s, next_s=next_s)


def exceeded(*standings, hit=0, asked=1, retry_after_s: float | None = 12.001):
    return Exceeded(
        limit=standings[hit].limit, asked=asked, remaining=standings[hit].remaining,
        retry_after_s=retry_after_s, standings=standings,
    )  # fmt: skip


def members(field):
    """A structured field's list as {name: {parameter: value}}, read by its grammar."""
    found = {}
    for member in field.split(", "):
        name, *parameters = re.fullmatch(r'("[a-z_-]+")((?:;[a-z]+=[^;]+)*)', member).groups()
        pairs = [one.split("=") for one in parameters[0].split(";") if one]
        found[name] = {key: value if value[0] == '"' else int(value) for key, value in pairs}
    return found


def test_every_limit_is_told_as_the_draft_says():
    headers = rate_headers(
        [
            standing(),
            standing(LimitKind.TOKENS, amount=5000, remaining=3000, next_s=0.0),
            standing(LimitKind.STREAMS, amount=4, remaining=1, next_s=None, holder=Holder.TENANT),
        ]
    )
    assert members(headers["RateLimit-Policy"]) == {
        '"key-requests_per_minute"': {"q": 100, "w": 60},
        '"key-tokens_per_minute"': {"q": 5000, "qu": '"tokens"', "w": 60},
        '"tenant-streams"': {"q": 4, "qu": '"concurrent-requests"'},
    }
    assert members(headers["RateLimit"]) == {
        '"key-requests_per_minute"': {"r": 40, "t": 2},
        '"key-tokens_per_minute"': {"r": 3000, "t": 0},
        '"tenant-streams"': {"r": 1},
    }


def test_openais_clients_are_told_the_limit_with_the_least_left():
    headers = rate_headers(
        [
            standing(amount=100, remaining=40),
            standing(amount=9, remaining=3, reset_s=0.12, holder=Holder.TENANT),
            standing(LimitKind.TOKENS, amount=5000, remaining=0, reset_s=61),
        ]
    )
    assert {k: v for k, v in headers.items() if k.startswith("x-ratelimit")} == {
        "x-ratelimit-limit-requests": "9",
        "x-ratelimit-remaining-requests": "3",
        "x-ratelimit-reset-requests": "120ms",
        "x-ratelimit-limit-tokens": "5000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "1m1s",
    }


def test_who_has_no_limits_is_told_nothing_and_nobody_is_told_money():
    assert rate_headers([]) == {}
    assert rate_headers([standing(LimitKind.SPEND_DAY)]) == {}


def test_a_number_too_large_for_a_structured_field_is_told_as_the_largest():
    headers = rate_headers([standing(LimitKind.TOKENS, amount=10**18, remaining=10**18)])
    assert f";q={MOST};" in headers["RateLimit-Policy"]
    assert f";r={MOST};" in headers["RateLimit"]


def test_a_refusal_says_limit_holder_asked_left_and_when():
    found = exceeded_refusal(
        exceeded(standing(LimitKind.TOKENS, amount=100, remaining=20), asked=50)
    )
    assert (found.status, found.code, found.kind) == (
        429,
        "rate_limit_exceeded",
        "rate_limit_error",
    )
    assert found.message == (
        "The limit tokens_per_minute of this key is 100; this request asks 50, and 20 remain. "
        "Enough is free in 12.001s."
    )
    assert found.headers["Retry-After"] == "13"
    assert "x-should-retry" not in found.headers


def test_a_tenant_is_named_and_a_key_is_not():
    """Who has the key knows it; a tenant's many keys share its limit."""
    tenant = standing(holder=Holder.TENANT, subject="acme", remaining=0)
    assert "of tenant 'acme' is 100" in exceeded_refusal(exceeded(tenant)).message
    assert "k-1" not in exceeded_refusal(exceeded(standing())).message


def test_retry_after_is_never_before_the_reset_beside_it():
    """The draft's section 4: clients obey Retry-After, so the fields must not contradict it."""
    hit = standing(remaining=0, next_s=30.0)
    found = exceeded_refusal(exceeded(standing(LimitKind.TOKENS, next_s=40), hit, hit=1))
    limits = members(found.headers["RateLimit"])
    assert limits == {'"key-requests_per_minute"': {"r": 0, "t": 13}}
    assert int(found.headers["Retry-After"]) >= 13
    assert len(members(found.headers["RateLimit-Policy"])) == 2


def test_a_call_that_alone_is_too_large_is_a_bad_request():
    """Clients send a 429 again, and it could never pass."""
    found = exceeded_refusal(
        exceeded(standing(LimitKind.TOKENS, remaining=70), asked=101, retry_after_s=None)
    )
    assert (found.status, found.code, found.param) == (400, "rate_limit_exceeded", "max_tokens")
    assert "asks 101, which is more than the whole limit: shorten the prompt" in found.message
    assert found.headers["x-should-retry"] == "false"
    assert "Retry-After" not in found.headers


@pytest.mark.parametrize("wait", [3600.0, None])
def test_money_that_is_gone_is_insufficient_quota_and_not_tried_again(wait):
    hit = standing(LimitKind.SPEND_MONTH, amount=12_500_000, remaining=1, holder=Holder.TENANT)
    found = exceeded_refusal(exceeded(hit, asked=20_000, retry_after_s=wait))
    assert (found.status, found.code) == (429, "insufficient_quota")
    assert "is 12.5; this request asks 0.02" in found.message
    assert found.headers["x-should-retry"] == "false"
    assert found.headers.get("Retry-After") == (None if wait is None else "3600")


def test_a_stream_too_many_is_told_that_nobody_knows_when():
    hit = standing(LimitKind.STREAMS, amount=2, remaining=0, next_s=None)
    found = exceeded_refusal(exceeded(hit, retry_after_s=1.0))
    assert "A place is free when another request ends." in found.message
    assert found.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (0.0004, "1ms"), (0.12, "120ms"), (1, "1s"), (8.64, "8.64s"), (60, "1m0s"),
        (90.951, "1m30.951s"), (360, "6m0s"), (3723, "1h2m3s"), (86400, "24h0m0s"),
        (0.9999, "1s"), (59.9999, "1m0s"),
    ],
)  # fmt: skip
def test_a_duration_is_written_as_openai_writes_it(seconds, text):
    assert duration(seconds) == text


@given(st.floats(min_value=0, max_value=3e6))
def test_a_duration_is_never_shorter_than_it_is(seconds):
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:([\d.]+)s)?(?:(\d+)ms)?", duration(seconds))
    hours, minutes, rest, millis = (float(part or 0) for part in parts.groups())
    told = hours * 3600 + minutes * 60 + rest + millis / 1000
    assert seconds - 1e-6 <= told <= seconds + 0.0011
