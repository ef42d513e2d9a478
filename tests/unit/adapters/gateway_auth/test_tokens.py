"""What is remembered of a token, and for how long."""

import pytest
from token_worlds import KEYS, NOW, World, claims, public, token

from greenlight.adapters.gateway_auth.jwt import trusted_issuers
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.gateway.principals import CredentialKind, Principal
from greenlight.testing.gateway_access import ISSUER, a_gateway
from greenlight.testing.manual_clock import ManualClock
from greenlight.testing.oidc_issuer import new_key, sign

MADE_UP = sign(claims(), new_key("ES256", "made-up"))


def test_a_token_says_who_of_which_tenant_with_which_scopes():
    found = World().ask(token(scope="chat model:small openid cache:bypass"))
    assert found.kind is CredentialKind.TOKEN
    assert (found.tenant, found.scopes) == ("acme", {"chat", "model:small"})
    assert found.expires_at.timestamp() == NOW + 300


def test_who_it_is_is_told_to_the_audit_log_and_not_to_the_subject():
    world = World()
    found = world.ask(token())
    assert world.identified == [(found.subject, f"{ISSUER} alice@example.com")]
    assert "alice" not in found.subject


def test_the_second_request_of_a_token_costs_no_signature():
    world = World()
    text = token()
    first = world.ask(text)
    assert world.ask(text) is first
    assert world.identified == [(first.subject, f"{ISSUER} alice@example.com")]


def test_a_known_token_ends_when_it_expires():
    world, text = World(), token(exp=NOW + 20)
    assert isinstance(world.ask(text), Principal)
    world.clock.advance(20 + 30)  # the leeway
    assert "expired" in world.ask(text).message


def test_a_token_in_its_leeway_is_accepted_and_not_remembered():
    world, text = World(), token(exp=NOW - 10)
    assert isinstance(world.ask(text), Principal)
    assert world.ask(text) is not world.ask(text)


def test_a_known_token_is_checked_again_after_a_minute():
    world, text = World(), token()
    first = world.ask(text)
    world.clock.advance(59)
    assert world.ask(text) is first
    world.clock.advance(1)
    assert world.ask(text) is not first


def test_a_known_token_ends_with_its_key():
    world, text = World(), token("RS256")
    assert isinstance(world.ask(text), Principal)
    world.published = public(KEYS["ES256"])
    world.clock.advance(11)
    world.ask(MADE_UP)  # so that the set is read again
    assert "`kid`" in world.ask(text).message


def test_another_tokens_key_going_away_ends_nobody_else():
    world, text = World(), token("ES256")
    world.ask(text)
    world.published = public(KEYS["ES256"])
    world.clock.advance(11)
    world.ask(MADE_UP)
    assert world.questions == 2
    assert isinstance(world.ask(text), Principal)


def test_only_so_many_tokens_are_remembered():
    world = World(most_known=2)
    texts = [token(sub=f"s{number}") for number in range(3)]
    found = [world.ask(text) for text in texts]
    assert world.ask(texts[2]) is found[2]
    assert world.ask(texts[0]) is not found[0]


def test_a_refused_token_is_not_remembered():
    world, text = World(), token(nbf=NOW + 60)
    assert "`nbf`" in world.ask(text).message
    world.clock.advance(60)
    assert isinstance(world.ask(text), Principal)


def test_while_the_keys_cannot_be_read_nobody_is_judged():
    world = World()
    world.published = None
    with pytest.raises(UnavailableError, match=r"login\.example"):
        world.ask(token())


def test_an_issuer_is_trusted_once():
    one = {"issuer": ISSUER, "audience": "a"}
    assert set(trusted_issuers(a_gateway(issuers=(one,)), clock=ManualClock())) == {ISSUER}
    with pytest.raises(ConfigError, match=r"login\.example is there twice"):
        trusted_issuers(a_gateway(issuers=(one, one | {"audience": "b"})), clock=ManualClock())


def test_a_fixed_tenant_needs_no_claim_and_believes_none():
    world = World(issuer={"tenant": "narrow"})
    assert world.ask(token(tenant="acme")).tenant == "narrow"
    assert world.ask(token(tenant=None)).tenant == "narrow"
