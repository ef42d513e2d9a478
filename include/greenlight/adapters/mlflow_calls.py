"""One way to call MLflow: its failures become ours, and a server that is away is asked again."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import requests
import tenacity
from mlflow.environment_variables import (
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR,
    MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR,
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
)
from mlflow.exceptions import MlflowException

from greenlight.core.errors import ConfigError, GreenlightError, InputError, UnavailableError

P = ParamSpec("P")
T = TypeVar("T")

NOT_FOUND = "RESOURCE_DOES_NOT_EXIST"
EXISTS = "RESOURCE_ALREADY_EXISTS"
REFUSED = frozenset({"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"})
WRONG = frozenset({"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE", "MALFORMED_REQUEST"})
HTTP_RETRIES = 1


def configure_client() -> None:
    """Make MLflow's library behave in a service, where the operator did not choose otherwise.

    By default it repeats a refused connection seven times with a doubling pause: four minutes in
    which nobody knows what is going on. `MlflowCalls` retries outside, and says so. And it prints
    progress bars and addresses, the latter to standard output, where a program expects JSON.
    """
    for variable, value in (
        (MLFLOW_HTTP_REQUEST_MAX_RETRIES, HTTP_RETRIES),
        (MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR, 1),
        (MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR, False),
        (MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT, True),
    ):
        if not variable.is_set():
            variable.set(value)


class MlflowCalls:
    """Calls a function of the client. `attempts` counts tries of an idempotent call."""

    def __init__(self, url: str, *, attempts: int, wait_s: float) -> None:
        self._url = url
        self._attempts = attempts
        self._wait_s = wait_s

    def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call an idempotent function, again when MLflow is away.

        Raises:
            UnavailableError: it is still away after the last attempt.
            InputError: MLflow refused what it was given.
            ConfigError: MLflow does not let us in.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(UnavailableError),
            stop=tenacity.stop_after_attempt(self._attempts),
            wait=tenacity.wait_exponential(multiplier=self._wait_s, max=10),
            reraise=True,
        )
        return retrying(self.once, function, *args, **kwargs)

    def once(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that would do its work twice if repeated."""
        try:
            return function(*args, **kwargs)
        except MlflowException as error:
            raise self._ours(error) from error
        except requests.RequestException as error:
            raise UnavailableError(f"MLflow at {self._url} did not answer: {error}") from error

    def or_none(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Call an idempotent function; what does not exist is `None`."""

        def call() -> T | None:
            try:
                return function(*args, **kwargs)
            except MlflowException as error:
                if error.error_code == NOT_FOUND:
                    return None
                raise

        return self(call)

    def unless_there(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call a function that creates something; that it exists already is fine."""

        def call() -> None:
            try:
                function(*args, **kwargs)
            except MlflowException as error:
                if error.error_code != EXISTS:
                    raise

        self(call)

    def _ours(self, error: MlflowException) -> GreenlightError:
        if error.error_code == NOT_FOUND or error.error_code in WRONG:
            return InputError(f"MLflow at {self._url} refused: {error.message}")
        if error.error_code in REFUSED:
            return ConfigError(f"MLflow at {self._url} does not let us in: {error.message}")
        return UnavailableError(f"MLflow at {self._url} failed: {error.message}")
