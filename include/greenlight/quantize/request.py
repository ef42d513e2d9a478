"""What a person or a trigger asks for: the form of `quantize_and_validate`, as a value."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationError

from greenlight.core.errors import ConfigError
from greenlight.core.settings import explain
from greenlight.core.types import JsonDict, Value
from greenlight.quantize.jobs import Backend, Device, Protocol

Engine = Literal["vllm-cpu", "vllm-gpu", "transformers"]
Names = Annotated[tuple[str, ...], Field(min_length=1)]


class QuantizeRequest(Value):
    """One run of the pipeline.

    `version` none means the newest version when the run starts; the first step pins it. `recipes`
    are names from the recipes file; with `search`, recipes made from a sensitivity pass are added.
    """

    model: Annotated[str, Field(min_length=1)]
    version: Annotated[int, Field(ge=1)] | None = None
    backend: Backend = Backend.GPTQMODEL
    device: Device = Device.CPU
    engine: Engine = "vllm-cpu"
    recipes: Names = ("q4-g32", "q4-g32-act-gate-up")
    search: bool = False
    calibration: str = "calibration-default"
    evaluation: Names = (
        "handbook-heldout",
        "python-heldout",
        "wordnet-choice",
        "instructions-default",
    )
    gates: Annotated[str, Field(min_length=1)] = "standard"
    protocol: Protocol = Protocol()


def parse_request(params: JsonDict) -> QuantizeRequest:
    """Read a form, a REST call's `conf` or a CLI's options.

    Raises:
        ConfigError: an unknown key or a bad value; the message names both.
    """
    try:
        return QuantizeRequest.model_validate(params)
    except ValidationError as error:
        raise ConfigError(explain(error, where="request")) from error
