"""What crosses to the ML environment and back: one spec and one result a job.

`python -m greenlight.ml JOB SPEC.json OUTCOME.json` runs a job. The outcome is
`{"ok": true, "result": …, "usage": …}` or `{"ok": false, "error": CLASS, "message": TEXT, …}`; a
crash leaves none. Folders that a job writes appear under their name only when complete.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Literal

from greenlight.core.types import JsonDict, Value
from greenlight.quantize.recipes import Recipe


class Job(StrEnum):
    """The jobs of the ML environment."""

    CONVERT_GGUF = "convert_gguf"
    VERIFY_MODEL = "verify_model"
    COUNT_TOKENS = "count_tokens"
    QUANTIZE = "quantize"
    SENSITIVITY = "sensitivity"
    EVALUATE = "evaluate"
    MEASURE_LOAD = "measure_load"
    GENERATE = "generate"


class Backend(StrEnum):
    """Who quantizes."""

    GPTQMODEL = "gptqmodel"
    AUTO_GPTQ = "auto-gptq"


class Device(StrEnum):
    """Where the work runs."""

    CPU = "cpu"
    CUDA = "cuda"


class DatasetKind(StrEnum):
    """What a row holds.

    * `text`: `id`, `text`
    * `choice`: `id`, `question`, `choices` (four), `answer` (index)
    * `instruct`: `id`, `instruction`, `input`, `output`, `check` (`exact`, `contains` or `sql`),
      and `schema` (SQL that sets the database up) when `check` is `sql`
    """

    TEXT = "text"
    CHOICE = "choice"
    INSTRUCT = "instruct"


class Dataset(Value):
    """A named, versioned JSONL file. `digest` is the SHA-256 of its bytes."""

    name: str
    version: str
    kind: DatasetKind
    licence: str
    source: str
    rows: int
    digest: str
    path: Path


class Protocol(Value):
    """How quality is measured; part of the evidence, so that two numbers can be compared.

    `window`: tokens a perplexity window holds; windows never cross documents.
    """

    version: Literal[1] = 1
    window: int = 256
    max_tokens_per_set: int = 12288
    max_choice_items: int = 1000
    max_answers: int = 500
    max_new_tokens: int = 96
    repeats: int = 2
    """How often each greedy answer is generated to prove that it is deterministic."""


class ConvertGgufSpec(Value):
    """Dequantize a GGUF file into a Hugging Face folder of FP32 safetensors."""

    gguf: Path
    output: Path


class VerifyModelSpec(Value):
    """Load a folder and run one token through it."""

    model: Path
    device: Device = Device.CPU


class VerifyModelResult(Value):
    """What loading showed. `dtype` is the checkpoint's (`float32`, `bfloat16`, `float16`)."""

    architecture: str
    parameters: int
    dtype: str
    vocabulary: int
    context: int


class CountTokensSpec(Value):
    """Count tokens of every row, with the model's own tokenizer."""

    model: Path
    datasets: tuple[Dataset, ...]


class CountTokensResult(Value):
    """Tokens per row, by data set name, in row order."""

    lengths: dict[str, list[int]]


class QuantizeSpec(Value):
    """Quantize `model` into `output`; the tokenizer and template are copied byte for byte."""

    model: Path
    output: Path
    recipe: Recipe
    calibration: Dataset
    backend: Backend = Backend.GPTQMODEL
    device: Device = Device.CPU


class LayerLoss(Value):
    """The quantization error of one linear, as its backend reports it."""

    module: str
    bits: int
    loss: float


class QuantizeResult(Value):
    """What quantizing took and left behind. `weight_bytes` are the safetensors files."""

    weight_bytes: int
    calibration_tokens: int
    losses: tuple[LayerLoss, ...]
    seconds: float
    tools: dict[str, str]


class SensitivitySpec(Value):
    """Round one fused module group at a time and see how far the answers move."""

    model: Path
    calibration: Dataset
    bits: int = 4
    group_size: int = 32
    tokens: int = 1024
    device: Device = Device.CPU


class SensitivityResult(Value):
    """Mean KL divergence from the parent, in nats per token, by fused module group."""

    kl: dict[str, float]
    seconds: float


class EvaluateSpec(Value):
    """Measure quality, kernel-independently: weights dequantized and run in FP32.

    `parent`: the folder that an earlier `evaluate` of the parent wrote; then KL and agreement are
    measured too. `round_to`: round the weights in memory first (the round-to-nearest control).
    """

    model: Path
    output: Path
    datasets: tuple[Dataset, ...]
    protocol: Protocol = Protocol()
    parent: Path | None = None
    round_to: Recipe | None = None
    keep_logits: bool = False
    """Write what `parent` of later jobs needs."""
    device: Device = Device.CPU


class EvaluateResult(Value):
    """Where the per-item results are (`quantize.items` reads them), and how long it took."""

    folder: Path
    tokens: int
    seconds: float
    tools: dict[str, str]


class MeasureLoadSpec(Value):
    """Load a folder in a fresh process as it would be served, and generate."""

    model: Path
    dtype: str
    new_tokens: int = 64
    device: Device = Device.CPU


class MeasureLoadResult(Value):
    """Memory in bytes. `imports_rss_bytes` was there before the model."""

    dtype: str
    load_seconds: float
    resident_weight_bytes: int
    imports_rss_bytes: int
    peak_rss_bytes: int
    tokens_per_second: float
    peak_device_bytes: int | None = None


class GenerateSpec(Value):
    """Continue each prompt greedily, so that what a model says can be compared with another time.

    Exactly `new_tokens` follow each prompt, ends ignored: an answer of one token proves little.
    `threads`: on the CPU, how a sum is split decides how it rounds; the same number everywhere
    keeps the tokens from following a machine's cores.
    """

    model: Path
    prompts: tuple[str, ...]
    new_tokens: int = 16
    threads: int = 1
    device: Device = Device.CPU


class GenerateResult(Value):
    """What followed each prompt, in order: its tokens, and the same as text."""

    tokens: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...]


class Usage(Value):
    """What a child process took, measured by its parent."""

    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int


class Progress(Value):
    """How far a job is. `done` of `total` steps of `stage`."""

    stage: str
    done: int
    total: int


class Outcome(Value):
    """A finished job: its result (the job's own shape) and what it took."""

    result: JsonDict
    usage: Usage
