"""Run ML jobs in an ML environment: a child process on a leash, JSON in, JSON out.

Everything happens in the calling thread: the leash is tied to it, and an exception raised there
(a timeout, Ctrl-C, Airflow's termination) ends the child on its way out.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from greenlight.adapters.job_output import JobOutput
from greenlight.adapters.processes import SIGNALLED, LeashedProcess
from greenlight.core import errors
from greenlight.core.errors import ConfigError, ProcessDiedError
from greenlight.core.settings import Settings
from greenlight.core.types import JsonDict, Value
from greenlight.quantize.jobs import Backend, Job, Outcome, Usage
from greenlight.quantize.ports import OnProgress

log = logging.getLogger(__name__)

POLL_S = 0.25
READ_BYTES = 1 << 16
NEAR_FULL = 0.8
"""A killed job that held more than this part of the machine's memory probably ran out of it."""

PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "GREENLIGHT_HOME")
PASSED_ON_PREFIXES = ("CUDA_", "NVIDIA_", "OMP_", "OPENBLAS_", "MKL_")
SIGKILL_CODE = SIGNALLED + 9


class MlProcess:
    """The ML environments, reached by their interpreters."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def run(
        self,
        job: Job,
        spec: Value,
        *,
        backend: Backend = Backend.GPTQMODEL,
        on_progress: OnProgress | None = None,
    ) -> Outcome:
        """Run `job` and return its outcome.

        Raises:
            ConfigError: the environment that the job needs isn't there.
            GreenlightError: of the very class that the job raised.
            ProcessDiedError: the process ended without an outcome, took longer than
                `job_timeout_s`, or gave no sign of life for `heartbeat_timeout_s`.
        """
        python = interpreter(self._settings, job, backend)
        with self._folder(job) as folder:
            spec_file, outcome_file = folder / "spec.json", folder / "outcome.json"
            spec_file.write_text(spec.model_dump_json())
            command = [str(python), "-m", "greenlight.ml", job, str(spec_file), str(outcome_file)]
            log.info("ML job %s starts in %s", job, python)
            with LeashedProcess(
                command,
                env=child_environment(os.environ, temporary=folder),
                cwd=folder,
                stdout=subprocess.PIPE,
            ) as process:
                watch = _Watch(job, process, self._settings, JobOutput(job, on_progress))
                code = watch.follow()
            usage = watch.usage()
            _log_usage(job, usage, code)
            return _outcome(job, outcome_file, code=code, usage=usage, last=watch.last_lines())

    @contextlib.contextmanager
    def _folder(self, job: Job) -> Iterator[Path]:
        """Yield a folder for one run; what runs that were killed left is swept away first."""
        root = self._settings.work / ".jobs"
        root.mkdir(parents=True, exist_ok=True)
        for left in root.iterdir():
            owner = left.name.partition("-")[0]
            if owner.isdigit() and not psutil.pid_exists(int(owner)):
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(dir=root, prefix=f"{os.getpid()}-{job}-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def interpreter(settings: Settings, job: Job, backend: Backend) -> Path:
    """Return the interpreter of the environment that can do the job.

    Raises:
        ConfigError: it isn't there.
    """
    if job is Job.QUANTIZE and backend is Backend.AUTO_GPTQ:
        return _present(settings.autogptq_python, setting="autogptq_python", part="autogptq")
    return ml_interpreter(settings)


def ml_interpreter(settings: Settings) -> Path:
    """Return the interpreter of the ML environment.

    Raises:
        ConfigError: it isn't there.
    """
    return _present(settings.ml_python, setting="ml_python", part="ml")


def _present(python: Path, *, setting: str, part: str) -> Path:
    if not os.access(python, os.X_OK):
        raise ConfigError(
            f"the environment {part} is missing: there is no interpreter {python}; run "
            f"`scripts/setup {part}`, or set {setting}"
        )
    return python


def child_environment(ours: Mapping[str, str], *, temporary: Path) -> dict[str, str]:
    """Return the child's whole environment: what it needs, nothing that could be a secret.

    `GPTQMODEL_CPU_WORKERS`: with fewer than two, gptqmodel fails on a machine with two cores.
    `GPTQMODEL_DISABLE_PACK_EXT`: gptqmodel would compile a packer into `~/.cache`; torch packs too.
    `OMP_WAIT_POLICY`: threads that spin while they wait slow down whoever shares the machine, and
    then each other; passive was 1.6 times as fast beside a busy neighbour on two cores, and not
    slower on a quiet machine.
    `TORCHDYNAMO_DISABLE`: compiling on a CPU takes longer than a job, and needs a C++ compiler.
    """
    passed = {
        name: value
        for name, value in ours.items()
        if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
    cores = os.cpu_count() or 1
    return (
        {"OMP_NUM_THREADS": str(cores), "OMP_WAIT_POLICY": "passive", "LANG": "C.UTF-8"}
        | passed
        | {
            "GPTQMODEL_CPU_WORKERS": str(max(2, cores // 2)),
            "GPTQMODEL_DISABLE_PACK_EXT": "1",
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "TORCHDYNAMO_DISABLE": "1",
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(temporary),
            "HF_HOME": str(temporary / "hf"),
            "XDG_CACHE_HOME": str(temporary / "cache"),
        }
    )


class _Watch:
    """Follows one child to its end: its output, its limits, what it takes."""

    def __init__(
        self, job: Job, process: LeashedProcess, settings: Settings, output: JobOutput
    ) -> None:
        self._job = job
        self._process = process
        self._settings = settings
        self._output = output
        self._started = self._heard = time.monotonic()
        self._meter = _Meter(process.pid)

    def follow(self) -> int:
        """Read until the child's output ends and return its exit code.

        Raises:
            ProcessDiedError: a limit was reached; leaving the process's block stops it.
        """
        assert self._process.stdout is not None
        stream = self._process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while True:
                self._meter.read()
                if selector.select(POLL_S):
                    self._heard = time.monotonic()
                    chunk = os.read(stream, READ_BYTES)
                    if not chunk:
                        break
                    self._output.feed(chunk)
                elif self._process.poll() is not None:
                    break
                self._check_limits()
        self._output.finish()
        return self._process.wait()

    def usage(self) -> Usage:
        """Return what the child and its descendants took so far."""
        return Usage(
            seconds=time.monotonic() - self._started,
            cpu_seconds=self._meter.cpu_seconds,
            peak_rss_bytes=self._meter.peak_rss_bytes,
        )

    def last_lines(self) -> str:
        """Return the last things the child printed."""
        return self._output.last_lines()

    def _check_limits(self) -> None:
        now = time.monotonic()
        if now - self._started > self._settings.job_timeout_s:
            raise ProcessDiedError(
                f"ML job {self._job} was stopped: it ran longer than job_timeout_s "
                f"({self._settings.job_timeout_s:g} s){self._output.progress()}"
            )
        if now - self._heard > self._settings.heartbeat_timeout_s:
            raise ProcessDiedError(
                f"ML job {self._job} was stopped: no sign of life for heartbeat_timeout_s "
                f"({self._settings.heartbeat_timeout_s:g} s){self._output.progress()}"
            )


class _Meter:
    """Memory and processor time of a process group, sampled from outside.

    Sampled, because a process that is killed reports nothing about itself.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._cpu: dict[int, float] = {}
        self.peak_rss_bytes = 0

    @property
    def cpu_seconds(self) -> float:
        """User and system time of every process seen, as of when each was last seen."""
        return sum(self._cpu.values())

    def read(self) -> None:
        """Take one sample."""
        rss = 0
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in (self._root, *self._root.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    times = process.cpu_times()
                    self._cpu[process.pid] = times.user + times.system
                    rss += process.memory_info().rss
        self.peak_rss_bytes = max(self.peak_rss_bytes, rss)


def _outcome(job: Job, file: Path, *, code: int, usage: Usage, last: str) -> Outcome:
    """Return the outcome in the file, or raise the error that it, or its absence, stands for."""
    if not file.exists():
        raise ProcessDiedError(_epitaph(job, code=code, usage=usage, last=last))
    values: JsonDict = json.loads(file.read_text())
    own: JsonDict = values["usage"]
    usage = Usage(
        seconds=usage.seconds,
        cpu_seconds=max(usage.cpu_seconds, own["cpu_seconds"]),
        peak_rss_bytes=max(usage.peak_rss_bytes, own["peak_rss_bytes"]),
    )
    if not values["ok"]:
        raise errors.by_name(values["error"])(values["message"])
    return Outcome(result=values["result"], usage=usage)


def _epitaph(job: Job, *, code: int, usage: Usage, last: str) -> str:
    """Say how a process ended that left no outcome."""
    how = f"by signal {code - SIGNALLED}" if code > SIGNALLED else f"with exit code {code}"
    memory = psutil.virtual_memory().total
    guess = ""
    if code == SIGKILL_CODE and usage.peak_rss_bytes > NEAR_FULL * memory:
        guess = "; probably out of memory"
    return (
        f"ML job {job} ended {how} without an outcome after {usage.seconds:.0f} s, at its peak it "
        f"held {usage.peak_rss_bytes / 1e6:.0f} MB of the machine's {memory / 1e6:.0f} MB{guess}; "
        f"it last printed: {last or '(nothing)'}"
    )


def _log_usage(job: Job, usage: Usage, code: int) -> None:
    log.info(
        "ML job %s ended with exit code %d after %.1f s (%.1f s of CPU, %.0f MB at its peak)",
        job,
        code,
        usage.seconds,
        usage.cpu_seconds,
        usage.peak_rss_bytes / 1e6,
    )
