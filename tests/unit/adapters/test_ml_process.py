"""The runner, with a stand-in for the ML interpreter that behaves as each test says."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from greenlight.adapters.ml_process import MlProcess
from greenlight.core.errors import (
    ConfigError,
    GateError,
    PermanentError,
    ProcessDiedError,
    ResourceError,
)
from greenlight.core.logs import EcsFormatter
from greenlight.core.settings import Settings
from greenlight.quantize.jobs import Backend, Device, Job, Progress, VerifyModelSpec

SPEC = VerifyModelSpec(model=Path("/a/model"), device=Device.CPU)
PRELUDE = """
import json, os, pathlib, signal, sys, time
job, spec, outcome = sys.argv[3:]
assert sys.argv[1:3] == ["-m", "greenlight.ml"]
def say(text): os.write(1, text.encode())
def end(**values):
    values["usage"] = {"cpu_seconds": 0.5, "peak_rss_bytes": 1000}
    pathlib.Path(outcome).write_text(json.dumps(values))
def succeed(**result): end(ok=True, result=result)
def fail(error, message): end(ok=False, error=error, message=message)
"""


@pytest.fixture
def make_settings(
    tmp_path: Path, make_settings: Callable[..., Settings]
) -> Callable[..., Settings]:
    """Settings whose ML interpreter runs the given code instead of `greenlight.ml`."""

    def make(code: str, *, name: str = "ml", **changes: object) -> Settings:
        script = tmp_path / f"{name}.py"
        script.write_text(PRELUDE + code)
        python = tmp_path / f"python for {name}"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{script}" "$@"\n')
        python.chmod(0o755)
        missing = tmp_path / "nowhere"
        return make_settings(
            **({"ml_python": python, "autogptq_python": missing, "job_timeout_s": 30} | changes)
        )

    return make


def wait_for(file: Path) -> int:
    deadline = time.monotonic() + 10
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(file.read_text())


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_returns_the_jobs_result_and_what_it_took(make_settings: Callable[..., Settings]) -> None:
    code = "data = bytearray(60_000_000); time.sleep(0.6)\n"
    code += "succeed(job=job, spec=json.loads(pathlib.Path(spec).read_text()))"
    outcome = MlProcess(make_settings(code)).run(Job.VERIFY_MODEL, SPEC)
    assert outcome.result == {"job": "verify_model", "spec": SPEC.model_dump(mode="json")}
    assert outcome.usage.seconds >= 0.6
    assert outcome.usage.peak_rss_bytes > 60_000_000


def test_progress_reaches_the_listener_through_the_chatter_of_libraries(
    make_settings: Callable[..., Settings],
) -> None:
    code = """
for done in (1, 2):
    say("bar 10%\\rbar 20%")
    say("\\n" + json.dumps({"progress": {"stage": "work", "done": done, "total": 2}}) + "\\n")
