"""How a simulated engine behaves: its speed, its text, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from greenlight.core.errors import ConfigError
from greenlight.core.types import JsonDict, Value

FILE = "simulation.json"
"""Where a model's folder holds the settings of an engine that serves it."""

Seconds = Annotated[float, Field(ge=0)]
Factor = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


def _fault(description: str, *, default: Any) -> Any:
    """Return a field that `start_after_s` holds back."""
    return Field(default, description=description, json_schema_extra={"fault": True})


class Simulation(Value):
    """The settings of a simulated engine. Every fault is off by default.

    Times that faults begin at count from when the engine is ready, or, for settings that came
    while it ran, from when they came.
    """

    load_s: Seconds = Field(0.0, description="Seconds until the engine is ready.")
    first_token_s: Seconds = Field(0.02, description="Seconds to the first token.")
    token_s: Seconds = Field(0.005, description="Seconds from one token to the next.")
    jitter: Seconds = Field(
        0.0, description="Standard deviation of both times, relative to them (lognormal)."
    )
    tokens: Annotated[int, Field(ge=1)] = Field(16, description="Words of an answer.")
    answers: dict[str, str] = Field(
        default_factory=dict, description="Fixed answers, by the user's last message."
    )
    max_num_seqs: Annotated[int, Field(ge=1)] = Field(
        256, description="Requests answered at the same time; more have to wait."
    )
    memory_mb: Annotated[int, Field(ge=0)] = Field(0, description="Memory taken, in MiB.")
    seed: int = Field(0, description="Of jitter and of which requests a share hits.")

    never_ready: bool = Field(default=False, description="Never get ready.")
    death: str | None = Field(None, description="Write this and exit with 1 instead of serving.")
    start_after_s: Seconds = Field(0.0, description="Seconds until the faults below begin.")
    slow_first_token: Factor = _fault("Multiplies the time to the first token.", default=1.0)
    slow_tokens: Factor = _fault("Multiplies the time between tokens.", default=1.0)
    error_rate: Share = _fault("Share of requests answered with status 500.", default=0.0)
    wrong_text: bool = _fault("Answer with another text.", default=False)
    cut_stream: Share = _fault(
        "Share of streams that end in their middle, closed properly but without the last event.",
        default=0.0,
    )
    stream_error: Share = _fault(
        "Share of streams that report an error in their middle.", default=0.0
    )
    lost_token: Share = _fault("Share of streams in which one token never arrives.", default=0.0)
    without_usage: bool = _fault("Leave out how many tokens were used.", default=False)
    strange: bool = _fault("Say that another model is served.", default=False)
    crash_after_s: Seconds | None = _fault(
        "Seconds until the engine ends without a goodbye.", default=None
    )
    hang_after_s: Seconds | None = _fault(
        "Seconds until nothing is answered any more.", default=None
    )

    def changed(self, changes: JsonDict) -> Simulation:
        """Return the settings with some replaced; text is read as a setting's type.

        Raises:
            ConfigError: there is no such setting, or its value is out of range.
        """
        try:
            return Simulation.model_validate(self.model_dump() | changes)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, found['loc']))}: {found['msg']} (got {found['input']!r})"
                for found in error.errors()
            )
            raise ConfigError(f"the simulation cannot be set: {problems}") from error

    def without_faults(self) -> Simulation:
        """Return what holds before `start_after_s`."""
        return self.model_copy(
            update={
                name: field.default
                for name, field in type(self).model_fields.items()
                if isinstance(field.json_schema_extra, dict) and field.json_schema_extra["fault"]
            }
        )


def simulation_of(folder: Path) -> Simulation:
    """Return the settings that a model's folder holds, or the defaults.

    Raises:
        ConfigError: the file is not JSON, or sets something that cannot be set.
    """
    file = folder / FILE
    if not file.exists():
        return Simulation()
    try:
        return Simulation.model_validate_json(file.read_text())
    except ValidationError as error:
        raise ConfigError(f"{file} cannot be used: {error}") from error
