"""AWS Secrets Manager is moto's server here: the protocol is real, the permissions are not."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from greenlight.adapters.secrets_manager import fetch_secret
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.core.settings import Settings
from greenlight.entrypoints import gateway_access
from greenlight.testing.servers import free_port

PREFIX = "greenlight/test"
"""Of this module: moto keeps what one server was told for the next."""
GOOD = "a-secret-that-is-long-enough"


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def keep(endpoint: str, name: str, **value: str | bytes) -> None:
    boto3.client("secretsmanager", endpoint_url=endpoint).create_secret(
        Name=f"{PREFIX}/{name}", **value
    )


def test_a_secret_is_read_by_prefix_and_name(endpoint: str) -> None:
    keep(endpoint, "plain", SecretString=f"{GOOD}\n")
    assert fetch_secret(PREFIX, "plain", endpoint=endpoint) == GOOD


def test_a_secret_that_is_not_there_is_named_with_what_to_do(endpoint: str) -> None:
    with pytest.raises(ConfigError, match=r"greenlight/test/none.*GetSecretValue"):
        fetch_secret(PREFIX, "none", endpoint=endpoint)


def test_a_binary_secret_is_refused(endpoint: str) -> None:
    keep(endpoint, "binary", SecretBinary=b"\x00\x01")
    with pytest.raises(ConfigError, match="binary or empty"):
        fetch_secret(PREFIX, "binary", endpoint=endpoint)


def test_a_service_that_is_away_can_be_tried_again(endpoint: str) -> None:
    with pytest.raises(UnavailableError, match="does not answer"):
        fetch_secret(PREFIX, "x", endpoint=f"http://127.0.0.1:{free_port()}")


def test_the_gateway_reads_its_secrets_there_and_refuses_weak_ones(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint)
    keep(endpoint, gateway_access.PEPPER, SecretString=GOOD)
    keep(endpoint, gateway_access.AUDIT, SecretString="weak")
    settings = Settings(home=tmp_path, aws_secrets=PREFIX)
    assert gateway_access.load(settings, gateway_access.PEPPER) == GOOD
    with pytest.raises(ConfigError, match="greenlight/test/gateway_audit has 4 characters"):
        gateway_access.load(settings, gateway_access.AUDIT)