say('{"not": "progress"}\\n{"broken\\n')
succeed()
"""
    seen: list[Progress] = []
    MlProcess(make_settings(code)).run(Job.VERIFY_MODEL, SPEC, on_progress=seen.append)
    assert seen == [Progress(stage="work", done=done, total=2) for done in (1, 2)]


def test_an_error_keeps_its_class_across_the_process_boundary(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings("fail('GateError', 'perplexity 9 is above 8'); sys.exit(1)")
    with pytest.raises(GateError, match="perplexity 9 is above 8"):
        MlProcess(settings).run(Job.VERIFY_MODEL, SPEC)


def test_running_out_of_memory_is_not_worth_a_retry(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings("fail('ResourceError', 'out of memory: 9 MB'); sys.exit(1)")
    with pytest.raises(ResourceError, match="out of memory"):
        MlProcess(settings).run(Job.VERIFY_MODEL, SPEC)


def test_a_bug_in_a_job_is_permanent(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings("fail('KeyError', \"KeyError: 'x'\"); sys.exit(1)")
    with pytest.raises(PermanentError, match="KeyError: 'x'"):
        MlProcess(settings).run(Job.VERIFY_MODEL, SPEC)


def test_a_death_without_an_outcome_tells_what_was_last_said(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings("say('the disk is on fire'); sys.exit(3)")
    with pytest.raises(ProcessDiedError, match=r"exit code 3 .*the disk is on fire"):
        MlProcess(settings).run(Job.VERIFY_MODEL, SPEC)


def test_what_a_job_logs_is_logged_here_with_its_level(
    make_settings: Callable[..., Settings], caplog: pytest.LogCaptureFixture
) -> None:
    def line(logger: str, level: int, text: str) -> str:
        record = logging.LogRecord(logger, level, "x.py", 1, text, None, None)
        return EcsFormatter("greenlight-ml").format(record) + "\n"

    warning = line("greenlight.ml.x", logging.WARNING, "half of the weights are zero")
    chatter = line("somebody.else", logging.INFO, "chatter")
    code = f"say({warning!r}); say({chatter!r}); sys.exit(3)"
    with (
        caplog.at_level("INFO", logger="greenlight"),
        pytest.raises(ProcessDiedError, match=r"half of the weights are zero \| chatter"),
    ):
        MlProcess(make_settings(code)).run(Job.VERIFY_MODEL, SPEC)
    said = {record.levelname for record in caplog.records if "half of the" in record.getMessage()}
    assert said == {"WARNING"}
    assert not [record for record in caplog.records if "chatter" in record.getMessage()]


def test_a_killed_job_is_told_from_one_that_failed(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings("time.sleep(0.3); os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(ProcessDiedError, match=r"by signal 9 .* held \d+ MB") as caught:
        MlProcess(settings).run(Job.VERIFY_MODEL, SPEC)
    assert "out of memory" not in str(caught.value)


def test_a_silent_job_is_ended(tmp_path: Path, make_settings: Callable[..., Settings]) -> None:
    file = tmp_path / "pid"
    code = f"pathlib.Path({str(file)!r}).write_text(str(os.getpid())); time.sleep(60)"
    settings = make_settings(code, heartbeat_timeout_s=0.6)
    with pytest.raises(ProcessDiedError, match="no sign of life"):
        MlProcess(settings).run(Job.VERIFY_MODEL, SPEC)
    assert is_gone(wait_for(file))


def test_a_job_that_keeps_talking_is_ended_at_the_time_limit(
    make_settings: Callable[..., Settings],
) -> None:
    code = "while True: say('still here\\n'); time.sleep(0.05)"
    settings = make_settings(code, heartbeat_timeout_s=5, job_timeout_s=6)
    with pytest.raises(ProcessDiedError, match="longer than job_timeout_s"):
        MlProcess(settings).run(Job.VERIFY_MODEL, SPEC)


def test_an_exception_in_the_caller_ends_the_job(make_settings: Callable[..., Settings]) -> None:
    code = (
        'say(json.dumps({"progress": {"stage": "pid", "done": os.getpid(), "total": 1}}) + "\\n")'
    )
    seen: list[int] = []

    def cancel(progress: Progress) -> None:
        seen.append(progress.done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MlProcess(make_settings(code + "; time.sleep(60)")).run(
            Job.VERIFY_MODEL, SPEC, on_progress=cancel
        )
    assert is_gone(seen[0])


def test_a_job_dies_with_the_task_that_was_killed(
    tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    file = tmp_path / "pid"
    settings = make_settings(
        f"pathlib.Path({str(file)!r}).write_text(str(os.getpid())); time.sleep(60)"
    )
    task = """
import sys
from greenlight.adapters.ml_process import MlProcess
from greenlight.core.settings import Settings
from greenlight.quantize.jobs import Job, VerifyModelSpec
settings = Settings.model_validate_json(sys.argv[1])
MlProcess(settings).run(Job.VERIFY_MODEL, VerifyModelSpec(model="/a/model"))
"""
    with subprocess.Popen([sys.executable, "-c", task, settings.model_dump_json()]) as parent:
        job = wait_for(file)
        parent.send_signal(signal.SIGKILL)
        assert is_gone(job)


def test_a_missing_environment_says_how_to_make_it(
    tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings("succeed()", ml_python=tmp_path / "nowhere/python")
    with pytest.raises(ConfigError, match=r"scripts/setup ml"):
        MlProcess(settings).run(Job.VERIFY_MODEL, SPEC)


@pytest.mark.parametrize(
    ("job", "backend", "chosen"),
    [
        (Job.QUANTIZE, Backend.AUTO_GPTQ, "auto"),
        (Job.QUANTIZE, Backend.GPTQMODEL, "ml"),
        (Job.EVALUATE, Backend.AUTO_GPTQ, "ml"),
    ],
)
def test_only_quantizing_with_auto_gptq_needs_its_environment(
    make_settings: Callable[..., Settings], job: Job, backend: Backend, chosen: str
) -> None:
    autogptq = make_settings("succeed(chosen='auto')", name="auto").ml_python
    settings = make_settings("succeed(chosen='ml')", autogptq_python=autogptq)
    assert MlProcess(settings).run(job, SPEC, backend=backend).result == {"chosen": chosen}


def test_no_secret_reaches_the_job(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "AIRFLOW__CORE__FERNET_KEY", "HF_TOKEN", "PYTHONPATH"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    outcome = MlProcess(make_settings("succeed(**os.environ)")).run(Job.VERIFY_MODEL, SPEC)
    assert "secret" not in outcome.result.values()
    assert outcome.result["CUDA_VISIBLE_DEVICES"] == "1"
    assert outcome.result["HF_HUB_OFFLINE"] == "1"


def test_a_run_leaves_nothing_and_sweeps_what_killed_runs_left(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings("pathlib.Path(os.environ['TMPDIR'], 'junk').write_text(''); succeed()")
    jobs = settings.work / ".jobs"
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
        jobs.joinpath(f"{ended.pid}-quantize-x").mkdir(parents=True)
    jobs.joinpath(f"{os.getpid()}-quantize-y").mkdir()
    MlProcess(settings).run(Job.VERIFY_MODEL, SPEC)
    assert [left.name for left in jobs.iterdir()] == [f"{os.getpid()}-quantize-y"]
