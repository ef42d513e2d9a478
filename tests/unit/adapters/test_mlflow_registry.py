import time

import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes

from greenlight.adapters.mlflow_calls import MlflowCalls
from greenlight.adapters.mlflow_registry import DESCRIPTION_LIMIT, MlflowRegistry, shortened
from greenlight.core.errors import ConfigError, InputError, UnavailableError
from greenlight.testing.servers import free_port


class Flaky:
    """Fails so many times, then answers."""

    def __init__(self, error, *, times):
        self.error, self.times, self.calls = error, times, 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "answer"


@pytest.fixture
def calls():
    return MlflowCalls("http://mlflow", attempts=3, wait_s=0)


@pytest.mark.parametrize(
    "error",
    [
        MlflowException("API request failed with exception …"),
        MlflowException("busy", error_code=codes.TEMPORARILY_UNAVAILABLE),
        requests.ConnectionError("reset"),
        requests.HTTPError("502"),
    ],
)
def test_a_server_that_comes_back_is_not_noticed(calls, error):
    flaky = Flaky(error, times=2)
    assert calls(flaky) == "answer"
    assert flaky.calls == 3


def test_a_server_that_stays_away_may_be_tried_again_later(calls):
    flaky = Flaky(requests.ConnectionError("refused"), times=9)
    with pytest.raises(UnavailableError, match="MLflow at http://mlflow did not answer"):
        calls(flaky)
    assert flaky.calls == 3


@pytest.mark.parametrize(
    ("code", "ours"),
    [
        (codes.INVALID_PARAMETER_VALUE, InputError),
        (codes.RESOURCE_DOES_NOT_EXIST, InputError),
        (codes.PERMISSION_DENIED, ConfigError),
        (codes.UNAUTHENTICATED, ConfigError),
    ],
)
def test_a_refusal_is_not_repeated(calls, code, ours):
    flaky = Flaky(MlflowException("no", error_code=code), times=9)
    with pytest.raises(ours):
        calls(flaky)
    assert flaky.calls == 1


def test_what_creates_something_is_called_once(calls):
    flaky = Flaky(requests.ConnectionError("reset"), times=1)
    with pytest.raises(UnavailableError):
        calls.once(flaky)
    assert flaky.calls == 1


def test_what_does_not_exist_is_none(calls):
    missing = MlflowException("no", error_code=codes.RESOURCE_DOES_NOT_EXIST)
    assert calls.or_none(Flaky(missing, times=9)) is None


def test_what_exists_already_needs_no_creating(calls):
    there = MlflowException("yes", error_code=codes.RESOURCE_ALREADY_EXISTS)
    calls.unless_there(Flaky(there, times=9))


def test_a_registry_that_is_away_says_so_within_seconds():
    url = f"http://127.0.0.1:{free_port()}"
    began = time.monotonic()
    with pytest.raises(UnavailableError, match=url):
        MlflowRegistry(url, attempts=2, wait_s=0.1).models()
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("name", ["", "a/b", "a b", "it's", "x" * 101, "-x"])
def test_a_name_that_could_break_a_filter_or_an_address_is_refused(name):
    with pytest.raises(InputError, match="model name"):
        MlflowRegistry("http://127.0.0.1:1").versions(name)


def test_a_description_that_is_too_long_ends_at_a_line_and_says_so():
    text = "\n".join(f"| line {n} |" for n in range(1000))
    short = shortened(text)
    assert len(short) <= DESCRIPTION_LIMIT
    assert short.endswith("|\n\n*(shortened: the evidence holds the rest)*")
    assert shortened("fits") == "fits"


def test_links_lead_where_people_reach_mlflow():
    links = [
        MlflowRegistry("http://mlflow:5000/", ui_url=ui).version_url("a model", 2)
        for ui in (None, "https://mlflow.example.org/")
    ]
    assert links == [
        "http://mlflow:5000/#/models/a%20model/versions/2",
        "https://mlflow.example.org/#/models/a%20model/versions/2",
    ]
