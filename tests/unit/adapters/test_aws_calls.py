import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
)
from botocore.parsers import ResponseParserError

from greenlight.adapters.aws_calls import aws_errors, open_aws
from greenlight.core.errors import ConfigError, UnavailableError


def refused(code, status=400):
    response = {
        "Error": {"Code": code, "Message": "because"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "GetCostAndUsage")


@pytest.mark.parametrize(
    ("error", "ours", "says"),
    [
        (refused("AccessDeniedException"), ConfigError, "refuses ce:Get.*let this machine's role"),
        (refused("Throttling"), UnavailableError, "could not do ce:Get now"),
        (refused("NeverHeardOf", status=503), UnavailableError, "could not do"),
        (refused("NeverHeardOf"), ConfigError, "refuses"),
        (EndpointConnectionError(endpoint_url="x"), UnavailableError, "does not answer"),
        (ConnectTimeoutError(endpoint_url="x"), UnavailableError, "does not answer"),
        (ResponseParserError("<html>a proxy's own page"), UnavailableError, "does not answer"),
        (refused("NeverHeardOf", status=429), UnavailableError, "could not do"),
        (refused("RequestThrottled", status=403), UnavailableError, "could not do"),
        (NoCredentialsError(), ConfigError, "can't be asked for ce:Get.*credentials"),
    ],
)
def test_an_error_says_what_the_caller_should_do(error, ours, says):
    with pytest.raises(ours, match=says), aws_errors("ce", "ce:Get"):
        raise error


def test_other_errors_pass_as_they_are():
    with pytest.raises(KeyError), aws_errors("ce", "ce:Get"):
        raise KeyError("a bug")


def test_a_client_waits_a_bounded_time_and_asks_nobody_when_opened():
    client = open_aws("ce", region="us-east-1", endpoint="http://127.0.0.1:1")
    assert client.meta.config.read_timeout == 20
    with pytest.raises(ConfigError, match="can't be asked for open"):
        open_aws("nonsense", region="us-east-1")
