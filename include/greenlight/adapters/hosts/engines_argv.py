"""What starts an engine, as data: a command for a process, or commands for docker or systemd."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from greenlight.adapters.vllm_engine import CPU_BUILD, cache_variables
from greenlight.core.errors import ConfigError
from greenlight.deploy.colours import Colour
from greenlight.deploy.engines import GB, EngineKind, EngineProfile, Flag, Launch

OFFLINE = {
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}
"""Nothing is asked of the network and nothing is told to it."""
TRACED = {
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
    "OTEL_SERVICE_NAME": "greenlight-engine",
}
"""Of an engine that was given a collector; vLLM's own choice is gRPC."""
OURS = frozenset(
    {"model", "served-model-name", "host", "port", "shutdown-timeout", "otlp-traces-endpoint"}
)
MODULES = {
    EngineKind.VLLM: "vllm.entrypoints.openai.api_server",
    EngineKind.VLLM_CPU: "vllm.entrypoints.openai.api_server",
    EngineKind.SIMULATOR: "greenlight.testing.engine_simulator",
}
MOUNTED = PurePosixPath("/models")
"""Where a container sees the host's models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSlot:
    """What is served where. `root`: the folder on the host; `python`: the interpreter there."""

    colour: Colour
    address: str
    port: int
    root: PurePosixPath
    digest: str
    model: str
    python: str

    @property
    def folder(self) -> PurePosixPath:
        """The verified model folder. Its last part is the digest, which engines report back."""
        return self.root / "models" / self.digest

    @property
    def service(self) -> str:
        """The name of the container or unit."""
        return f"greenlight-{self.colour}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Commands for an engine that docker or systemd keeps.

    `state` prints a word; the engine lives while it is one of `alive`. `stop` and `kill` don't wait
    for its end. `logs`: what prints the log; none: it is `engine.log`. `remove` forgets an engine
    that ended, and never ends one: the name may be another fleet's.
    """

    start: tuple[str, ...]
    state: tuple[str, ...]
    alive: tuple[str, ...]
    stop: tuple[str, ...]
    kill: tuple[str, ...]
    remove: tuple[str, ...]
    logs: tuple[str, ...] | None


def engine_argv(profile: EngineProfile, slot: EngineSlot) -> tuple[str, ...]:
    """Return the command of an engine that runs as a process.

    Raises:
        ConfigError: the profile's flags set what Greenlight sets.
    """
    return (slot.python, *_arguments(profile, slot, folder=slot.folder))


def engine_variables(profile: EngineProfile, *, root: PurePosixPath) -> dict[str, str]:
    """Return what the engine's environment has beside the host's paths."""
    always = OFFLINE if profile.otlp_traces_endpoint is None else OFFLINE | TRACED
    if profile.kind is not EngineKind.VLLM_CPU:
        return dict(always)
    threads = {} if profile.threads is None else {"OMP_NUM_THREADS": str(profile.threads)}
    waiting = {"OMP_WAIT_POLICY": "passive", "TORCHDYNAMO_DISABLE": "1"}
    return always | CPU_BUILD | cache_variables(root / "cache") | waiting | threads


def engine_service(profile: EngineProfile, slot: EngineSlot) -> Service | None:
    """Return the commands of docker or systemd; `None` for an engine that is a process."""
    if profile.launch is Launch.DOCKER:
        return _docker(profile, slot)
    if profile.launch is Launch.SYSTEMD:
        return _systemd(profile, slot)
    return None


def programs(profile: EngineProfile, *, python: str) -> tuple[str, ...]:
    """Return the executables that a host needs to start engines."""
    if profile.launch is Launch.DOCKER:
        return ("docker",)
    if profile.launch is Launch.SYSTEMD:
        return ("systemd-run", "systemctl", python)
    return (python,)


