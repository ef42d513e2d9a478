"""gptqmodel on a tiny model, through the real runner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import quantized_folders as folders
from quantized_folders import EVERYTHING, LAYERS

from greenlight.adapters.ml_process import MlProcess
from greenlight.core.digest import manifest_of
from greenlight.core.settings import Settings
from greenlight.quantize.jobs import Job, MeasureLoadSpec, Progress, QuantizeResult, QuantizeSpec

pytestmark = pytest.mark.ml
MakeSpec = Callable[..., QuantizeSpec]


@pytest.fixture(scope="module")
def progress() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def everything(
    runner: MlProcess, make_spec: MakeSpec, progress: list[Progress]
) -> tuple[QuantizeSpec, QuantizeResult]:
    """A recipe that uses every field the backend has."""
    spec = make_spec("everything", **EVERYTHING)
    outcome = runner.run(Job.QUANTIZE, spec, on_progress=progress.append)
    return spec, QuantizeResult.model_validate(outcome.result)


def test_every_linear_gets_the_bits_of_the_first_rule_that_names_it(
    everything: tuple[QuantizeSpec, QuantizeResult],
) -> None:
    found = folders.bits(everything[0].output)
    assert {found[f"model.layers.0.self_attn.{kind}_proj"] for kind in "qkv"} == {16}
    assert found["model.layers.1.self_attn.q_proj"] == 4
    assert found["model.layers.1.self_attn.v_proj"] == 8
    assert {found[f"model.layers.{layer}.mlp.down_proj"] for layer in (0, 1)} == {8}
    assert found["model.layers.0.mlp.up_proj"] == 4


def test_the_folder_is_the_parents_but_for_weights_and_config(
    tiny: Path, everything: tuple[QuantizeSpec, QuantizeResult]
) -> None:
    folder = everything[0].output
    folders.assert_companions_equal(tiny, folder)
    folders.assert_stored_once_in_16_bit(folder)
    config = json.loads(folder.joinpath("config.json").read_text())
    parent = json.loads(tiny.joinpath("config.json").read_text())
    quantization = config.pop("quantization_config")
    assert config | {"dtype": "float32"} == parent
    assert config["dtype"] == "bfloat16"
    assert quantization["quant_method"] == quantization["checkpoint_format"] == "gptq"
    assert quantization["desc_act"] is False


def test_every_quantized_linear_reports_its_loss(
    everything: tuple[QuantizeSpec, QuantizeResult],
) -> None:
    spec, result = everything
    bits = folders.bits(spec.output)
    assert {loss.module: loss.bits for loss in result.losses} == {
        module: width for module, width in bits.items() if width < 16
    }
    record = json.loads(spec.output.joinpath("quantization.json").read_text())
    assert [loss.model_dump() for loss in result.losses] == record["losses"]
    assert result.calibration_tokens == 4 * 64
    assert result.weight_bytes == (spec.output / "model.safetensors").stat().st_size
    assert result.tools["gptqmodel"]


def test_progress_counts_the_layers(
    everything: tuple[QuantizeSpec, QuantizeResult], progress: list[Progress]
) -> None:
    layers = [step for step in progress if step.stage == "quantize"]
    assert [step.done for step in layers] == list(range(1, LAYERS + 1))
    assert {step.total for step in layers} == {LAYERS}


def test_killed_in_the_middle_the_next_run_finishes_and_makes_the_same_weights(
    tmp_path: Path,
    settings: Settings,
    runner: MlProcess,
    make_spec: MakeSpec,
    everything: tuple[QuantizeSpec, QuantizeResult],
) -> None:
    spec = make_spec("everything", **EVERYTHING)
    target = tmp_path / "everything"
    spec = spec.model_copy(update={"output": target})
    task = """
import sys
from greenlight.adapters.ml_process import MlProcess
from greenlight.core.settings import Settings
from greenlight.quantize.jobs import Job, QuantizeSpec
MlProcess(Settings.model_validate_json(sys.argv[1])).run(
    Job.QUANTIZE,
    QuantizeSpec.model_validate_json(sys.argv[2]),
    on_progress=lambda step: print(step.stage, flush=True),
)
"""
    arguments = [sys.executable, "-c", task, settings.model_dump_json(), spec.model_dump_json()]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline().strip() == "quantize"
        os.killpg(killed.pid, signal.SIGKILL)
    assert not target.exists()
    assert list(target.parent.iterdir()), "the kill came too early to prove anything"
    wait_until_alone(target.parent)

    runner.run(Job.QUANTIZE, spec)
    assert [left.name for left in target.parent.iterdir()] == ["everything"]
    assert manifest_of(target).digest == manifest_of(everything[0].output).digest


def wait_until_alone(folder: Path) -> None:
    """Wait until nothing changes in `folder`: the leash has ended the orphaned job."""
    before: list[str] = [""]
    for _ in range(100):
        now = sorted(f"{file} {file.stat().st_mtime_ns}" for file in folder.rglob("*"))
        if now == before:
            return
        before = now
        time.sleep(0.5)
    raise AssertionError(f"something still writes into {folder}")


def test_a_packed_folder_holds_fewer_bytes_in_memory_than_its_parent_in_16_bit(
    runner: MlProcess, tiny: Path, everything: tuple[QuantizeSpec, QuantizeResult]
) -> None:
    resident = [
        runner.run(
            Job.MEASURE_LOAD, MeasureLoadSpec(model=model, dtype="bfloat16", new_tokens=4)
        ).result
        for model in (tiny, everything[0].output)
    ]
    assert resident[1]["resident_weight_bytes"] < 0.8 * resident[0]["resident_weight_bytes"]
    for found in resident:
        assert found["peak_rss_bytes"] > found["imports_rss_bytes"] > 0
        assert found["tokens_per_second"] > 0
