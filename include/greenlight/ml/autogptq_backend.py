"""Quantize with auto-gptq 0.7.1: one width for every linear, on a CPU or a GPU.

Its `from_pretrained` refuses to work without CUDA, so on a CPU its public class is used directly,
and its constant for "the first GPU" is pointed at the CPU. It knows nothing of transformers 5:
the model is built here, from a translated config (`configs.legacy_layout`).
"""

from __future__ import annotations

import logging
import re

import auto_gptq.modeling._base as auto_gptq_base
import torch
from auto_gptq import BaseQuantizeConfig
from auto_gptq.modeling.llama import LlamaGPTQForCausalLM
from transformers import PreTrainedModel

from greenlight.core.errors import ConfigError, InputError
from greenlight.ml import progress
from greenlight.ml.configs import read_config
from greenlight.ml.dequantize import load_model
from greenlight.ml.packing import PACKED
from greenlight.ml.quantize import STAGE, Quantized, Task
from greenlight.quantize.abilities import check_backend
from greenlight.quantize.jobs import Backend, Device
from greenlight.quantize.recipes import Recipe

ARCHITECTURE = "LlamaForCausalLM"
BATCH = 4
"""Samples a forward pass. They have one length, so none is padded."""


def refuse(recipe: Recipe) -> None:
    """Refuse what this backend can't do.

    Raises:
        ConfigError: the recipe asks for it; the message names every such field.
    """
    if reasons := check_backend(recipe, Backend.AUTO_GPTQ):
        raise ConfigError(f"recipe {recipe.name}: {'; '.join(reasons)}")


def quantize(task: Task) -> Quantized:
    """Return the packed tensors and each linear's loss (mean squared error, per sample).

    Raises:
        InputError: not a Llama: the only architecture this path was made for.
    """
    require_llama(task)
    model = LlamaGPTQForCausalLM(load(task), False, quantize_config(task.recipe))  # noqa: FBT003
    if task.device is Device.CPU:
        use_cpu()
    listener = _Listener(layers=1 + max(linear.layer for linear in task.linears))
    with listener:
        model.quantize(
            [{"input_ids": list(ids), "attention_mask": [1] * len(ids)} for ids in task.samples],
            batch_size=min(BATCH, len(task.samples)),
            use_cuda_fp16=False,
            cache_examples_on_gpu=False,
        )
    return Quantized(tensors=_kept(model.model, task), losses=listener.losses)


def quantize_config(recipe: Recipe) -> BaseQuantizeConfig:
    """Return the recipe in auto-gptq's words; act-order means static groups here too."""
    grouped = recipe.group_size > 0
    return BaseQuantizeConfig(
        bits=recipe.bits,
        group_size=recipe.group_size,
        desc_act=recipe.act_order,
        static_groups=recipe.act_order and grouped,
        sym=recipe.symmetric,
        true_sequential=True,
    )


def require_llama(task: Task) -> None:
    """Refuse other architectures.

    Raises:
        InputError: the model isn't a Llama.
    """
    architectures = read_config(task.model).get("architectures")
    if architectures != [ARCHITECTURE]:
        raise InputError(
            f"{task.model} is a {architectures}; auto-gptq is used for {ARCHITECTURE} only"
        )


def load(task: Task) -> PreTrainedModel:
    """Return the model to quantize, in FP32, checked against its config.

    Raises:
        InputError: the rotary base got lost on the way to the older transformers.
    """
    model = load_model(task.model, device=task.device.value)
    values = read_config(task.model)
    wanted = (values.get("rope_parameters") or values).get("rope_theta")
    if wanted is not None and model.config.rope_theta != wanted:
        raise InputError(
            f"{task.model} has rope_theta {wanted}, but transformers read {model.config.rope_theta}"
        )
    return model


def use_cpu() -> None:
    """Let auto-gptq work where there is no GPU; it synchronizes one unasked."""
    auto_gptq_base.CUDA_0 = torch.device("cpu")
    torch.cuda.synchronize = _nothing


def _nothing(device: object = None) -> None:
    """Synchronize a GPU that isn't there."""


def _kept(model: PreTrainedModel, task: Task) -> dict[str, torch.Tensor]:
    """Return the checkpoint's tensors, without the zero biases that packed linears get."""
    packed = {f"{linear.module}.bias" for linear in task.linears}
    state = model.state_dict()
    return {
        name: tensor
        for name, tensor in state.items()
        if name not in packed or bool(tensor.any()) or name.rpartition(".")[2] in PACKED
    }


class _Listener(logging.Handler):
    """Reads what auto-gptq logs: the only place where it says how far it is and what it lost."""

    STARTED = re.compile(r"Start quantizing layer (\d+)/\d+")
    LINEAR = re.compile(r"Quantizing (\S+) in layer (\d+)/\d+")
    LOSS = re.compile(r"avg loss: (\S+)")

    def __init__(self, *, layers: int) -> None:
        super().__init__(logging.INFO)
        self.losses: dict[str, float] = {}
        self._layers = layers
        self._linear = ""

    def __enter__(self) -> _Listener:
        """Listen."""
        for logger in self._loggers():
            logger.addHandler(self)
            logger.setLevel(logging.INFO)
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop listening."""
        for logger in self._loggers():
            logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        text = record.getMessage()
        if found := self.STARTED.search(text):
            progress.report(STAGE, done=int(found[1]) - 1, total=self._layers)
        elif found := self.LINEAR.search(text):
            self._linear = f"model.layers.{int(found[2]) - 1}.{found[1]}"
        elif found := self.LOSS.search(text):
            self.losses[self._linear] = float(found[1])

    @staticmethod
    def _loggers() -> tuple[logging.Logger, ...]:
        names = ("auto_gptq.modeling._base", "auto_gptq.quantization.gptq")
        return tuple(logging.getLogger(name) for name in names)
