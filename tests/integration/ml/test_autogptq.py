"""auto-gptq on a tiny model, through the real runner: the same contract as gptqmodel's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import quantized_folders as folders
from quantized_folders import EVERYTHING, LAYERS

from greenlight.adapters.ml_process import MlProcess
from greenlight.core.digest import manifest_of
from greenlight.core.errors import ConfigError
from greenlight.quantize.jobs import Backend, Job, QuantizeResult, QuantizeSpec, VerifyModelSpec

pytestmark = [pytest.mark.ml, pytest.mark.autogptq]
BY_AUTO_GPTQ = {"backend": Backend.AUTO_GPTQ}


def test_its_output_is_normalised_and_loads_in_the_other_environment(
    runner: MlProcess, tiny: Path, make_spec: Callable[..., QuantizeSpec]
) -> None:
    spec = make_spec("auto", fields=BY_AUTO_GPTQ, act_order=True)
    outcome = runner.run(Job.QUANTIZE, spec, backend=Backend.AUTO_GPTQ)
    result = QuantizeResult.model_validate(outcome.result)
    assert set(folders.bits(spec.output).values()) == {4}
    folders.assert_companions_equal(tiny, spec.output)
    folders.assert_stored_once_in_16_bit(spec.output)
    assert len(result.losses) == 7 * LAYERS
    assert all(loss.loss > 0 for loss in result.losses)
    config = json.loads(spec.output.joinpath("config.json").read_text())
    assert config["rope_parameters"]["rope_theta"] == 50000.0
    assert "is_marlin_format" not in config["quantization_config"]
    assert config["quantization_config"]["meta"]["quantizer"] == ["auto-gptq:0.7.1"]
    loaded = runner.run(Job.VERIFY_MODEL, VerifyModelSpec(model=spec.output)).result
    assert loaded["architecture"] == "LlamaForCausalLM"

    again = spec.model_copy(update={"output": spec.output.with_name("again")})
    runner.run(Job.QUANTIZE, again, backend=Backend.AUTO_GPTQ)
    assert manifest_of(again.output).digest == manifest_of(spec.output).digest


def test_what_it_cannot_do_is_named_before_any_work(
    runner: MlProcess, make_spec: Callable[..., QuantizeSpec]
) -> None:
    spec = make_spec("too-much", fields=BY_AUTO_GPTQ, symmetric=False, **EVERYTHING)
    with pytest.raises(ConfigError, match=r"symmetric: false.*gptaq.*scale_search.*modules"):
        runner.run(Job.QUANTIZE, spec, backend=Backend.AUTO_GPTQ)
    assert not spec.output.exists()
