"""Advice: what size each host should be, which type that comes to, and what became of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from greenlight.core.errors import ConfigError, InputError, RefusedError
from greenlight.core.types import JsonDict
from greenlight.cost.bill import HOUR, Bought, ItemKind
from greenlight.cost.cost_file import HostShape
from greenlight.cost.hours import HourState
from greenlight.cost.inventory import HostPlan
from greenlight.cost.money import from_nanos
from greenlight.cost.prices import Term
from greenlight.cost.rightsizing.advice import (
    Advice,
    Floor,
    NotEnoughData,
    Withdrawn,
)
from greenlight.cost.rightsizing.catalogue import Choice, HostType, Needs, NothingFits, choose
from greenlight.cost.rightsizing.series import Resource, UsageSeries
from greenlight.cost.rightsizing.strategies.base import NOTHING
from greenlight.cost.savings import (
    Counted,
    Recorded,
    State,
    accept,
    count_once,
    move,
    realise,
    renewed,
)
from greenlight.cost.totals import Dimension

if TYPE_CHECKING:
    from greenlight.entrypoints.cost_tools import CostTools

log = logging.getLogger(__name__)

BY = "cost_rightsizing_hourly"
Answer = Advice | Withdrawn | NotEnoughData


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAdvice:
    """What was found about one host. `why`: the reason where there is no choice."""

    host: str
    answers: Mapping[Resource, Answer]
    choice: Choice | None
    why: str | None


class Advising:
    """Makes advice and follows it."""

    def __init__(self, tools: CostTools) -> None:
        self._tools = tools

    def make(self) -> tuple[HostAdvice, ...]:
        """Size every host that has a type, and keep what comes of it.

        A person's answer outlives this: accepted and dismissed advice stays as it is. Open advice
        that can't be made any more is withdrawn.
        """
        now = self._tools.clock.now().replace(minute=0, second=0, microsecond=0)
        series = self._series(now)
        plans = {plan.name: plan for plan in self._tools.plans(now - HOUR)}
        hosts = [thing for thing in self._tools.bought if thing.kind is ItemKind.HOST]
        found = tuple(self._advise(host, plans.get(host.name), series, now) for host in hosts)
        known = {one.id: one for one in self._tools.store.advice()}
        for one in found:
            self._keep(one, known.get(_id(one.host)), now)
        return found

    def counted(self) -> Counted:
        """Return what open and accepted advice saves, each host once."""
        return count_once(self._tools.store.advice())

    def accept(self, name: str, *, by: str) -> Recorded:
        """Accept advice; what its hosts cost from now on is compared with what they cost so far.

        Raises:
            InputError: there is no such advice.
            RefusedError: it isn't open, or its hosts have no costs in the last day.
        """
        known, now = self._one(name), self._tools.clock.now()
        end = now.replace(minute=0, second=0, microsecond=0)
        cost, hours = self._cost(known, end - 24 * HOUR, end)
        if not hours:
            raise RefusedError(
                f"advice {name}: no hour of the last day was computed, so there is nothing to "
                "compare with later; run `greenlight cost run`"
            )
        return self._save(accept(known, hourly_cost=cost / hours, at=now, by=by))

    def dismiss(self, name: str, *, by: str, reason: str) -> Recorded:
        """Dismiss advice, with a reason."""
        now = self._tools.clock.now()
        return self._save(move(self._one(name), State.DISMISSED, at=now, by=by, reason=reason))

    def realise(self, name: str, *, by: str) -> Recorded:
        """Measure what accepted advice saved since then, by the bill.

        Raises:
            InputError: there is no such advice.
            RefusedError: it wasn't accepted, or less than a day of hours was computed since.
        """
        known, now = self._one(name), self._tools.clock.now()
        start = known.changed_at.replace(minute=0, second=0, microsecond=0) + HOUR
        cost, hours = self._cost(known, start, now)
        return self._save(realise(known, cost=cost, hours=hours, at=now, by=by))

    def _series(self, end: datetime) -> Mapping[Resource, Mapping[str, UsageSeries]]:
        asked = self._tools.config.advice
        step = timedelta(minutes=asked.step_minutes)
        return {
            resource: self._tools.usage.history(
                resource, end=end, days=asked.history_days, step=step
            )
            for resource in Resource
        }

    def _advise(
        self,
        host: Bought,
        plan: HostPlan | None,
        series: Mapping[Resource, Mapping[str, UsageSeries]],
        now: datetime,
    ) -> HostAdvice:
        shape = next((s for s in self._tools.config.host_types if s.name == host.sku), None)
        if shape is None:
            why = f"host_types of cost.yaml has no {host.sku}"
            return HostAdvice(host=host.name, answers={}, choice=None, why=why)
        rule = self._tools.config.advice.sizing
        answers: dict[Resource, Answer] = {}
        for resource in _resources(shape):
            node = host.name if plan is None else plan.exporter
            label = node if resource in (Resource.CPU, Resource.MEMORY) else host.name
            used = series[resource].get(label)
            if used is None:
                answers[resource] = NotEnoughData(why="nothing was measured")
                continue
            amount = _amount(shape, resource)
            scaled = replace(used, values=used.values * amount, unit=_UNITS[resource])
            floor = _floor(plan, amount) if resource is Resource.GPU_MEMORY else NOTHING
            answers[resource] = rule.advise(scaled, current=amount, floor=floor)
        sized = {r: a.capacity for r, a in answers.items() if isinstance(a, Advice)}
        if len(sized) < len(answers):
            why = "; ".join(
                f"{r}: {a.why}" for r, a in answers.items() if not isinstance(a, Advice)
            )
            return HostAdvice(host=host.name, answers=answers, choice=None, why=why)
        chosen = self._choose(host, shape, sized, now)
        if isinstance(chosen, NothingFits):
            return HostAdvice(host=host.name, answers=answers, choice=None, why=chosen.why)
        return HostAdvice(host=host.name, answers=answers, choice=chosen, why=None)

    def _choose(
        self, host: Bought, shape: HostShape, sized: Mapping[Resource, float], now: datetime
    ) -> Choice | NothingFits:
        needs = Needs(
            vcpus=sized[Resource.CPU],
            memory_gib=sized[Resource.MEMORY],
            gpus=shape.gpus,
            gpu_memory_gib=sized.get(Resource.GPU_MEMORY, 0.0),
        )
        current = self._priced(shape, host, now)
        if current is None:
            return NothingFits(why=f"{host.sku} has no {host.term} price in {host.region}")
        others = (self._priced(one, host, now) for one in self._tools.config.host_types)
        return choose(needs, [one for one in others if one is not None], current=current)

    def _priced(self, shape: HostShape, host: Bought, now: datetime) -> HostType | None:
        """Return a type with its price where the host is, bought in the same way; `None`: none."""
        try:
            spans = self._tools.prices.spans(
                shape.name, host.region, Term(host.term), start=now - HOUR, end=now
            )
        except ConfigError as error:
            log.info("%s is no choice: %s", shape.name, error)
            return None
        price = spans[-1].price
        discount = 1 - price.price / price.listed if price.listed else Decimal(0)
        return HostType(
            name=shape.name, family=shape.family, region=host.region,
            architecture=shape.architecture, gpu=shape.gpu, gpus=shape.gpus,
            gpu_memory_gib=shape.gpu_memory_gib, vcpus=shape.vcpus, memory_gib=shape.memory_gib,
            price_per_hour=price.listed, currency=self._tools.prices.currency,
            discount=max(Decimal(0), discount),
        )  # fmt: skip

    def _keep(self, found: HostAdvice, known: Recorded | None, now: datetime) -> None:
        choice = found.choice
        if choice is None or not choice.is_change:
            if known is not None and known.state is State.OPEN:
                why = found.why or "the present type fits"
                self._save(move(known, State.WITHDRAWN, at=now, by=BY, reason=why))
            return
        fresh = Recorded(
            id=_id(found.host),
            resources=frozenset({found.host}),
            strategy=self._tools.config.advice.sizing.strategy,
            monthly_saving=choice.monthly_saving,
            currency=self._tools.prices.currency,
            detail=as_json(found),
            state=State.OPEN,
            made_at=now,
            changed_at=now,
            changed_by=BY,
        )
        self._save(renewed(known, fresh))

    def _cost(self, advice: Recorded, start: datetime, end: datetime) -> tuple[Decimal, int]:
        """Return what advice's hosts cost in a time, and how many hours of it have costs."""
        states = self._tools.store.states(start, end).values()
        sums = self._tools.store.sums(start, end, [Dimension.HOST])
        cost = sum(sums[name,].bill for name in advice.resources if (name,) in sums)
        return from_nanos(cost), sum(state is HourState.COMPUTED for state in states)

    def _one(self, name: str) -> Recorded:
        found = next((one for one in self._tools.store.advice() if one.id == name), None)
        if found is None:
            raise InputError(f"there is no advice {name}; `greenlight cost advice` lists it")
        return found

    def _save(self, advice: Recorded) -> Recorded:
        self._tools.store.save_advice(advice)
        return advice


