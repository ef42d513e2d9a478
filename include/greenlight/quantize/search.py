"""Find the smallest recipe that passes: propose from cheap to dear, choose from what was judged.

Sensitivities are the KL divergence that rounding one fused group alone causes. Small independent
errors add up, so the sum over the groups left at few bits predicts a recipe's divergence well
enough to order recipes; the measurement of each candidate decides, not the prediction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from greenlight.core.errors import InputError
from greenlight.core.types import Value
from greenlight.quantize.abilities import check_recipe, served_bits
from greenlight.quantize.measurements import GateResult, Verdict, overall
from greenlight.quantize.precisions import UNQUANTIZED
from greenlight.quantize.recipes import ModuleRule, Recipe, RuleBits
from greenlight.quantize.request import Engine
from greenlight.quantize.shapes import ModelShape
from greenlight.quantize.sizes import plain_bytes, predict_bytes

GROUP_SIZE_EXPONENT = 0.4
"""Divergence grows with the group size to about this power (measured from 32 to 128)."""
GROUP_SIZES = (32, 64, 128)
WORTHWHILE = 0.8
"""Proposals above this share of the model's bytes in 16 bit are not tried: they save too little."""


class Proposal(Value):
    """A recipe with what is expected of it. `predicted_kl`, in nats per token, is for ordering."""

    recipe: Recipe
    predicted_bytes: int
    predicted_kl: float


class Attempt(Value):
    """A recipe that was tried, the bytes it really took, and what every gate said."""

    recipe: Recipe
    file_bytes: int
    results: tuple[GateResult, ...]

    @property
    def verdict(self) -> Verdict:
        """The verdict over all gates."""
        return overall(self.results)


class Choice(Value):
    """The smallest attempt that passed, or none and the nearest miss, with the reason."""

    winner: Attempt | None
    nearest: Attempt | None
    reason: str


def order_by_size(recipes: Sequence[Recipe], shape: ModelShape) -> tuple[Recipe, ...]:
    """Return the recipes, the smallest predicted file first; equal ones in the order given."""
    return tuple(sorted(recipes, key=lambda recipe: predict_bytes(recipe, shape)))


def propose(
    shape: ModelShape,
    sensitivity: Mapping[str, float],
    engine: Engine,
    base: Recipe,
    budget: int,
) -> tuple[Recipe, ...]:
    """Return at most `budget` recipes worth trying, the smallest predicted file first.

    Every combination of group size and of raised fused groups that the engine serves is considered;
    those that another one beats in both size and predicted divergence are left out. Settings that
    cost no bytes (act-order, GPTAQ, scale search, calibration) stay those of `base`.

    Raises:
        InputError: `sensitivity` lacks a group of the model, or the engine serves no combination.
    """
    return tuple(p.recipe for p in proposals(shape, sensitivity, engine, base, budget))


def proposals(
    shape: ModelShape,
    sensitivity: Mapping[str, float],
    engine: Engine,
    base: Recipe,
    budget: int,
) -> tuple[Proposal, ...]:
    """Return what `propose` does, with the predictions.

    Raises:
        InputError: as `propose`.
    """
    missing = [group for group in shape.groups if group not in sensitivity]
    if missing:
        raise InputError(f"no sensitivity was measured for {', '.join(missing)}")
    served = [
        Proposal(
            recipe=recipe,
            predicted_bytes=predict_bytes(recipe, shape),
            predicted_kl=_predicted_kl(recipe, shape, sensitivity),
        )
        for recipe in _combinations(shape, engine, base)
        if not check_recipe(recipe, shape, engine)
    ]
    if not served:
        raise InputError(
            f"{engine} serves no variation of {base.name}: "
            f"{'; '.join(check_recipe(base, shape, engine)) or 'none fits'}"
        )
    most = WORTHWHILE * plain_bytes(shape, dtype="BF16")
    worthwhile = [p for p in served if p.predicted_bytes <= most] or served
    return _thinned(_front(worthwhile), budget=budget)


