"""Quantize a model into a folder of its own, with either backend, to one contract.

The order is cheap first: everything that can refuse does so before the model is loaded.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from greenlight.core.errors import InputError
from greenlight.core.files import folder_in_the_making, require_free_space
from greenlight.core.types import JsonDict
from greenlight.ml import progress
from greenlight.ml.dequantize import quantization_of, stored_tensors
from greenlight.ml.folder import weight_bytes, write_folder
from greenlight.ml.linears import Linear, Plan, dynamic_rules, linears_of, plan_of
from greenlight.ml.packing import bits_of
from greenlight.ml.tokens import calibration_samples
from greenlight.ml.verify import checkpoint_dtype, describe
from greenlight.quantize.jobs import Backend, Device, LayerLoss, QuantizeResult, QuantizeSpec
from greenlight.quantize.recipes import Recipe

log = logging.getLogger(__name__)

STAGE = "quantize"
BACKENDS = {
    Backend.GPTQMODEL: "greenlight.ml.gptqmodel_backend",
    Backend.AUTO_GPTQ: "greenlight.ml.autogptq_backend",
}
PACKAGES = {Backend.GPTQMODEL: "gptqmodel", Backend.AUTO_GPTQ: "auto-gptq"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a backend is asked to do. `scratch` is an empty folder that is thrown away after."""

    model: Path
    recipe: Recipe
    linears: Sequence[Linear]
    plan: Plan
    samples: Sequence[Sequence[int]]
    device: Device
    scratch: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """What a backend made: tensors by their checkpoint name, and the loss of each linear."""

    tensors: Mapping[str, torch.Tensor]
    losses: Mapping[str, float]


def run(spec: QuantizeSpec) -> QuantizeResult:
    """Quantize, verify by loading, and let the folder appear.

    Raises:
        ConfigError: the recipe asks for what the backend can't do, or doesn't fit the shapes.
        InputError: the model or the calibration text can't be used.
        ResourceError: the disk or the memory is too small.
    """
    started = time.monotonic()
    backend = importlib.import_module(BACKENDS[spec.backend])
    backend.refuse(spec.recipe)
    if quantization_of(spec.model) is not None:
        raise InputError(f"{spec.model} is quantized already; quantize its parent instead")
    linears = linears_of(spec.model)
    plan = plan_of(spec.recipe, linears)
    require_free_space(spec.output, 2 * weight_bytes(spec.model), what="quantizing")
    samples = calibration_samples(spec.model, spec.calibration, spec.recipe)
    with folder_in_the_making(spec.output) as folder:
        scratch = folder / "scratch"
        scratch.mkdir()
        task = Task(
            model=spec.model,
            recipe=spec.recipe,
            linears=linears,
            plan=plan,
            samples=samples,
            device=spec.device,
            scratch=scratch,
        )
        result = _fill(folder, task, spec, backend.quantize)
    return result.model_copy(update={"seconds": time.monotonic() - started})


def _fill(
    folder: Path,
    task: Task,
    spec: QuantizeSpec,
    quantize: Callable[[Task], Quantized],
) -> QuantizeResult:
    """Write the finished model into `folder` and return what it took."""
    made = quantize(task)
    shutil.rmtree(task.scratch)
    losses = layer_losses(task, made.losses)
    tools = versions(spec.backend)
    written = write_folder(
        folder,
        parent=spec.model,
        tensors=made.tensors,
        quantization=quantization_config(task, package=PACKAGES[spec.backend], tools=tools),
        record={
            "recipe": spec.recipe.model_dump(mode="json"),
            "calibration": {"name": spec.calibration.name, "digest": spec.calibration.digest},
            "backend": spec.backend,
            "tools": tools,
            "losses": [loss.model_dump() for loss in losses],
        },
        dtype=checkpoint_dtype(spec.model),
    )
    progress.report("verify", done=0, total=1)
    verify(folder, task.plan)
    progress.report("verify", done=1, total=1)
    return QuantizeResult(
        weight_bytes=written,
        calibration_tokens=sum(len(sample) for sample in task.samples),
        losses=losses,
        seconds=0,
        tools=tools,
    )


def quantization_config(task: Task, *, package: str, tools: Mapping[str, str]) -> JsonDict:
    """Return the `quantization_config` that engines read.

    `desc_act` is false even for act-order recipes: columns are then quantized in the order of their
    activations but keep their natural groups ("static" groups), which is the layout engines serve;
    vLLM refuses the other one since 0.32.
    """
    recipe = task.recipe
    return {
        "quant_method": "gptq",
        "checkpoint_format": "gptq",
        "bits": recipe.bits,
        "group_size": recipe.group_size,
        "sym": recipe.symmetric,
        "desc_act": False,
        "static_groups": recipe.act_order,
        "true_sequential": True,
        "lm_head": False,
        "dynamic": dynamic_rules(recipe, task.linears, task.plan),
        "meta": {"quantizer": [f"{package}:{tools[package]}"]},
    }


def verify(folder: Path, plan: Plan) -> None:
    """Load what was written and compare it with the plan.

    Raises:
        InputError: it doesn't load, or a linear has other bits or other groups than planned.
    """
    describe(folder)
    packed: dict[str, dict[str, torch.Tensor]] = {}
    plain = set()
    for name, tensor in stored_tensors(folder):
        module, _, leaf = name.rpartition(".")
        if leaf in ("qweight", "g_idx"):
            packed.setdefault(module, {})[leaf] = tensor
        elif leaf == "weight":
            plain.add(module)
    for module, decision in plan.items():
        found = bits_of(**packed[module]) if module in packed else 16 if module in plain else 0
        if found != decision.bits:
            raise InputError(f"{module} came out with {found} bits, planned were {decision.bits}")
        if decision.quantized:
            _verify_groups(module, packed[module]["g_idx"], decision.group_size)


def _verify_groups(module: str, g_idx: torch.Tensor, group_size: int) -> None:
    """Engines ignore `g_idx`: a linear whose groups aren't consecutive would be served wrong."""
    size = group_size if group_size > 0 else len(g_idx)
    if not torch.equal(g_idx.long(), torch.arange(len(g_idx)) // size):
        raise InputError(f"{module} came out with groups that aren't {size} consecutive inputs")


def layer_losses(task: Task, losses: Mapping[str, float]) -> tuple[LayerLoss, ...]:
    """Return the loss of every quantized linear, in the model's order.

    Raises:
        InputError: the backend reported none for a linear that it should have quantized.
    """
    found = []
    for linear in task.linears:
        decision = task.plan[linear.module]
        if decision.quantized:
            if linear.module not in losses:
                raise InputError(f"the quantizer reported nothing about {linear.module}")
            loss = losses[linear.module]
            found.append(LayerLoss(module=linear.module, bits=decision.bits, loss=loss))
    return tuple(found)


def versions(backend: Backend) -> dict[str, str]:
    """Return the versions of what does the work."""
    names = (PACKAGES[backend], "transformers", "torch")
    return {name: importlib.metadata.version(name) for name in names}
