"""Rounding to nearest: what quantizing costs when nothing is done about the error.

The control that a quantizer must beat, and the probe of the sensitivity pass. Scales follow the
GPTQ grids: symmetric, or asymmetric with a zero point that is an integer.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from greenlight.core.errors import ConfigError
from greenlight.ml.linears import GROUP_OF, WEIGHT, Decision, Linear, plan_of
from greenlight.quantize.recipes import Recipe

EMBEDDING_GROUP = 32


def round_weights_(model: PreTrainedModel, recipe: Recipe) -> None:
    """Round the model's weights in place by the recipe's bits, groups and per-module rules.

    With `embedding_bits` 8 the embedding (and the head tied to it) is rounded too, in groups of 32.
    What only a quantizer does (act-order, GPTAQ, scale search) has no meaning here.

    Raises:
        ConfigError: as `linears.plan_of`.
    """
    linears = linears_in(model)
    for name, decision in plan_of(recipe, linears).items():
        if decision.quantized:
            round_(model.get_submodule(name).weight, decision, symmetric=recipe.symmetric)
    if recipe.embedding_bits != 16:
        decision = Decision(bits=recipe.embedding_bits, group_size=EMBEDDING_GROUP)
        round_(model.get_input_embeddings().weight, decision, symmetric=recipe.symmetric)


def linears_in(model: PreTrainedModel) -> tuple[Linear, ...]:
    """Return the linears of a loaded model's decoder layers."""
    found = []
    for name, weight in model.named_parameters():
        match = WEIGHT.fullmatch(name)
        if match and match["linear"] in GROUP_OF:
            outputs, inputs = weight.shape
            found.append(
                Linear(
                    module=name.removesuffix(".weight"),
                    prefix=match["prefix"],
                    layer=int(match["layer"]),
                    parent=match["parent"],
                    kind=match["linear"],
                    inputs=inputs,
                    outputs=outputs,
                )
            )
    return tuple(found)


def round_(weight: torch.Tensor, decision: Decision, *, symmetric: bool) -> None:
    """Round one matrix in place, in groups of its inputs.

    Raises:
        ConfigError: the group size doesn't divide the inputs.
    """
    outputs, inputs = weight.shape
    size = decision.group_size if decision.group_size > 0 else inputs
    if inputs % size:
        raise ConfigError(f"group size {size} doesn't divide {inputs} inputs")
    groups = weight.detach().reshape(outputs, inputs // size, size)
    top = 2**decision.bits - 1
    low = groups.amin(dim=-1, keepdim=True).clamp(max=0)
    high = groups.amax(dim=-1, keepdim=True).clamp(min=0)
    if symmetric:
        high = torch.maximum(-low, high)
        low = -high
    scale = (high - low) / top
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    middle = torch.full_like(scale, (top + 1) / 2)
    zero = middle if symmetric else torch.round(-low / scale)
    integers = torch.clamp(torch.round(groups / scale) + zero, 0, top)
    with torch.no_grad():
        weight.copy_(((integers - zero) * scale).reshape(outputs, inputs))
