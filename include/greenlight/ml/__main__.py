"""Run one ML job: `python -m greenlight.ml JOB SPEC.json OUTCOME.json`.

A job is a function `run(spec: XSpec) -> XResult` of the values in `quantize.jobs`; it reports
through `ml.progress`. The outcome file is the contract with the parent (see `quantize.jobs`); it
appears complete or not at all, and a crash leaves none.
"""

from __future__ import annotations

import importlib
import json
import logging
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from greenlight.core.errors import ConfigError, GreenlightError, ResourceError
from greenlight.core.files import write_json
from greenlight.core.logs import configure_logging
from greenlight.core.types import JsonDict, Value
from greenlight.ml import progress
from greenlight.quantize import jobs
from greenlight.quantize.jobs import Job

log = logging.getLogger("greenlight.ml")

JOBS: dict[Job, tuple[str, type[Value]]] = {
    Job.CONVERT_GGUF: ("greenlight.ml.convert", jobs.ConvertGgufSpec),
    Job.VERIFY_MODEL: ("greenlight.ml.verify", jobs.VerifyModelSpec),
    Job.COUNT_TOKENS: ("greenlight.ml.tokens", jobs.CountTokensSpec),
    Job.QUANTIZE: ("greenlight.ml.quantize", jobs.QuantizeSpec),
    Job.SENSITIVITY: ("greenlight.ml.sensitivity", jobs.SensitivitySpec),
    Job.EVALUATE: ("greenlight.ml.evaluate", jobs.EvaluateSpec),
    Job.MEASURE_LOAD: ("greenlight.ml.load", jobs.MeasureLoadSpec),
    Job.GENERATE: ("greenlight.ml.generate", jobs.GenerateSpec),
}
"""The module whose `run` does each job, imported only when asked for, and what it takes."""


def main(arguments: list[str]) -> int:
    """Run a job and write its outcome; the exit code is 0 when the job succeeded."""
    name, spec_path, outcome_path = arguments
    configure_logging(service="greenlight-ml")
    with progress.heartbeat():
        outcome = run_job(name, json.loads(Path(spec_path).read_text()))
    write_json(Path(outcome_path), outcome | {"usage": usage()})
    return 0 if outcome["ok"] else 1


def run_job(name: str, values: JsonDict) -> JsonDict:
    """Return the outcome of one job; errors of any class become one, under their own name."""
    try:
        run, spec = find_job(name, values)
        return {"ok": True, "result": run(spec).model_dump(mode="json")}
    except GreenlightError as error:
        return _failure(error)
    except MemoryError as error:
        return _failure(out_of_memory(str(error)))
    except Exception as error:
        if _is_device_out_of_memory(error):
            return _failure(out_of_memory(str(error)))
        log.exception("The job %s failed unexpectedly", name)
        return _failure(error)


def find_job(name: str, values: JsonDict) -> tuple[Callable[[Value], Value], Value]:
    """Return the job's function and its spec.

    Raises:
        ConfigError: no such job, or a spec that doesn't fit it.
    """
    if name not in set(Job):
        raise ConfigError(f"unknown ML job {name!r}; known are {', '.join(sorted(Job))}")
    module, spec = JOBS[Job(name)]
    try:
        return importlib.import_module(module).run, spec.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"the spec of {name} doesn't fit: {error}") from error


def out_of_memory(detail: str) -> ResourceError:
    """Return the error that says how much memory the process held and what failed."""
    held = usage()["peak_rss_bytes"] / 1e6
    return ResourceError(
        f"out of memory: the job had used {held:.0f} MB of RAM at its peak; {detail or 'no detail'}"
    )


def usage() -> JsonDict:
    """Return the process's own count of its processor time (seconds) and peak memory (bytes)."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu_seconds": own.ru_utime + own.ru_stime, "peak_rss_bytes": own.ru_maxrss * 1024}


def _failure(error: Exception) -> JsonDict:
    name = type(error).__name__
    known = isinstance(error, GreenlightError)
    message = str(error) if known else f"{name}: {error} (the log has the traceback)"
    return {"ok": False, "error": name, "message": message}


def _is_device_out_of_memory(error: Exception) -> bool:
    """Whether torch could not allocate; on a CPU that has no class of its own."""
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
