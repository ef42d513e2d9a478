"""Why a request is refused, in the shape that OpenAI's clients read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
}
"""The error type of each status; anything else is a `server_error`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A request that goes no further. The message names field, value and limit."""

    status: int
    code: str
    """For programs, such as `rate_limit_exceeded`."""
    message: str
    param: str | None = None
    """The request's field that is to blame."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """OpenAI's `type`."""
        return TYPES.get(self.status, "server_error")

    def body(self) -> bytes:
        """Return the error object that OpenAI's clients turn into an exception."""
        error = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }
        return json.dumps({"error": error}).encode()


def try_again(
    code: str,
    message: str,
    *,
    status: int = 503,
    after_s: float = 1.0,
    param: str | None = None,
) -> Refusal:
    """Return a refusal that passes by itself, with how long a client should wait."""
    return Refusal(
        status=status,
        code=code,
        message=f"{message}; try again",
        param=param,
        headers={"Retry-After": str(max(1, round(after_s)))},
    )