def _docker(profile: EngineProfile, slot: EngineSlot) -> Service:
    assert profile.image is not None  # the profile's own check
    variables = engine_variables(profile, root=slot.root).items()
    return Service(
        start=(
            *("docker", "run", "--detach", "--name", slot.service),
            *("--label", f"greenlight.digest={slot.digest}"),
            *("--gpus", "all", "--network", "host", "--ipc", "host"),
            *("--volume", f"{slot.root / 'models'}:{MOUNTED}:ro"),
            *("--stop-timeout", str(profile.shutdown_s)),
            *(f"--env={name}={value}" for name, value in variables),
            *("--entrypoint", "python3", profile.image),
            *_arguments(profile, slot, folder=MOUNTED / slot.digest),
        ),
        state=("docker", "ps", "--all", "--filter", f"name=^/?{slot.service}$",
               "--format", "{{.State}}"),
        alive=("running", "restarting", "paused"),
        stop=("docker", "kill", "--signal", "SIGTERM", slot.service),
        kill=("docker", "kill", slot.service),
        remove=("docker", "rm", slot.service),
        logs=("docker", "logs", "--tail", "200", slot.service),
    )  # fmt: skip


def _systemd(profile: EngineProfile, slot: EngineSlot) -> Service:
    """SIGTERM goes to the first process only (mixed), as in the agent's own `stop`."""
    log_file = slot.root / "slots" / slot.colour / "engine.log"
    variables = engine_variables(profile, root=slot.root).items()
    return Service(
        start=(
            *("systemd-run", f"--unit={slot.service}", "--collect"),
            *("--property=KillMode=mixed", f"--property=TimeoutStopSec={profile.shutdown_s}"),
            f"--property=StandardOutput=append:{log_file}",
            f"--property=StandardError=append:{log_file}",
            *(f"--setenv={name}={value}" for name, value in variables),
            "--",
            *engine_argv(profile, slot),
        ),
        state=("systemctl", "show", "--property=ActiveState", "--value", slot.service),
        alive=("active", "activating", "deactivating", "reloading"),
        stop=("systemctl", "stop", "--no-block", slot.service),
        kill=("systemctl", "kill", "--signal=SIGKILL", slot.service),
        remove=("systemctl", "reset-failed", slot.service),
        logs=None,
    )


def _arguments(
    profile: EngineProfile, slot: EngineSlot, *, folder: PurePosixPath
) -> tuple[str, ...]:
    return (
        *("-m", MODULES[profile.kind]),
        *("--model", str(folder), "--served-model-name", slot.model),
        *("--host", slot.address, "--port", str(slot.port)),
        *("--shutdown-timeout", str(profile.shutdown_s)),
        *_flags(profile),
    )


def _flags(profile: EngineProfile) -> tuple[str, ...]:
    asked = {name.replace("_", "-"): value for name, value in profile.flags.items()}
    if taken := sorted(OURS & set(asked)):
        raise ConfigError(
            f"the engine's flags can't have {', '.join(taken)}: Greenlight sets them; use the "
            "fleet's own keys"
        )
    return tuple(
        word for name, value in {**_defaults(profile, asked), **asked}.items()
        for word in _flag(name, value, negates=profile.kind is not EngineKind.SIMULATOR)
    )  # fmt: skip


def _defaults(profile: EngineProfile, asked: dict[str, Flag]) -> dict[str, Flag]:
    """Return the flags of every engine of a kind.

    Both colours share the host's memory, so each must be told its part: by itself, vLLM takes nine
    tenths of a GPU.
    """
    if profile.kind is EngineKind.SIMULATOR:
        return {}
    flags: dict[str, Flag] = {"disable-uvicorn-access-log": True}
    if profile.otlp_traces_endpoint is not None:
        flags["otlp-traces-endpoint"] = profile.otlp_traces_endpoint
    if "gpu-memory-utilization" not in asked:
        flags["kv-cache-memory-bytes"] = int(profile.kv_cache_gb * GB)
    if profile.kind is EngineKind.VLLM_CPU:
        flags |= {"distributed-executor-backend": "uni", "enforce-eager": True}
    return flags


def _flag(name: str, value: Flag, *, negates: bool) -> tuple[str, ...]:
    """Return a flag's words. vLLM's switches have an opposite, `--no-NAME`."""
    if value is True:
        return (f"--{name}",)
    if value is False:
        return (f"--no-{name}",) if negates else ()
    return (f"--{name}={value}",)
