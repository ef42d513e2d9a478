import asyncio

import pytest

from greenlight.adapters.gateway_auth.authenticator import CredentialAuthenticator


class Door:
    def __init__(self, name):
        self.name = name

    async def authenticate(self, bearer):
        return f"{self.name}: {bearer}"


def ask(bearer, *, keys=Door("keys"), tokens=Door("tokens")):  # noqa: B008
    return asyncio.run(CredentialAuthenticator(keys=keys, tokens=tokens).authenticate(bearer))


@pytest.mark.parametrize(
    ("bearer", "door"), [("glk_x", "keys"), ("eyJ", "tokens"), ("GLK_x", "tokens"), ("", "tokens")]
)
def test_a_key_is_told_by_its_prefix(bearer, door):
    assert ask(bearer) == f"{door}: {bearer}"


def test_what_the_file_does_not_allow_is_refused_with_what_it_allows():
    assert "send an access token" in ask("glk_x", keys=None).message
    assert "send an API key" in ask("eyJ", tokens=None).message
    assert ask("eyJ", tokens=None).status == 401
