"""Secrets in AWS Secrets Manager, for machines that keep none on their disk.

A secret is `PREFIX/NAME`, such as `greenlight/production/gateway_key_pepper`, with the value as its
whole string. Credentials and region are the machine's own (a role, `AWS_REGION`).
"""

from __future__ import annotations

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
)

from greenlight.core.errors import ConfigError, UnavailableError

OURS = frozenset(
    {"ResourceNotFoundException", "AccessDeniedException", "UnrecognizedClientException",
     "InvalidSignatureException", "DecryptionFailure", "InvalidRequestException"}
)  # fmt: skip
"""Codes of what an operator must mend; anything else may pass by itself."""
TIMEOUT_S = 5


def fetch_secret(prefix: str, name: str, *, endpoint: str | None = None) -> str:
    """Return a secret's value. `endpoint`: another than AWS' own, for tests.

    Raises:
        ConfigError: there is no such secret, or this machine may not read it.
        UnavailableError: the service does not answer.
    """
    where = f"{prefix}/{name}"
    config = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S)
    try:
        client = boto3.client("secretsmanager", endpoint_url=endpoint, config=config)
        found = client.get_secret_value(SecretId=where)
    except ClientError as error:
        if error.response["Error"]["Code"] in OURS:
            raise ConfigError(
                f"the secret {where} can't be read from AWS Secrets Manager: {error}; make it "
                f"there, and let this machine's role call secretsmanager:GetSecretValue for it"
            ) from error
        raise UnavailableError(f"AWS Secrets Manager refused {where} for now: {error}") from error
    except BotoCoreError as error:
        raise UnavailableError(f"AWS Secrets Manager does not answer: {error}") from error
    value = found.get("SecretString")
    if not value:
        raise ConfigError(f"the secret {where} in AWS Secrets Manager is binary or empty, not text")
    return str(value).strip()
