"""Which linears of a decoder a recipe speaks about, and what it decides for each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from greenlight.core.errors import ConfigError, InputError
from greenlight.quantize.recipes import Recipe

FUSED_GROUPS: Mapping[str, tuple[str, ...]] = {
    "qkv": ("q_proj", "k_proj", "v_proj"),
    "o": ("o_proj",),
    "gate_up": ("gate_proj", "up_proj"),
    "down": ("down_proj",),
}
"""What engines fuse into one matrix, which then has one precision."""

FUSED_NAMES: Mapping[str, str] = {"qkv": "qkv_proj", "gate_up": "gate_up_proj"}
GROUP_OF = {linear: group for group, linears in FUSED_GROUPS.items() for linear in linears}
WEIGHT = re.compile(
    r"(?P<prefix>.*\blayers\.)(?P<layer>\d+)\.(?P<parent>\w+)\.(?P<linear>\w+)\.weight"
)
UNQUANTIZED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """One linear of one layer. `module` is its full name, such as `model.layers.0.mlp.up_proj`."""

    module: str
    prefix: str
    layer: int
    parent: str
    kind: str
    inputs: int
    outputs: int

    @property
    def group(self) -> str:
        """The fused module group it belongs to."""
        return GROUP_OF[self.kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a recipe does to one linear; 16 bits: nothing. `group_size` -1: one group a row."""

    bits: int
    group_size: int

    @property
    def quantized(self) -> bool:
        """Whether the linear changes at all."""
        return self.bits != UNQUANTIZED


Plan = Mapping[str, Decision]
"""By full module name."""


def linears_of(folder: Path) -> tuple[Linear, ...]:
    """Return the linears of the decoder layers in a plain folder, by layer, from headers alone.

    Raises:
        InputError: there is none, so nothing could be quantized.
    """
    found = []
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                match = WEIGHT.fullmatch(name)
                if match and match["linear"] in GROUP_OF:
                    outputs, inputs = tensors.get_slice(name).get_shape()
                    found.append(_linear(match, inputs=inputs, outputs=outputs))
    if not found:
        raise InputError(f"{folder} holds no linears in decoder layers that could be quantized")
    return tuple(sorted(found, key=lambda linear: (linear.layer, linear.module)))


def plan_of(recipe: Recipe, linears: Iterable[Linear]) -> dict[str, Decision]:
    """Return the recipe's decision for every linear.

    Raises:
        ConfigError: a group size that doesn't divide a linear's inputs; a rule that matches
            nothing, which would be a typing error that quantizes more than was meant.
    """
    linears = tuple(linears)
    plan, used = {}, set()
    for linear in linears:
        rule = recipe.rule_for(linear.kind, linear.layer, linear.group)
        decision = Decision(bits=recipe.bits, group_size=recipe.group_size)
        if rule is not None:
            used.add(rule)
            decision = Decision(
                bits=rule.bits,
                group_size=recipe.group_size if rule.group_size is None else rule.group_size,
            )
        size = decision.group_size
        if decision.quantized and size > 0 and linear.inputs % size:
            raise ConfigError(
                f"recipe {recipe.name}: group size {size} doesn't divide the {linear.inputs} "
                f"inputs of {linear.module}"
            )
        plan[linear.module] = decision
    for rule in recipe.modules:
        if rule not in used:
            raise ConfigError(
                f"recipe {recipe.name}: the rule for {', '.join(rule.match)} decides nothing; "
                f"known are {', '.join([*FUSED_GROUPS, *GROUP_OF])}"
            )
    return plan


def dynamic_rules(
    recipe: Recipe, linears: Iterable[Linear], plan: Plan
) -> dict[str, dict[str, int]]:
    """Return the plan as the `dynamic` patterns of a GPTQ config, for what differs from the recipe.

    `-:` leaves a linear alone. The patterns exclude each other: their readers disagree on which of
    two that match wins. Where a whole fused group agrees, its fused name is matched too, which is
    what vLLM asks for.
    """
    base = Decision(bits=recipe.bits, group_size=recipe.group_size)
    cells: dict[tuple[str, str, Decision], dict[int, set[str]]] = {}
    for linear in linears:
        if (decision := plan[linear.module]) != base:
            key = (linear.prefix, linear.parent, decision)
            cells.setdefault(key, {}).setdefault(linear.layer, set()).add(linear.kind)
    rules: dict[str, dict[str, int]] = {}
    for (prefix, parent, decision), by_layer in cells.items():
        for kinds, layers in _layers_by_kinds(by_layer).items():
            names = "|".join([*kinds, *_fused(kinds)])
            numbers = "|".join(map(str, layers))
            pattern = f"^{re.escape(prefix)}({numbers})\\.{parent}\\.({names})$"
            if decision.quantized:
                rules[f"+:{pattern}"] = {"bits": decision.bits, "group_size": decision.group_size}
            else:
                rules[f"-:{pattern}"] = {}
    return rules


def _layers_by_kinds(by_layer: Mapping[int, set[str]]) -> dict[tuple[str, ...], list[int]]:
    found: dict[tuple[str, ...], list[int]] = {}
    for layer, kinds in sorted(by_layer.items()):
        found.setdefault(tuple(sorted(kinds)), []).append(layer)
    return found


def _fused(kinds: Iterable[str]) -> list[str]:
    return [
        FUSED_NAMES[group]
        for group, members in FUSED_GROUPS.items()
        if group in FUSED_NAMES and set(members) <= set(kinds)
    ]


def _linear(match: re.Match[str], *, inputs: int, outputs: int) -> Linear:
    return Linear(
        module=match.string.removesuffix(".weight"),
        prefix=match["prefix"],
        layer=int(match["layer"]),
        parent=match["parent"],
        kind=match["linear"],
        inputs=inputs,
        outputs=outputs,
    )