def choose(attempts: Sequence[Attempt]) -> Choice:
    """Return the smallest attempt whose gates all pass; else the nearest miss and why it missed.

    Nearest means fewest failed gates, then fewest undecided ones, then the smallest relative
    distance to a limit.
    """
    if not attempts:
        return Choice(winner=None, nearest=None, reason="no recipe was tried")
    passed = [a for a in attempts if a.verdict is Verdict.PASS]
    if passed:
        winner = min(passed, key=lambda a: a.file_bytes)
        smaller = sum(a.file_bytes < winner.file_bytes for a in attempts)
        return Choice(
            winner=winner,
            nearest=None,
            reason=(
                f"{winner.recipe.name} is the smallest of {len(passed)} that pass; "
                f"{smaller} smaller did not"
            ),
        )
    nearest = min(attempts, key=_miss)
    missed = [r for r in nearest.results if r.verdict is not Verdict.PASS]
    first = min(missed, key=lambda r: r.verdict is not Verdict.FAIL) if missed else None
    why = f"{first.gate} on {first.metric}: {first.verdict}, {first.reason}" if first else "no gate"
    return Choice(
        winner=None,
        nearest=nearest,
        reason=f"none of {len(attempts)} recipes passes; nearest is {nearest.recipe.name}: {why}",
    )


def _combinations(shape: ModelShape, engine: Engine, base: Recipe) -> Iterator[Recipe]:
    raised: list[RuleBits | None] = [None]
    if base.bits < 8 and 8 in served_bits(engine):
        raised.append(8)
    raised.append(16)
    sizes = dict.fromkeys((base.group_size, *GROUP_SIZES))
    for size in sizes:
        for chosen in product(raised, repeat=len(shape.groups)):
            rules = tuple(
                ModuleRule(match=(group,), bits=bits)
                for group, bits in zip(shape.groups, chosen, strict=True)
                if bits is not None
            )
            suffix = "".join(f"-{rule.match[0]}{rule.bits}" for rule in rules)
            if size != base.group_size:
                suffix = f"-g{size}{suffix}"
            values = base.model_dump() | {
                "name": f"{base.name}{suffix}"[:63],
                "group_size": size,
                "modules": (*(rule.model_dump() for rule in rules), *base.model_dump()["modules"]),
            }
            yield Recipe.model_validate(values)


def _predicted_kl(recipe: Recipe, shape: ModelShape, sensitivity: Mapping[str, float]) -> float:
    """Return the summed sensitivities of the groups, scaled by bits and group size.

    Halving a grid's step quarters its error, so each bit more divides the divergence by four.
    """
    total = 0.0
    for group in shape.groups:
        rule = next((r for r in recipe.modules if group in r.match), None)
        bits = recipe.bits if rule is None else rule.bits
        if bits != UNQUANTIZED:
            size = recipe.group_size if recipe.group_size > 0 else max(GROUP_SIZES) * 4
            scale = (size / 32) ** GROUP_SIZE_EXPONENT * 4.0 ** (4 - bits)
            total += sensitivity[group] * scale
    return total


def _front(found: list[Proposal]) -> list[Proposal]:
    """Return the proposals that no other beats in both size and divergence, by size."""
    front: list[Proposal] = []
    best = math.inf
    for proposal in sorted(found, key=lambda p: (p.predicted_bytes, p.predicted_kl)):
        if proposal.predicted_kl < best:
            best = proposal.predicted_kl
            front.append(proposal)
    return front


def _thinned(front: list[Proposal], *, budget: int) -> tuple[Proposal, ...]:
    """Keep `budget` of the front: always its ends, and between them the largest gains per byte."""
    kept = list(front)
    while len(kept) > budget:
        if len(kept) <= 2:
            kept.pop(0)
            continue
        gains = [
            (kept[i - 1].predicted_kl - kept[i].predicted_kl)
            / (kept[i].predicted_bytes - kept[i - 1].predicted_bytes)
            for i in range(1, len(kept) - 1)
        ]
        kept.pop(1 + gains.index(min(gains)))
    return tuple(kept)


def _miss(attempt: Attempt) -> tuple[int, int, float, int]:
    failed = [r for r in attempt.results if r.verdict is Verdict.FAIL]
    undecided = [r for r in attempt.results if r.verdict is Verdict.INSUFFICIENT]
    distance = max((_distance(r) for r in (*failed, *undecided)), default=math.inf)
    return len(failed), len(undecided), distance, attempt.file_bytes


def _distance(result: GateResult) -> float:
    if result.value is None or result.limit is None:
        return math.inf
    return abs(result.value - result.limit) / max(abs(result.limit), 1e-9)