def as_json(found: HostAdvice) -> JsonDict:
    """Return what was found about a host as plain JSON."""
    choice = found.choice
    return {
        "host": found.host,
        "target": choice.host.name if choice else None,
        "is_change": choice.is_change if choice else False,
        "monthly_saving": str(choice.monthly_saving) if choice else None,
        "effort": str(choice.effort) if choice else None,
        "why": found.why,
        "resources": {str(r): _answer(a) for r, a in found.answers.items()},
    }


def _answer(answer: Answer) -> JsonDict:
    if not isinstance(answer, Advice):
        kind = "withdrawn" if isinstance(answer, Withdrawn) else "not enough data"
        return {"answer": kind, "why": answer.why}
    test = answer.backtest
    return {
        "answer": "size",
        "capacity": answer.capacity,
        "unit": answer.unit,
        "finding": str(answer.finding) if answer.finding else None,
        "reasons": [str(reason) for reason in answer.reasons],
        "risk": answer.risk,
        "why": answer.why,
        "backtest": {
            "over": test.over,
            "slack": test.slack,
            "held": test.held,
            "withdrawn": test.withdrawn,
            "not_enough": test.not_enough,
        },
    }


_UNITS = {
    Resource.CPU: "vCPU",
    Resource.MEMORY: "GiB",
    Resource.GPU: "GPU",
    Resource.GPU_MEMORY: "GiB on each GPU",
}


def _resources(shape: HostShape) -> tuple[Resource, ...]:
    """Return what is sized: of a host without GPUs, processors and memory."""
    return tuple(Resource) if shape.gpus else (Resource.CPU, Resource.MEMORY)


def _amount(shape: HostShape, resource: Resource) -> float:
    return {
        Resource.CPU: shape.vcpus,
        Resource.MEMORY: shape.memory_gib,
        Resource.GPU: float(shape.gpus),
        Resource.GPU_MEMORY: shape.gpu_memory_gib,
    }[resource]


def _floor(plan: HostPlan | None, amount: float) -> Floor:
    """Return what the host's engines take of a GPU at start: weights and KV cache together."""
    held = sum(slot.reserved or 0.0 for slot in plan.slots) if plan else 0.0
    return Floor(amount=min(1.0, held) * amount, made_of="what its engines were given")


def _id(host: str) -> str:
    return f"size/{host}"
