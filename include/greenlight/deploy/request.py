"""What is asked of a rollout, as it arrives from the DAG's form or the command line."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationError

from greenlight.core.errors import InputError
from greenlight.core.settings import explain
from greenlight.core.types import JsonDict, Value


class DeployRequest(Value):
    """Which version goes where, and how.

    `version`: a number, or an alias. `rollout`: a name from rollout.yaml.
    `allow_interface_change`: deploy although clients would notice another tokenizer or template.
    `replace_dead`: give up a live version of which no engine answers or can start again.
    """

    fleet: Annotated[str, Field(min_length=1)]
    version: Annotated[int, Field(ge=1)] | Annotated[str, Field(min_length=1)] = "approved"
    rollout: Annotated[str, Field(min_length=1)] = "standard"
    allow_interface_change: bool = False
    replace_dead: bool = False


def parse_deploy_request(values: JsonDict) -> DeployRequest:
    """Read a request.

    Raises:
        InputError: a key is unknown or missing, or a value is not allowed; the message says which.
    """
    try:
        return DeployRequest.model_validate(values)
    except ValidationError as error:
        raise InputError(explain(error, where="deploy request")) from error
