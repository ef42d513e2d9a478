"""Run vLLM's OpenAI server for one model folder, as a process that ends with its parent.

vLLM imports for some fifteen seconds in every process it starts. The engine and its worker share a
process here (`uni`), which starts a third faster than vLLM's own choice and computes the same.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Annotated

import httpx
import psutil
from pydantic import Field

from greenlight.adapters.ml_process import child_environment
from greenlight.adapters.processes import LeashedProcess
from greenlight.core.errors import (
    ConfigError,
    GreenlightError,
    InputError,
    ResourceError,
    UnavailableError,
)
from greenlight.core.types import Value

log = logging.getLogger(__name__)

READY_S = 300.0
POLL_S = 0.2
SAY_S = 15.0
TAIL_LINES = 12
TAIL_BYTES = 64_000
CPU_BUILD = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
"""The engine in the server's own process, its threads where the kernel puts them."""

_OUT_OF_MEMORY = re.compile(
    r"MemoryError|out of memory|cannot allocate memory|no available memory|not enough memory"
    r"|larger than the available KV cache",
    re.IGNORECASE,
)
_REFUSES = re.compile(
    r"\b(?:ValidationError|ValueError|AssertionError|NotImplementedError)\b|\bCheck failed:"
    r"|\bUnsupported CPU attention"
)
_PREFIX = re.compile(r"^\(\w+ pid=\d+\) ?(?:\w+ \S+ \S+ \[[^]]*\] ?)?")
"""What vLLM puts before a line: process, level, time, place."""
_NOISE = re.compile(r"Traceback|\s|$")
"""Frames of a traceback are indented."""


class EngineOptions(Value):
    """How a model is served.

    `max_model_len`: in tokens, at most the model's own. `threads`: of computation; none: all cores
    but one, as vLLM has it. More threads than free cores wait for each other in a spin: on two busy
    cores a second one made vLLM six times slower.
    """

    dtype: str = "bfloat16"
    max_model_len: Annotated[int, Field(ge=1)] = 1024
    kv_cache_gb: Annotated[float, Field(gt=0)] = 0.25
    threads: Annotated[int, Field(ge=1)] | None = None
    shutdown_s: Annotated[int, Field(ge=0)] = 5
    """How long open streams may end after SIGTERM; vLLM's own default cuts them."""


