import asyncio

import pytest

from greenlight.adapters.gateway_auth.discovery import Discovery
from greenlight.adapters.stack.certificates import certificates_in, ensure_certificates
from greenlight.core.clock import SystemClock
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.gateway.gateway_file import Issuer
from greenlight.testing.oidc_issuer import AUDIENCE, Answer, OidcIssuer
from greenlight.testing.servers import free_port


@pytest.fixture(scope="module")
def issuer():
    with OidcIssuer() as issuer:
        yield issuer


def ask(url, *, timeout_s=5.0, **changes):
    settings = Issuer.model_validate({"issuer": url, "audience": AUDIENCE} | changes)
    return asyncio.run(Discovery(settings, timeout_s=timeout_s).key_set())


def test_the_key_set_is_found_by_discovery(issuer):
    assert [key["kid"] for key in ask(issuer.url)["keys"]] == ["key-1"]


def test_the_key_set_may_have_a_fixed_address(issuer):
    assert ask("https://login.example", jwks_url=f"{issuer.url}/keys")["keys"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer.ERROR, "HTTP 503"),
        (Answer.REDIRECT, "HTTP 302"),
        (Answer.NO_JSON, "sent no JSON"),
        (Answer.ENDLESS, "more than 262144 bytes"),
        (Answer.OTHER_ISSUER, "another `issuer`"),
    ],
)
def test_an_answer_that_is_no_key_set_is_a_failure(issuer, answer, says):
    issuer.answers = answer
    try:
        with pytest.raises(UnavailableError, match=says):
            ask(issuer.url)
    finally:
        issuer.answers = Answer.PROPERLY


def test_an_issuer_that_does_not_answer_can_be_tried_again():
    with pytest.raises(UnavailableError, match="127"):
        ask(f"http://127.0.0.1:{free_port()}")


def test_an_issuer_that_never_ends_is_not_waited_for():
    async def silent():
        server = await asyncio.start_server(lambda *_: asyncio.sleep(60), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        settings = Issuer(issuer=f"http://127.0.0.1:{port}", audience=AUDIENCE)
        with pytest.raises(UnavailableError, match="in time"):
            await Discovery(settings, timeout_s=0.2).key_set()
        server.close()

    asyncio.run(silent())


@pytest.fixture(scope="module")
def trusted(tmp_path_factory):
    """An issuer with TLS, and the authority that vouches for it."""
    found = certificates_in(tmp_path_factory.mktemp("tls"))
    ensure_certificates(found, now=SystemClock().now())
    with OidcIssuer(certificate=found.server) as issuer:
        yield issuer, found.ca


def test_an_issuer_is_trusted_by_its_authority(trusted):
    issuer, authority = trusted
    assert ask(issuer.url, ca_file=str(authority))["keys"]


def test_an_issuer_that_nobody_vouches_for_is_not_asked(trusted):
    with pytest.raises(UnavailableError, match=r"(?i)certificate"):
        ask(trusted[0].url)


def test_an_issuer_with_tls_has_its_keys_behind_tls(trusted):
    issuer, authority = trusted
    issuer.answers = Answer.PLAIN_HTTP
    try:
        with pytest.raises(UnavailableError, match="is not https"):
            ask(issuer.url, ca_file=str(authority))
    finally:
        issuer.answers = Answer.PROPERLY


def test_a_ca_that_cannot_be_read_is_a_setting_to_change(tmp_path):
    with pytest.raises(ConfigError, match="ca_file"):
        ask("https://login.example", ca_file=str(tmp_path / "none.pem"))
