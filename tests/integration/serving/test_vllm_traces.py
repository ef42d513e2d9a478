"""vLLM, started by a fleet's profile, tells its span of a request in the caller's trace."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import httpx
import pytest

from greenlight.adapters.hosts.engines_argv import EngineSlot, engine_argv, engine_variables
from greenlight.adapters.ml_process import child_environment
from greenlight.adapters.processes import LeashedProcess
from greenlight.core.settings import Settings
from greenlight.core.traces import new_trace
from greenlight.deploy.colours import Colour
from greenlight.deploy.engines import EngineProfile
from greenlight.testing.otlp_sink import ToldSpan, otlp_sink
from greenlight.testing.servers import free_port
from greenlight.testing.tiny_model import make_tiny
from greenlight.testing.waiting import wait_for

pytestmark = [pytest.mark.serve, pytest.mark.ml, pytest.mark.timeout(600)]
DIGEST = "d1"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "a host"
    make_tiny(Settings(home=tmp_path), folder / "models" / DIGEST, hidden=128)
    return folder


def test_its_span_hangs_below_the_callers_and_holds_no_text(root: Path, tmp_path: Path) -> None:
    trace, prompt = new_trace(), "a secret prompt"
    with otlp_sink() as sink, (tmp_path / "log").open("wb") as output:
        profile = EngineProfile(
            kind="vllm-cpu", kv_cache_gb=0.1, threads=1, drain_s=5, shutdown_s=5,
            flags={"max-model-len": 64, "dtype": "bfloat16"},
            otlp_traces_endpoint=f"{sink.url}/v1/traces",
        )  # fmt: skip
        slot = EngineSlot(
            colour=Colour.BLUE, address="127.0.0.1", port=free_port(), digest=DIGEST, model="m",
            root=PurePosixPath(root), python=str(Settings(home=tmp_path).serve_python),
        )  # fmt: skip
        environment = child_environment(os.environ, temporary=tmp_path) | engine_variables(
            profile, root=slot.root
        )
        url = f"http://127.0.0.1:{slot.port}"
        with LeashedProcess(
            engine_argv(profile, slot), env=environment, cwd=root, stdout=output, stderr=output
        ) as engine:
            wait_for(
                lambda: is_healthy(url) or engine.poll() is not None, seconds=400, every_s=1,
                why=(tmp_path / "log").read_text,
            )  # fmt: skip
            answer = httpx.post(
                f"{url}/v1/completions", json={"model": "m", "prompt": prompt, "max_tokens": 4},
                headers=trace.headers(), timeout=60, trust_env=False,
            )  # fmt: skip
            assert answer.status_code == 200

            def told() -> list[ToldSpan]:
                return [span for span in sink.spans if span.trace_id == trace.trace_id]

            (span,) = wait_for(told, seconds=30)
    assert (span.service, span.parent_id) == ("greenlight-engine", trace.span_id)
    assert span.facts["gen_ai.usage.completion_tokens"] == "4"
    assert prompt.encode() not in sink.raw


def is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2, trust_env=False).is_success
    except httpx.TransportError:
        return False
