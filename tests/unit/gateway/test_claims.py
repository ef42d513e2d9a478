"""The rules themselves; tests/unit/adapters/gateway_auth/test_jwt_attacks.py has signed tokens."""

import pytest

from greenlight.gateway.claims import principal_of, pseudonym
from greenlight.gateway.gateway_file import Issuer
from greenlight.gateway.principals import Principal
from greenlight.testing.gateway_access import AUDIENCE, ISSUER, a_gateway
from greenlight.testing.manual_clock import NOON

NOW = NOON.timestamp()
SECRET = b"a secret for pseudonyms"


def judge(header=None, *, issuer=None, gateway=None, **changes):
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": NOW + 60, "tenant": "acme"}
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    return principal_of(
        {"typ": "at+jwt"} if header is None else header,
        claims,
        issuer=Issuer.model_validate({"issuer": ISSUER, "audience": AUDIENCE} | (issuer or {})),
        gateway=gateway or a_gateway(),
        pseudonyms=SECRET,
        now=NOON,
    )


def accepted(*arguments, **changes):
    return isinstance(judge(*arguments, **changes), Principal)


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW - 29},
        {"exp": NOW + 0.5},
        {"nbf": NOW + 30},
        {"iat": NOW + 30},
        {"aud": [AUDIENCE]},
        {"aud": ["other", AUDIENCE]},
        {"sub": "s" * 255},
        {"sub": "Zoë Ångström"},
    ],
)
def test_what_is_just_inside_a_limit_is_accepted(changes):
    assert accepted(**changes)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"exp": NOW - 30}, "expired"),
        ({"nbf": NOW + 31}, "`nbf` is in the future"),
        ({"iat": NOW + 31}, "`iat` is in the future"),
        ({"aud": "other"}, "`aud`"),
        ({"iss": "https://other.example"}, "`iss`"),
        ({"sub": "s" * 256}, "`sub`"),
        ({"tenant": "nobody"}, "tenant"),
    ],
)
def test_what_is_just_outside_is_refused_with_its_rule(changes, rule):
    refusal = judge(**changes)
    assert rule in refusal.message
    assert (refusal.status, refusal.code) == (401, "invalid_token")


def test_a_token_without_a_type_is_taken_for_a_jwt():
    assert accepted({})
    assert not accepted({}, issuer={"types": ["at+jwt"]})


def test_the_leeway_is_the_issuers():
    assert not accepted(exp=NOW - 1, issuer={"leeway_s": 0})
    assert accepted(exp=NOW - 100, issuer={"leeway_s": 300})


@pytest.mark.parametrize("scopes", ["chat models", ["chat", "models"], ["chat", "models", 7]])
def test_scopes_are_words_or_a_list(scopes):
    assert judge(scope=scopes).scopes == {"chat", "models"}


@pytest.mark.parametrize("scopes", [None, "", 7, {"chat": True}, []])
def test_without_scopes_a_token_is_accepted_and_opens_nothing(scopes):
    assert judge(scope=scopes).scopes == frozenset()


def test_scopes_may_be_in_another_claim():
    assert judge(scp="chat", issuer={"scope_claim": "scp"}).scopes == {"chat"}


def test_a_token_carries_no_more_than_its_tenant_may():
    found = judge(tenant="narrow", scope="chat models model:*")
    assert found.scopes == {"chat", "model:small"}


def test_the_tenant_may_be_in_another_claim():
    assert judge(tenant=None, org="acme", issuer={"tenant_claim": "org"}).tenant == "acme"


def test_a_fixed_tenant_that_is_gone_is_no_tenant():
    refusal = judge(issuer={"tenant": "gone"})
    assert "its issuer's `tenant`" in refusal.message


def test_a_subject_is_stable_and_tells_nothing():
    assert judge().subject == judge(aud=[AUDIENCE]).subject
    assert "alice" not in judge().subject


def test_subjects_differ_by_issuer_by_sub_and_by_secret():
    found = {
        pseudonym(issuer, sub, secret=secret)
        for issuer in ("https://a", "https://b")
        for sub in ("x", "y")
        for secret in (b"1", b"2")
    }
    assert len(found) == 8
