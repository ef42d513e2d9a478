from itertools import pairwise
from pathlib import PurePosixPath

import pytest
from pydantic import ValidationError

from greenlight.adapters.hosts.engines_argv import (
    EngineSlot,
    engine_argv,
    engine_service,
    engine_variables,
    programs,
)
from greenlight.core.errors import ConfigError
from greenlight.deploy.colours import Colour
from greenlight.deploy.engines import EngineProfile

ROOT = PurePosixPath("/srv/greenlight")
DIGEST = "d" * 64
IMAGE = "vllm/vllm-openai@sha256:" + "a" * 64
SLOT = EngineSlot(
    colour=Colour.GREEN,
    address="10.0.0.7",
    port=8101,
    root=ROOT,
    digest=DIGEST,
    model="assistant",
    python="/opt/serve/bin/python",
)


def profile(**values) -> EngineProfile:
    return EngineProfile.model_validate({"kind": "vllm", "drain_s": 60, "shutdown_s": 90} | values)


def pairs(argv: tuple[str, ...]) -> set[tuple[str, str]]:
    return set(pairwise(argv))


@pytest.mark.parametrize(
    ("kind", "module"),
    [
        ("vllm", "vllm.entrypoints.openai.api_server"),
        ("vllm-cpu", "vllm.entrypoints.openai.api_server"),
        ("simulator", "greenlight.testing.engine_simulator"),
    ],
)
def test_every_engine_is_told_what_to_serve_where_and_how_long_streams_may_end(kind, module):
    argv = engine_argv(profile(kind=kind), SLOT)
    assert argv[:3] == ("/opt/serve/bin/python", "-m", module)
    assert {
        ("--model", f"/srv/greenlight/models/{DIGEST}"),
        ("--served-model-name", "assistant"),
        ("--host", "10.0.0.7"),
        ("--port", "8101"),
        ("--shutdown-timeout", "90"),
    } <= pairs(argv)


def test_flags_become_words_of_the_command():
    flags = {"max_model_len": 2048, "dtype": "bfloat16", "trust-remote-code": False, "x": True}
    argv = engine_argv(profile(flags=flags), SLOT)
    assert {"--max-model-len=2048", "--dtype=bfloat16", "--no-trust-remote-code", "--x"} <= {*argv}


def test_the_simulator_has_no_opposite_of_a_switch():
    argv = engine_argv(profile(kind="simulator", flags={"never-ready": False}), SLOT)
    assert not any("never-ready" in word for word in argv)


def test_both_colours_get_their_part_of_the_memory():
    assert "--kv-cache-memory-bytes=2147483648" in engine_argv(profile(kv_cache_gb=2), SLOT)
    shared = engine_argv(profile(flags={"gpu-memory-utilization": 0.4}), SLOT)
    assert not any(word.startswith("--kv-cache") for word in shared)


def test_a_flag_of_the_profile_wins_over_the_kinds():
    argv = engine_argv(profile(kind="vllm-cpu", flags={"enforce_eager": False}), SLOT)
    assert "--no-enforce-eager" in argv
    assert "--enforce-eager" not in argv


@pytest.mark.parametrize("name", ["port", "served_model_name", "shutdown-timeout"])
def test_what_greenlight_sets_is_refused_among_the_flags(name):
    with pytest.raises(ConfigError, match="flags can't have"):
        engine_argv(profile(flags={name: 1}), SLOT)


def test_engines_are_offline_and_silent_and_the_cpu_build_shares_the_machine():
    gpu = engine_variables(profile(), root=ROOT)
    assert {gpu["HF_HUB_OFFLINE"], gpu["VLLM_NO_USAGE_STATS"]} == {"1"}
    assert "OMP_NUM_THREADS" not in gpu
    cpu = engine_variables(profile(kind="vllm-cpu", threads=2), root=ROOT)
    assert gpu.items() <= cpu.items()
    assert (cpu["OMP_NUM_THREADS"], cpu["OMP_WAIT_POLICY"]) == ("2", "passive")
    assert cpu["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert cpu["VLLM_CACHE_ROOT"] == "/srv/greenlight/cache/vllm"


def test_an_engine_makes_spans_only_when_it_is_given_a_collector():
    assert not [word for word in engine_argv(profile(), SLOT) if "otlp" in word]
    assert not [name for name in engine_variables(profile(), root=ROOT) if "OTEL" in name]
    collector = "http://collector:4318/v1/traces"
    for kind in ("vllm", "vllm-cpu"):
        traced = profile(kind=kind, otlp_traces_endpoint=collector)
        assert f"--otlp-traces-endpoint={collector}" in engine_argv(traced, SLOT)
        found = engine_variables(traced, root=ROOT)
        assert found["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] == "http/protobuf"
    simulated = profile(kind="simulator", otlp_traces_endpoint=collector)
    assert not [word for word in engine_argv(simulated, SLOT) if "otlp" in word]


@pytest.mark.parametrize("wrong", ["collector:4317", "http://collector:4318", "grpc://c/x"])
def test_a_collector_is_an_http_address_with_its_path(wrong):
    with pytest.raises(ValidationError, match="otlp_traces_endpoint"):
        profile(otlp_traces_endpoint=wrong)


def test_a_process_needs_no_service():
    assert engine_service(profile(), SLOT) is None
    assert programs(profile(), python="/p") == ("/p",)


def test_docker_runs_the_pinned_image_with_the_models_read_only():
    docker = profile(launch="docker", image=IMAGE)
    service = engine_service(docker, SLOT)
    assert programs(docker, python="/p") == ("docker",)
    assert service.start[:2] == ("docker", "run")
    assert {
        ("--name", "greenlight-green"),
        ("--gpus", "all"),
        ("--network", "host"),
        ("--volume", "/srv/greenlight/models:/models:ro"),
        ("--model", f"/models/{DIGEST}"),
        (IMAGE, "-m"),
    } <= pairs(service.start)
    assert "--env=HF_HUB_OFFLINE=1" in service.start


def test_no_docker_command_ends_a_container_in_order_to_forget_it():
    service = engine_service(profile(launch="docker", image=IMAGE), SLOT)
    assert service.remove == ("docker", "rm", "greenlight-green")


def test_systemd_signals_the_first_process_only_and_gives_it_its_time():
    systemd = profile(launch="systemd")
    service = engine_service(systemd, SLOT)
    assert programs(systemd, python="/p") == ("systemd-run", "systemctl", "/p")
    assert {
        "--unit=greenlight-green",
        "--property=KillMode=mixed",
        "--property=TimeoutStopSec=90",
        "--setenv=HF_HUB_OFFLINE=1",
        f"--property=StandardOutput=append:{ROOT}/slots/green/engine.log",
    } <= {*service.start}
    assert service.start[-len(engine_argv(systemd, SLOT)) :] == engine_argv(systemd, SLOT)
    assert service.stop == ("systemctl", "stop", "--no-block", "greenlight-green")
    assert "deactivating" in service.alive, "an engine that lets streams end still lives"
