from __future__ import annotations

import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from greenlight.adapters.vllm_engine import (
    EngineOptions,
    VllmEngine,
    engine_command,
    engine_environment,
    wait_ready,
)
from greenlight.core.errors import ConfigError, InputError, ResourceError, UnavailableError
from greenlight.testing.simulation import FILE, Simulation

REFUSAL = (
    "(Worker pid=9) Traceback (most recent call last):\n"
    "(EngineCore pid=7) ERROR 11-24 11:05:50 [core.py:99] ValueError: Detected some but not all "
    "shards of qkv_proj are quantized.\n"
    "RuntimeError: Engine core initialization failed."
)
VALIDATION = (
    "(APIServer pid=9) pydantic_core._pydantic_core.ValidationError: 1 validation error for "
    "VllmConfig\n(APIServer pid=9)   Value error, GPTQ group activation ordering is no longer "
    "supported."
)


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An interpreter that serves with the simulator whatever module it is asked to run."""
    script = tmp_path / "python"
    script.write_text(
        f'#!/bin/sh\nshift 2\nexec "{sys.executable}" -m greenlight.testing.engine_simulator "$@"\n'
    )
    script.chmod(0o755)
    return script


def engine(
    tmp_path: Path, python: Path, simulation: Simulation | None = None, *, name: str = "candidate"
) -> VllmEngine:
    model = tmp_path / f"model of {name}"
    model.mkdir()
    (model / FILE).write_text((simulation or Simulation()).model_dump_json())
    return VllmEngine(
        python,
        model=model,
        name=name,
        log_file=tmp_path / "logs" / f"{name}.log",
        cache=tmp_path / "cache",
    )


def test_an_engine_serves_its_model_until_the_block_ends(tmp_path: Path, python: Path) -> None:
    others = set(psutil.Process().children(recursive=True))
    with engine(tmp_path, python) as served:
        wait_ready([served], timeout_s=30)
        models = httpx.get(f"{served.url}/v1/models").json()
        assert models["data"][0]["id"] == "candidate"
        assert served.ready_s > 0
        assert served.rss_bytes() > 1e6
        assert served.cpu_seconds() > 0
        children = set(psutil.Process().children(recursive=True)) - others
    assert children
    assert not psutil.wait_procs(children, timeout=5)[1]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{served.url}/health")


def test_engines_can_start_side_by_side(tmp_path: Path, python: Path) -> None:
    with (
        engine(tmp_path, python, name="parent") as one,
        engine(tmp_path, python, name="candidate") as other,
    ):
        wait_ready([one, other], timeout_s=30)
        assert one.url != other.url


def test_a_missing_serving_environment_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scripts/setup serve"):
        engine(tmp_path, tmp_path / "nowhere/python")


@pytest.mark.parametrize(
    ("death", "error", "said"),
    [
        (REFUSAL, InputError, "refuses .*: ValueError: Detected some but not all shards"),
        (VALIDATION, InputError, "1 validation error for VllmConfig Value error, GPTQ group"),
        ("[F1124 cpu_wna16.cpp:296] Check failed: group_size", InputError, "group_size"),
        ("MemoryError", ResourceError, "out of memory"),
        ("RuntimeError: [enforce fail] Cannot allocate memory", ResourceError, "kv_cache_gb"),
        ("ValueError: No available memory for the cache blocks.", ResourceError, "out of memory"),
        ("something odd", UnavailableError, "something odd"),
    ],
)
def test_a_death_is_the_error_that_says_what_to_do(
    tmp_path: Path, python: Path, death: str, error: type[Exception], said: str
) -> None:
    with (
        engine(tmp_path, python, Simulation(death=death)) as served,
        pytest.raises(error, match=said),
    ):
        wait_ready([served], timeout_s=30)


def test_an_engine_that_never_gets_ready_is_given_up(tmp_path: Path, python: Path) -> None:
    with (
        engine(tmp_path, python, Simulation(never_ready=True)) as served,
        pytest.raises(UnavailableError, match="not ready after 1 s"),
    ):
        wait_ready([served], timeout_s=1)


def test_another_server_on_the_port_is_not_taken_for_ours(tmp_path: Path, python: Path) -> None:
    with (
        engine(tmp_path, python, Simulation(strange=True)) as served,
        pytest.raises(UnavailableError, match="another server took the port"),
    ):
        wait_ready([served], timeout_s=30)


def test_an_engine_that_ended_has_no_memory_to_report(tmp_path: Path, python: Path) -> None:
    with engine(tmp_path, python, Simulation(death="gone")) as served:
        deadline = time.monotonic() + 20
        while psutil.Process().children() and time.monotonic() < deadline:
            try:
                served.is_ready()
            except UnavailableError:
                break
            time.sleep(0.05)
        with pytest.raises(UnavailableError, match="has ended"):
            served.rss_bytes()


def test_the_environment_is_offline_and_keeps_secrets_out(tmp_path: Path) -> None:
    ours = {"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "s", "OMP_NUM_THREADS": "64"}
    found = engine_environment(
        ours, options=EngineOptions(threads=3), cache=tmp_path / "cache", temporary=tmp_path
    )
    assert "AWS_SECRET_ACCESS_KEY" not in found
    assert (found["HF_HUB_OFFLINE"], found["VLLM_NO_USAGE_STATS"]) == ("1", "1")
    assert found["OMP_NUM_THREADS"] == "3"
    assert found["VLLM_CACHE_ROOT"].startswith(str(tmp_path))


def test_the_command_listens_on_loopback_and_bounds_the_cache(tmp_path: Path) -> None:
    command = engine_command(
        tmp_path, model=tmp_path, name="n", port=1, options=EngineOptions(kv_cache_gb=0.5)
    )
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--kv-cache-memory-bytes") + 1] == str(2**29)


def test_a_model_refused_at_the_first_request_is_refused_all_the_same(
    tmp_path: Path, python: Path
) -> None:
    served = engine(tmp_path, python)
    served.log_file.parent.mkdir()
    served.log_file.write_text("RuntimeError: Unsupported CPU attention configuration: head_dim=16")
    error = served.failure("left 1 of 1 requests without an answer (HTTP 500)")
    assert isinstance(error, InputError)
    assert "head_dim=16" in str(error)


def test_the_end_of_the_log_is_told_without_the_frames_of_a_traceback(
    tmp_path: Path, python: Path
) -> None:
    served = engine(tmp_path, python)
    served.log_file.parent.mkdir()
    served.log_file.write_text(
        "(A pid=1) ERROR 11-24 11:53:24 [a.py:9] Traceback (most recent call last):\n"
        '(A pid=1) ERROR 11-24 11:53:24 [a.py:9]   File "a.py", line 9, in get\n'
        "(A pid=1) ERROR 11-24 11:53:24 [a.py:9]     raise output\n"
        "(A pid=1) ERROR 11-24 11:53:24 [a.py:9] OSError: no device\n"
    )
    assert served.tail() == "OSError: no device"


@pytest.mark.parametrize(("context", "length"), [(512, "512"), (8192, "1024")])
def test_no_more_tokens_are_asked_for_than_the_model_was_made_for(
    tmp_path: Path, context: int, length: str
) -> None:
    (tmp_path / "config.json").write_text(f'{{"max_position_embeddings": {context}}}')
    command = engine_command(
        tmp_path, model=tmp_path, name="n", port=1, options=EngineOptions(max_model_len=1024)
    )
    assert command[command.index("--max-model-len") + 1] == length
