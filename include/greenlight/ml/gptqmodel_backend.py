"""Quantize with gptqmodel: every field of a recipe but the 8-bit embedding.

Act-order recipes use static groups, see `quantize.quantization_config`. Recipes without act-order
use gptqmodel's own default, group-aware reordering, which costs nothing to serve.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from gptqmodel import GPTQModel, QuantizeConfig
from gptqmodel.quantization.config import GPTAQConfig

from greenlight.core.errors import ConfigError, InputError
from greenlight.core.types import JsonDict
from greenlight.ml import progress
from greenlight.ml.dequantize import stored_tensors
from greenlight.ml.linears import dynamic_rules
from greenlight.ml.quantize import STAGE, Quantized, Task
from greenlight.ml.verify import checkpoint_dtype
from greenlight.quantize.jobs import Device
from greenlight.quantize.recipes import Recipe

log = logging.getLogger(__name__)


def refuse(recipe: Recipe) -> None:
    """Refuse what this backend can't write.

    gptqmodel can quantize an embedding, but it then stores input and output apart: a tied pair
    doubles, and the engines read neither.

    Raises:
        ConfigError: the recipe asks for an 8-bit embedding.
    """
    if recipe.embedding_bits != 16:
        raise ConfigError(
            f"recipe {recipe.name}: embedding_bits {recipe.embedding_bits} can't be written by "
            "gptqmodel so that an engine serves it; use 16"
        )


def quantize(task: Task) -> Quantized:
    """Return the packed tensors and each linear's loss (mean squared error, per sample)."""
    model = GPTQModel.load(
        str(task.model), quantize_config(task), dtype=working_dtype(task.model, task.device)
    )
    model.layer_callback = _LayerProgress(total=1 + max(linear.layer for linear in task.linears))
    examples = [
        {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones((1, len(ids)), dtype=int)}
        for ids in task.samples
    ]
    log_rows = model.quantize(examples, batch_size=1, calibration_sort=None)
    saved = task.scratch / "saved"
    model.save_quantized(str(saved))
    losses = _losses(log_rows, task)
    return Quantized(tensors=dict(stored_tensors(saved)), losses=losses)


def quantize_config(task: Task) -> QuantizeConfig:
    """Return the recipe in gptqmodel's words.

    `fallback=None`: when a Hessian can't be inverted, fail instead of rounding that linear and
    going on. The model is small enough to stay in memory: nothing is offloaded to disk.
    """
    recipe = task.recipe
    grouped = recipe.group_size > 0
    return QuantizeConfig(
        bits=recipe.bits,
        group_size=recipe.group_size,
        sym=recipe.symmetric,
        desc_act=recipe.act_order,
        static_groups=recipe.act_order and grouped,
        act_group_aware=not recipe.act_order and grouped,
        mse=recipe.scale_search or 0.0,
        gptaq=GPTAQConfig() if recipe.gptaq else None,
        dynamic=_dynamic(task) or None,
        device=task.device.value,
        fallback=None,
        offload_to_disk=False,
    )


def working_dtype(folder: Path, device: Device) -> torch.dtype:
    """Return what the calibration runs in: FP32 on a CPU, the checkpoint's own dtype on a GPU."""
    if device is Device.CPU:
        return torch.float32
    found: torch.dtype = getattr(torch, checkpoint_dtype(folder))
    return found


class _LayerProgress:
    """What gptqmodel calls when a layer is finished; it may call twice for one layer."""

    def __init__(self, *, total: int) -> None:
        self._total = total
        self._done = 0

    def layer_complete(self, *, layer_idx: int, submodule_finalized: bool) -> None:
        """Report the layer, once."""
        del submodule_finalized
        if layer_idx + 1 > self._done:
            self._done = layer_idx + 1
            progress.report(STAGE, done=self._done, total=self._total)


def _dynamic(task: Task) -> dict[str, JsonDict]:
    """Return the per-module rules; one group a row knows neither static nor reordered groups."""
    rules: dict[str, JsonDict] = {}
    for pattern, values in dynamic_rules(task.recipe, task.linears, task.plan).items():
        rules[pattern] = dict(values)
        if values.get("group_size") == -1:
            rules[pattern] |= {"static_groups": False, "act_group_aware": False}
    return rules


def _losses(rows: Mapping[str, list[JsonDict]], task: Task) -> dict[str, float]:
    """Return the loss by module, from the rows of every processor.

    Raises:
        InputError: a loss isn't a number: the linear wasn't quantized as asked.
    """
    named = {(linear.layer, f"{linear.parent}.{linear.kind}"): linear for linear in task.linears}
    losses = {}
    for row in (row for found in rows.values() for row in found):
        linear = named.get((int(row["layer"]), str(row["module"])))
        if linear is None:
            continue
        try:
            losses[linear.module] = float(row["loss"])
        except ValueError as error:
            raise InputError(f"{linear.module} has no loss, but {row['loss']!r}") from error
    return losses
