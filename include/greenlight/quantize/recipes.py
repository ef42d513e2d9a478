"""Recipes: how to make a model smaller, as data.

A rule may name a fused module group (`qkv`, `o`, `gate_up`, `down`; see `quantize.shapes`) or one
kind of linear (`v_proj`), in all layers or some. The first rule that matches a linear decides.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from greenlight.core.digest import digest_json
from greenlight.core.types import Value

Bits = Literal[3, 4, 8]
RuleBits = Literal[3, 4, 8, 16]
GroupSize = Literal[-1, 16, 32, 64, 128]
Samples = Annotated[int, Field(ge=1, le=4096)]
SampleTokens = Annotated[int, Field(ge=32, le=8192)]


class ModuleRule(Value):
    """What some linears get instead of the recipe's own bits.

    `bits: 16` leaves them unquantized, in the checkpoint's 16-bit dtype.
    """

    match: Annotated[tuple[str, ...], Field(min_length=1)]
    bits: RuleBits
    group_size: GroupSize | None = None
    layers: tuple[int, ...] | None = None


class Recipe(Value):
    """One way to quantize. Sizes of groups in input features; calibration in samples of tokens."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    bits: Bits
    group_size: GroupSize = 32
    symmetric: bool = True
    act_order: bool = False
    gptaq: bool = False
    """Asymmetric calibration (GPTAQ, arXiv 2504.02692)."""
    scale_search: Annotated[float, Field(ge=1.0, le=4.0)] | None = None
    """Norm of the error that a grid search over each group's scale minimizes; none: no search."""
    embedding_bits: Literal[8, 16] = 16
    modules: tuple[ModuleRule, ...] = ()
    samples: Samples = 64
    sample_tokens: SampleTokens = 512
    seed: Annotated[int, Field(ge=0)] = 0

    @property
    def digest(self) -> str:
        """The digest of everything but the name: two names for one recipe are one recipe."""
        return digest_json(self.model_dump(mode="json", exclude={"name"}))

    def rule_for(self, linear: str, layer: int, group: str) -> ModuleRule | None:
        """Return the first rule for one linear, such as `v_proj` of fused group `qkv`."""
        for rule in self.modules:
            if {linear, group} & set(rule.match) and (rule.layers is None or layer in rule.layers):
                return rule
        return None