class VllmEngine:
    """One model on one server on loopback. Entering the block starts it, leaving it stops it.

    Starting does not wait: see `wait_ready`, which can wait for several engines at once.
    """

    def __init__(
        self,
        python: Path,
        *,
        model: Path,
        name: str,
        log_file: Path,
        cache: Path,
        options: EngineOptions = EngineOptions(),  # noqa: B008 - frozen
        port: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Serve `model` under `name`; `log_file` takes everything the engine writes.

        `cache` keeps what vLLM finds out about an architecture; without it a start takes longer.

        Raises:
            ConfigError: the serving environment is missing.
        """
        if not python.exists():
            raise ConfigError(
                f"the serving environment is missing: there is no interpreter {python}; run "
                "`scripts/setup serve`, or set serve_python"
            )
        self.name = name
        self.log_file = log_file
        self._python, self._model, self._options = python, model, options
        self._cache = cache
        self._port = port or _free_port()
        self._monotonic = monotonic
        self._began = 0.0
        self._ready_s: float | None = None
        self._process: LeashedProcess | None = None
        self._temporary: Path | None = None

    @property
    def url(self) -> str:
        """The server's root."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def ready_s(self) -> float:
        """Seconds from the start of the process to its first healthy answer.

        Raises:
            UnavailableError: it was not ready yet.
        """
        if self._ready_s is None:
            raise UnavailableError(f"engine {self.name} is not ready")
        return self._ready_s

    def __enter__(self) -> VllmEngine:
        """Start the process."""
        command = engine_command(
            self._python,
            model=self._model,
            name=self.name,
            port=self._port,
            options=self._options,
        )
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        # Not below log_file: the sockets in it may have 107 letters in their path, no more.
        self._temporary = Path(tempfile.mkdtemp(prefix="engine-"))
        environment = engine_environment(
            os.environ, options=self._options, cache=self._cache, temporary=self._temporary
        )
        with self.log_file.open("wb") as output:
            self._process = LeashedProcess(
                command, env=environment, cwd=self.log_file.parent, stdout=output
            )
        self._began = self._monotonic()
        log.info("engine %s: starting %s on %s", self.name, self._model, self.url)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop every process of the engine."""
        if self._process is not None:
            self._process.stop()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def is_ready(self) -> bool:
        """Return whether the engine serves its model, remembering when it first did.

        Raises:
            InputError: the engine refuses the model.
            ResourceError: it ran out of memory.
            UnavailableError: its process ended otherwise, or another server holds the port.
        """
        if self._ready_s is not None:
            return True
        code = None if self._process is None else self._process.poll()
        if self._process is None or code is not None:
            raise self.failure(f"ended with code {code}")
        try:
            healthy = httpx.get(f"{self.url}/health", timeout=2, trust_env=False).is_success
            if not healthy:
                return False
            models = httpx.get(f"{self.url}/v1/models", timeout=10, trust_env=False).json()
        except httpx.TransportError:
            return False
        self._refuse_stranger({(m["id"], m.get("root")) for m in models["data"]})
        self._ready_s = self._monotonic() - self._began
        log.info("engine %s: ready after %.0f s", self.name, self._ready_s)
        return True

    def rss_bytes(self) -> int:
        """Return the resident memory of all processes of the engine; pages they share count twice.

        Raises:
            UnavailableError: the engine has ended.
        """
        return sum(process.memory_info().rss for process in self._processes())

    def cpu_seconds(self) -> float:
        """Return the processor time that the engine has used since it started.

        Raises:
            UnavailableError: the engine has ended.
        """
        times = [process.cpu_times() for process in self._processes()]
        return float(sum(time.user + time.system for time in times))

    def tail(self) -> str:
        """Return the last telling lines of the log."""
        lines = [_PREFIX.sub("", line) for line in self._log_text().splitlines()]
        lines = [line.strip() for line in lines if not _NOISE.match(line)]
        return "\n".join(lines[-TAIL_LINES:]) or "(the log is empty)"

    def failure(self, what: str) -> GreenlightError:
        """Return the error for what happened to the engine, with the reason that its log gives.

        An engine may get healthy and refuse its model at the first request.
        """
        text = self._log_text()
        where = f"engine {self.name} {what}; its log is {self.log_file}"
        if found := _OUT_OF_MEMORY.search(text):
            return ResourceError(
                f"{where}: it ran out of memory ({_line_of(text, found)}); free some memory, or "
                f"lower kv_cache_gb ({self._options.kv_cache_gb})"
            )
        if found := _REFUSES.search(text):
            return InputError(f"{where}: it refuses {self._model}: {_line_of(text, found)}")
        return UnavailableError(f"{where}:\n{self.tail()}")

    def _processes(self) -> list[psutil.Process]:
        if self._process is None or self._process.poll() is not None:
            raise UnavailableError(f"engine {self.name} has ended: {self.tail()}")
        return list(psutil.Process(self._process.pid).children(recursive=True))

    def _log_text(self) -> str:
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as file:
            file.seek(max(0, self.log_file.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace")

    def _refuse_stranger(self, served: set[tuple[str, str | None]]) -> None:
        if (self.name, str(self._model)) not in served:
            raise UnavailableError(
                f"port {self._port} answers for {sorted(map(str, served))}, not for "
                f"{self.name} ({self._model}): another server took the port; try again"
            )


def wait_ready(
    engines: Sequence[VllmEngine],
    *,
    timeout_s: float = READY_S,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until every engine serves its model, saying now and then how far it is.

    Raises:
        UnavailableError: one is not ready in time, or its process ended.
        InputError: as `VllmEngine.is_ready`.
        ResourceError: as `VllmEngine.is_ready`.
    """
    began = said = monotonic()
    while waiting := [engine for engine in engines if not engine.is_ready()]:
        now = monotonic()
        if now - began > timeout_s:
            late = waiting[0]
            raise UnavailableError(
                f"engine {late.name} is not ready after {timeout_s:.0f} s; its log "
                f"{late.log_file} ends with\n{late.tail()}"
            )
        if now - said >= SAY_S:
            said = now
            for engine in waiting:
                log.info("engine %s: starting for %.0f s", engine.name, now - began)
        sleep(POLL_S)


def engine_command(
    python: Path, *, model: Path, name: str, port: int, options: EngineOptions
) -> list[str]:
    """Return the command that serves a model.

    Prefixes are not cached: a prompt asked twice must cost the same twice. vLLM refuses a length
    that the model was not made for.
    """
    length = min(options.max_model_len, _context(model) or options.max_model_len)
    return [
        *(str(python), "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(model), "--served-model-name", name),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", options.dtype, "--max-model-len", str(length)),
        *("--kv-cache-memory-bytes", str(int(options.kv_cache_gb * 2**30))),
        *("--distributed-executor-backend", "uni", "--enforce-eager"),
        *("--shutdown-timeout", str(options.shutdown_s)),
        "--no-enable-prefix-caching",
        "--disable-uvicorn-access-log",
    ]


def engine_environment(
    ours: Mapping[str, str], *, options: EngineOptions, cache: Path, temporary: Path
) -> dict[str, str]:
    """Return the engine's whole environment: offline, silent, its threads bounded."""
    threads = options.threads or max(1, (os.cpu_count() or 1) - 1)
    return child_environment(ours, temporary=temporary) | {
        "VLLM_NO_USAGE_STATS": "1",
        **cache_variables(cache),
        **CPU_BUILD,
        "OMP_NUM_THREADS": str(threads),
    }


def cache_variables(cache: PurePath) -> dict[str, str]:
    """Return the variables that make an engine keep what it finds out in one folder."""
    return {
        "VLLM_CACHE_ROOT": str(cache / "vllm"),
        "VLLM_CONFIG_ROOT": str(cache / "vllm-config"),
        "XDG_CACHE_HOME": str(cache),
        "HF_HOME": str(cache / "huggingface"),
    }


def _context(model: Path) -> int | None:
    """Return how many tokens the model's configuration allows, if it says so."""
    file = model / "config.json"
    found = json.loads(file.read_text()).get("max_position_embeddings") if file.exists() else None
    return int(found) if found else None


def _line_of(text: str, found: re.Match[str]) -> str:
    """Return the line that a match is in, with what pydantic adds in the next, indented one."""
    start = text.rfind("\n", 0, found.start()) + 1
    line, *rest = (_PREFIX.sub("", line) for line in text[start:].splitlines())
    detail = rest[0] if rest and rest[0].startswith("  ") else ""
    return " ".join(f"{line} {detail}".split())


def _free_port() -> int:
    """Return a port that was free a moment ago; whoever listens there later is asked its name."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
