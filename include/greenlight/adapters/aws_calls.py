"""Errors of AWS calls as ours, chosen by what the caller should do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import (  # type: ignore[import-untyped]
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
)
from botocore.exceptions import ConnectionError as ConnectingError
from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

from greenlight.core.errors import ConfigError, UnavailableError

TIMEOUT_S = 20
ATTEMPTS = 3
PASSING = frozenset(
    {"Throttling", "ThrottlingException", "RequestLimitExceeded", "LimitExceededException",
     "TooManyRequestsException", "Throttled", "RequestThrottled", "OverLimit", "RequestTimeout",
     "ServiceUnavailable", "Unavailable", "InternalError", "InternalErrorException",
     "InternalFailure", "DataUnavailableException"}
)  # fmt: skip
"""Codes of what passes by itself. `LimitExceededException` is Cost Explorer's throttling,
`RequestThrottled` that of SQS, and `OverLimit` says that SQS has handed out too many messages."""
TOO_MANY = 429
SERVER_ERROR = 500
NO_ANSWER = (ConnectingError, HTTPClientError, IncompleteReadError, ResponseParserError)
"""The last is what a proxy's own page comes to."""


def open_aws(service: str, *, region: str, endpoint: str | None = None) -> Any:
    """Open a client of a service. Credentials are the machine's own. Opening it asks nobody.

    `endpoint`: another than AWS' own, for tests.

    Raises:
        ConfigError: the region or the endpoint can't be used.
    """
    with aws_errors(service, "open"):
        return boto3.session.Session().client(
            service,
            region_name=region,
            endpoint_url=endpoint,
            config=Config(
                connect_timeout=TIMEOUT_S,
                read_timeout=TIMEOUT_S,
                retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            ),
        )


@contextmanager
def aws_errors(service: str, action: str) -> Iterator[None]:
    """Raise boto's errors as ours. `action`: as a policy names it, such as `ce:GetCostAndUsage`.

    Raises:
        UnavailableError: AWS doesn't answer, or is busy.
        ConfigError: it refuses the call, or this machine has no credentials.
    """
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in PASSING or status == TOO_MANY or status >= SERVER_ERROR:
            raise UnavailableError(f"AWS {service} could not do {action} now: {error}") from error
        raise ConfigError(
            f"AWS {service} refuses {action}: {error}; let this machine's role do it"
        ) from error
    except NO_ANSWER as error:
        raise UnavailableError(f"AWS {service} does not answer: {error}") from error
    except BotoCoreError as error:
        raise ConfigError(f"AWS {service} can't be asked for {action}: {error}") from error
