"""Load a folder in a fresh process as transformers serves it, and generate.

A plain folder is loaded in the dtype asked for. A GPTQ folder is loaded by gptqmodel, which keeps
the weights packed and puts its kernels into the transformers model; transformers' own integration
(optimum) doesn't know rules per module and fails on them. On a CPU the kernel is gptqmodel's
choice: a fast one for 4 bits in groups, else one that unpacks the weights at every step. On a GPU
it is that last one: its own choice there (Marlin) is compiled first, minutes long, and needs nvcc,
which hosts that only serve lack. How fast an engine serves is measured with the engine.
"""

from __future__ import annotations

import resource
import time

import psutil
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from greenlight.core.errors import ConfigError, InputError
from greenlight.ml import progress
from greenlight.ml.dequantize import quantization_of
from greenlight.quantize.jobs import Device, MeasureLoadResult, MeasureLoadSpec

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
PROMPT = "The quick brown fox jumps over the lazy dog. Once upon a time there was"
WARM_UP_TOKENS = 4
STAGE = "load"


def run(spec: MeasureLoadSpec) -> MeasureLoadResult:
    """Return what loading and generating took.

    Memory: `resident_weight_bytes` are the bytes of the parameters and buffers that the loaded
    model holds, each storage once; `peak_rss_bytes` is the whole process's.

    Raises:
        ConfigError: an unknown dtype.
        InputError: the folder doesn't load.
    """
    if spec.dtype not in DTYPES:
        raise ConfigError(f"unknown dtype {spec.dtype!r}; known are {', '.join(DTYPES)}")
    imports = psutil.Process().memory_info().rss
    started = time.monotonic()
    model = load(spec)
    loaded = time.monotonic() - started
    progress.report(STAGE, done=1, total=2)
    rate = tokens_per_second(model, spec)
    progress.report(STAGE, done=2, total=2)
    return MeasureLoadResult(
        dtype=spec.dtype,
        load_seconds=loaded,
        resident_weight_bytes=resident_bytes(model),
        imports_rss_bytes=imports,
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        tokens_per_second=rate,
        peak_device_bytes=(
            torch.cuda.max_memory_allocated() if spec.device is Device.CUDA else None
        ),
    )


def load(spec: MeasureLoadSpec) -> PreTrainedModel:
    """Return the model as it would be served.

    Raises:
        InputError: the folder doesn't load.
    """
    try:
        if quantization_of(spec.model) is not None:
            return load_packed(spec)
        model = AutoModelForCausalLM.from_pretrained(
            spec.model, dtype=DTYPES[spec.dtype], device_map={"": spec.device.value}
        )
    except (OSError, ValueError) as error:
        raise InputError(f"{spec.model} doesn't load: {error}") from error
    return model.eval()


def load_packed(spec: MeasureLoadSpec) -> PreTrainedModel:
    """Return the model of a GPTQ folder with its weights packed."""
    from gptqmodel import BACKEND, GPTQModel

    model = GPTQModel.load(
        str(spec.model),
        device=spec.device.value,
        backend=BACKEND.AUTO if spec.device is Device.CPU else BACKEND.GPTQ_TORCH,
        dtype=DTYPES[spec.dtype],
    )
    found: PreTrainedModel = model.model
    return found.eval()


def resident_bytes(model: PreTrainedModel) -> int:
    """Return the bytes of every parameter and buffer, tied ones once."""
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in (*model.parameters(), *model.buffers())
    }
    return sum(storages.values())


def tokens_per_second(model: PreTrainedModel, spec: MeasureLoadSpec) -> float:
    """Return the rate of greedy decoding, one sequence, its prompt's pass included."""
    tokenizer = AutoTokenizer.from_pretrained(spec.model)
    inputs = tokenizer(PROMPT, return_tensors="pt").to(model.device)
    _generate(model, inputs, WARM_UP_TOKENS)
    started = time.monotonic()
    made = _generate(model, inputs, spec.new_tokens)
    return made / (time.monotonic() - started)


def _generate(model: PreTrainedModel, inputs: dict[str, torch.Tensor], tokens: int) -> int:
    """Generate exactly `tokens` tokens, ends ignored, and return their number."""
    with torch.inference_mode():
        output = model.generate(
            **inputs, do_sample=False, min_new_tokens=tokens, max_new_tokens=tokens, use_cache=True
        )
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    return int(output.shape[1] - inputs["input_ids"].shape[1])
