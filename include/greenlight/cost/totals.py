"""Sums of cost lines, by whatever a report asks for, and idle or overhead shared out on top."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from greenlight.core.errors import InputError
from greenlight.cost.allocation import CostLine
from greenlight.cost.claims import Group, Part
from greenlight.cost.money import split


class Dimension(StrEnum):
    """What costs are summed by. The names are those of the lines' fields."""

    MODEL = "model"
    VERSION = "version"
    TENANT = "tenant"
    HOST = "name"
    REGION = "region"
    ENVIRONMENT = "environment"
    PART = "part"
    TERM = "term"


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """Costs in billionths of the currency. `warm` is a part of workload, `unmeasured` of idle."""

    workload: int = 0
    idle: int = 0
    overhead: int = 0
    warm: int = 0
    unmeasured: int = 0
    used: int = 0

    @property
    def bill(self) -> int:
        """All of it."""
        return self.workload + self.idle + self.overhead


Key = tuple[str | None, ...]


def total_by(lines: Iterable[CostLine], *dimensions: Dimension) -> Mapping[Key, Total]:
    """Return the sums, by the values of the dimensions; `None`: lines without such a value.

    `used` sums workload on usage.

    Raises:
        InputError: lines are in different currencies.
    """
    sums: dict[Key, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    currencies = set()
    for line in lines:
        currencies.add(line.currency)
        found = sums[tuple(getattr(line, dimension) for dimension in dimensions)]
        found[line.part.group] += line.cost
        if line.part in (Part.WARM, Part.UNMEASURED):
            found[line.part] += line.cost
        if line.part.group is Group.WORKLOAD:
            found["used"] += line.used_cost
    require_one_currency(currencies)
    return {key: Total(**found) for key, found in sums.items()}


def require_one_currency(currencies: Iterable[str]) -> None:
    """Refuse sums over several currencies.

    Raises:
        InputError: there are several.
    """
    found = sorted(set(currencies))
    if len(found) > 1:
        raise InputError(f"costs in {' and '.join(found)} can't be added up")


def shared_out(lines: Iterable[CostLine], parts: Collection[Part]) -> tuple[CostLine, ...]:
    """Return lines in which the workload pays for `parts` too, in proportion to its own cost.

    Of one environment and hour; what has no workload there stays as it is. The sum is the same.
    """
    places: dict[tuple[object, str], list[CostLine]] = defaultdict(list)
    for line in lines:
        places[line.hour, line.environment].append(line)
    result: list[CostLine] = []
    for here in places.values():
        taken = [line for line in here if line.part in parts]
        kept = [line for line in here if line.part not in parts]
        payers = [i for i, line in enumerate(kept) if _pays(line)]
        if not payers:
            result += here
            continue
        extra = split(sum(line.cost for line in taken), [float(kept[i].cost) for i in payers])
        for i, more in zip(payers, extra, strict=True):
            kept[i] = replace(kept[i], cost=kept[i].cost + more)
        result += kept
    return tuple(result)


def _pays(line: CostLine) -> bool:
    return line.part.group is Group.WORKLOAD and line.cost > 0
