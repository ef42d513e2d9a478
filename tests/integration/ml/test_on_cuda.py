"""The ML jobs on an NVIDIA GPU: the same answers as on the CPU, and the GPU's own figures.

Needs a GPU and a CUDA build of torch in .venv-ml; skipped elsewhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import quantized_folders as folders
from quantized_folders import EVERYTHING

from greenlight.adapters.ml_process import MlProcess
from greenlight.core.settings import Settings
from greenlight.quantize.items import Items, read_items
from greenlight.quantize.jobs import (
    Dataset,
    Device,
    EvaluateSpec,
    GenerateSpec,
    Job,
    MeasureLoadSpec,
    Protocol,
    QuantizeSpec,
    SensitivitySpec,
    VerifyModelSpec,
)

pytestmark = [
    pytest.mark.ml,
    pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="needs an NVIDIA GPU"),
]
PROTOCOL = Protocol(window=64, max_tokens_per_set=640)
Measure = Callable[..., Items]


@pytest.fixture(scope="module")
def quantized(runner: MlProcess, make_spec: Callable[..., QuantizeSpec]) -> dict[Device, Path]:
    """The same recipe by both."""
    made = {}
    for device in Device:
        spec = make_spec(f"on-{device}", fields={"device": device}, **EVERYTHING)
        runner.run(Job.QUANTIZE, spec)
        made[device] = spec.output
    return made


@pytest.fixture(scope="module")
def measure(runner: MlProcess, settings: Settings, tiny: Path, calibration: Dataset) -> Measure:
    def measure(device: Device, model: Path = tiny, *, parent: Path | None = None) -> Items:
        spec = EvaluateSpec(
            model=model,
            output=settings.home / f"{model.name}-evaluated-on-{device}",
            datasets=(calibration,),
            protocol=PROTOCOL,
            parent=parent,
            keep_logits=parent is None,
            device=device,
        )
        runner.run(Job.EVALUATE, spec)
        return read_items(spec.output)

    return measure


def test_it_measures_what_the_cpu_measures(measure: Measure) -> None:
    cpu, gpu = (measure(device).nll["topics"] for device in Device)
    assert np.allclose(cpu, gpu, rtol=1e-4, atol=1e-4)


def test_it_quantizes_as_well_as_the_cpu(
    measure: Measure, settings: Settings, quantized: dict[Device, Path], tiny: Path
) -> None:
    assert folders.bits(quantized[Device.CUDA]) == folders.bits(quantized[Device.CPU])
    folders.assert_stored_once_in_16_bit(quantized[Device.CUDA])
    parent = settings.home / f"{tiny.name}-evaluated-on-cpu"
    if not parent.exists():
        measure(Device.CPU)
    cpu, gpu = (
        measure(Device.CPU, quantized[device], parent=parent).kl["topics"].mean()
        for device in Device
    )
    assert 0 < gpu < 1.5 * cpu


def test_a_packed_model_takes_less_of_the_gpu_than_its_parent(
    runner: MlProcess, tiny: Path, quantized: dict[Device, Path]
) -> None:
    found = [
        runner.run(
            Job.MEASURE_LOAD,
            MeasureLoadSpec(model=model, dtype="bfloat16", new_tokens=4, device=Device.CUDA),
        ).result
        for model in (tiny, quantized[Device.CUDA])
    ]
    for one in found:
        assert one["peak_device_bytes"] >= one["resident_weight_bytes"] > 0
        assert one["tokens_per_second"] > 0
    assert found[1]["resident_weight_bytes"] < found[0]["resident_weight_bytes"]


def test_a_model_is_verified_and_answers_the_same_twice(runner: MlProcess, tiny: Path) -> None:
    runner.run(Job.VERIFY_MODEL, VerifyModelSpec(model=tiny, device=Device.CUDA))
    spec = GenerateSpec(model=tiny, prompts=("once", "upon a time"), device=Device.CUDA)
    first, second = (runner.run(Job.GENERATE, spec).result["tokens"] for _ in range(2))
    assert first == second
    assert [len(tokens) for tokens in first] == [spec.new_tokens] * 2


def test_the_order_of_sensitivity_is_the_cpus(
    runner: MlProcess, tiny: Path, calibration: Dataset
) -> None:
    cpu, gpu = (
        runner.run(
            Job.SENSITIVITY,
            SensitivitySpec(model=tiny, calibration=calibration, tokens=256, device=device),
        ).result["kl"]
        for device in Device
    )
    assert gpu == pytest.approx(cpu, rel=0.05)
