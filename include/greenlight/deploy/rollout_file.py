"""Read the rollout file: named ways to bring a version to a fleet."""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from greenlight.core.errors import ConfigError
from greenlight.core.settings import read_config
from greenlight.core.types import Value
from greenlight.deploy.analysis import AnalysisSettings

Percent = Annotated[int, Field(ge=1, le=100)]


class Strategy(StrEnum):
    """How traffic moves to the new colour."""

    CANARY = "canary"
    """In steps, with an analysis at each."""
    BLUE_GREEN = "blue_green"
    """All at once, after smoke test and warm-up."""
    ROLLING = "rolling"
    """Host by host, for hosts that can't hold both colours."""


class LoadSettings(Value):
    """The seeded load of golden prompts that both colours get at the same time.

    `rate`: requests a second and colour; with `rolling` of the one that has fewer hosts.
    `stream_share`: the part asked as a stream; only streams have a first token. `timeout_s`: a
    request that takes longer has failed. Arrivals are random (Poisson) and do not wait for answers.
    """

    rate: Annotated[float, Field(gt=0, le=1000)] = 20.0
    stream_share: Annotated[float, Field(ge=0, le=1)] = 0.8
    timeout_s: Annotated[float, Field(gt=0)] = 60.0
    seed: int = 20260101


class RolloutSettings(Value):
    """One way to roll out.

    `steps`: shares of the new colour in percent, for `canary`; the last is 100. `bake_s`: how long
    the old colour stays warm, and both are compared, after everything has moved. `smoke_prompts`:
    asked of every new engine one by one. `warm_up_s`: how long the new colour gets the load alone
    before it counts. `lease_s`: how long a dead controller keeps others out.
    """

    strategy: Strategy = Strategy.CANARY
    steps: Annotated[tuple[Percent, ...], Field(min_length=1)] = (10, 50, 100)
    bake_s: Annotated[float, Field(ge=0)] = 1800.0
    smoke_prompts: Annotated[int, Field(ge=1)] = 3
    warm_up_s: Annotated[float, Field(ge=0)] = 10.0
    lease_s: Annotated[float, Field(ge=2, le=60)] = 60.0
    load: LoadSettings = LoadSettings()
    analysis: AnalysisSettings

    @model_validator(mode="after")
    def _rise(self) -> RolloutSettings:
        if any(after <= before for before, after in pairwise(self.steps)):
            raise ValueError(f"steps {list(self.steps)} do not rise")
        if self.steps[-1] != 100:
            raise ValueError(f"steps {list(self.steps)} do not end at 100")
        return self

    @property
    def shares(self) -> tuple[int, ...]:
        """The shares of the new colour, in percent, in their order."""
        return self.steps if self.strategy is Strategy.CANARY else (100,)

    def out_of_reach(self, *, prompts: int | None) -> tuple[str, ...]:
        """Return which rules this load can never satisfy; `prompts`: golden ones on record."""
        return self.analysis.out_of_reach(
            rate=self.load.rate,
            stream_share=self.load.stream_share,
            prompts=prompts,
            shares=(50,) if self.strategy is Strategy.ROLLING else self.shares,
        )


class RolloutFile(Value):
    """The whole file: settings by name."""

    rollouts: Annotated[dict[str, RolloutSettings], Field(min_length=1)]


def load_rollout(path: Path, name: str) -> RolloutSettings:
    """Return the settings of one name.

    Raises:
        ConfigError: the file cannot be read, has an unknown key or a bad value, or lacks the name.
    """
    found = read_config(path, RolloutFile).rollouts
    if name not in found:
        raise ConfigError(f"{path} has no rollout named {name!r}; there are {', '.join(found)}")
    return found[name]
