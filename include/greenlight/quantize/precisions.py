"""What a recipe does to each linear of a model."""

from __future__ import annotations

from dataclasses import dataclass

from greenlight.quantize.recipes import ModuleRule, Recipe
from greenlight.quantize.shapes import FUSED_GROUPS, Linear, ModelShape

UNQUANTIZED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """Bits and group size of one linear. `group_size` is 0 where `bits` is 16, -1 for one group."""

    bits: int
    group_size: int

    @property
    def quantized(self) -> bool:
        """Whether anything is rounded."""
        return self.bits != UNQUANTIZED

    def groups_of(self, linear: Linear) -> int:
        """How many scales one output of `linear` has."""
        return 1 if self.group_size == -1 else -(-linear.in_features // self.group_size)


def precision_of(linear: Linear, recipe: Recipe) -> Precision:
    """Return what `recipe` does to `linear`."""
    rule = recipe.rule_for(linear.name, linear.layer, linear.group)
    bits = recipe.bits if rule is None else rule.bits
    if bits == UNQUANTIZED:
        return Precision(bits=UNQUANTIZED, group_size=0)
    size = None if rule is None else rule.group_size
    return Precision(bits=bits, group_size=recipe.group_size if size is None else size)


def idle_rules(recipe: Recipe, shape: ModelShape) -> tuple[str, ...]:
    """Return why rules of `recipe` decide nothing in a model: misspelt, covered, or no such layer.

    A rule that silently does nothing would quantize more than was meant.
    """
    known = set(FUSED_GROUPS) | set(FUSED_GROUPS.values())
    deciding = {
        id(rule)
        for linear in shape.linears
        if (rule := recipe.rule_for(linear.name, linear.layer, linear.group)) is not None
    }
    return tuple(
        _why_idle(rule, number=number, known=known, layers=shape.layers)
        for number, rule in enumerate(recipe.modules, start=1)
        if id(rule) not in deciding or set(rule.match) - known
    )


def _why_idle(rule: ModuleRule, *, number: int, known: set[str], layers: int) -> str:
    unknown = sorted(set(rule.match) - known)
    if unknown:
        return (
            f"rule {number} names {', '.join(map(repr, unknown))}, which no linear is called; "
            f"there are {', '.join(sorted(known))}"
        )
    return (
        f"rule {number} ({', '.join(rule.match)}) decides nothing: earlier rules cover it, or its "
        f"layers are not among 0 to {layers - 1}"
    )
