import pytest

from greenlight.gateway.credentials import bearer_of, narrowed, refused
from greenlight.gateway.refusals import Refusal


@pytest.mark.parametrize(
    "header", ["Bearer abc", "bearer abc", "BEARER abc", "Bearer  abc", "Bearer abc "]
)
def test_the_credential_is_what_follows_bearer(header):
    assert bearer_of(header) == "abc"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "abc", "Bearerabc"])
def test_without_a_credential_the_refusal_says_how_to_send_one(header):
    refusal = bearer_of(header)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.headers) == (401, {"WWW-Authenticate": "Bearer"})


def test_a_credential_that_was_presented_is_told_to_be_invalid():
    assert refused("so").headers == {"WWW-Authenticate": 'Bearer error="invalid_token"'}


@pytest.mark.parametrize(
    ("asked", "most", "kept"),
    [
        (["chat", "models"], ["chat"], {"chat"}),
        (["chat", "openid"], ["chat", "model:*"], {"chat"}),
        (["model:a", "model:b"], ["model:a"], {"model:a"}),
        (["model:a"], ["model:*"], {"model:a"}),
        (["model:*"], ["model:a", "chat"], {"model:a"}),
        (["model:*"], ["model:*"], {"model:*"}),
        (["model:"], ["model:*"], set()),
        (["model:*"], ["chat"], set()),
        ([""], ["chat"], set()),
        ([], ["chat"], set()),
    ],
)
def test_a_credential_carries_what_it_asks_for_and_its_tenant_may(asked, most, kept):
    assert narrowed(asked, most=most) == kept
