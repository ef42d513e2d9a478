"""Costs by the hour: measured, checked, priced, shared out, kept, and written as FOCUS rows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from greenlight.core.digest import digest_json
from greenlight.core.errors import ConfigError, InputError, RefusedError
from greenlight.core.types import JsonDict
from greenlight.cost.allocation import allocate, identity_error
from greenlight.cost.bill import HOUR, BillItem, Bought, bill_of, require_hour
from greenlight.cost.focus.rows import rows_of
from greenlight.cost.hours import CostHour, HourState, due, kept
from greenlight.cost.money import from_nanos
from greenlight.cost.prices import Price, PriceBook, Term
from greenlight.cost.reconciliation import Reconciliation, reconcile
from greenlight.cost.totals import Dimension, Key, Total
from greenlight.cost.unit_costs import UnitCost, unit_costs
from greenlight.cost.usage import HostUsage

if TYPE_CHECKING:
    from greenlight.entrypoints.cost_tools import CostTools

log = logging.getLogger(__name__)

LONGEST = timedelta(days=93)
"""What a run or an export may span at once."""


class Costs:
    """What a person or a DAG can ask about costs."""

    def __init__(self, tools: CostTools) -> None:
        self._tools = tools

    def due(self) -> tuple[datetime, ...]:
        """Return the hours that are due, oldest first; none before anything was deployed."""
        now, settings = self._tools.clock.now(), self._tools.config.hours
        known = self._tools.store.states(now - (settings.keep_trying_hours + 2) * HOUR, now)
        since = self._tools.since
        hours = due(known, now=now, settings=settings)
        return tuple(hour for hour in hours if since is not None and hour >= since)

    def plan(self, hours: Sequence[datetime]) -> tuple[str, ...]:
        """Return what computing these hours would do, one line each; nothing is asked or changed.

        Raises:
            ConfigError: a price is missing or stale.
        """
        lines = []
        for hour in hours:
            items = self._bill(hour)
            plans = self._tools.plans(hour)
            engines = sum(len(plan.slots) for plan in plans)
            bill = from_nanos(sum(item.cost for item in items))
            lines.append(
                f"{hour:%Y-%m-%d %H}:00 UTC: {len(plans)} hosts with {engines} engines, "
                f"{len(items)} items, {bill:,.4f} {self._tools.prices.currency}"
            )
        return tuple(lines)

    def run(self, hours: Iterable[datetime]) -> tuple[CostHour, ...]:
        """Compute hours, oldest first. One that is kept aside doesn't stop the others.

        Raises:
            UnavailableError: Prometheus or the database doesn't answer.
            ConfigError: they refuse us.
        """
        return tuple(self.run_hour(hour) for hour in hours)

    def run_hour(self, hour: datetime) -> CostHour:
        """Compute an hour and keep it. An hour with costs is only replaced by one with costs.

        Raises:
            UnavailableError, ConfigError: as `run`.
            RefusedError: the lines don't add up to the bill. That is a bug, and nothing is kept.
        """
        require_hour(hour)
        fresh = self._compute(hour)
        known = self._tools.store.states(hour, hour + HOUR).get(hour)
        if not kept(known, fresh):
            log.warning("%s stays as it was: %s", hour, "; ".join(fresh.reasons))
            return fresh
        self._tools.store.save_hour(fresh)
        self._tools.files.write_hour(hour, rows_of(fresh.lines, self._tools.config.account))
        log.info("%s: %s, %d lines", hour, fresh.state, len(fresh.lines))
        return fresh

    def sums(self, start: datetime, end: datetime, *by: Dimension) -> Mapping[Key, Total]:
        """Return what was spent in `[start, end)`, by dimensions."""
        return self._tools.store.sums(start, end, by)

    def unit_costs(self, start: datetime, end: datetime) -> tuple[UnitCost, ...]:
        """Return what a million tokens of each version cost in `[start, end)`."""
        lines = self._tools.store.lines(start, end)
        return unit_costs(lines, output_weight=self._tools.config.output_weight)

    def aside(self, start: datetime, end: datetime) -> tuple[CostHour, ...]:
        """Return the hours of `[start, end)` that are kept aside."""
        hours = self._tools.store.hours(start, end)
        return tuple(hour for hour in hours if hour.state is HourState.ASIDE)

    def missing(self, start: datetime, end: datetime) -> tuple[datetime, ...]:
        """Return the hours of `[start, end)` that nobody computed, up to now.

        Hours before anything was deployed aren't missing.
        """
        if self._tools.since is None:
            return ()
        known = self._tools.store.states(start, end)
        first, last = max(start, self._tools.since), min(end, self._tools.clock.now() - HOUR)
        return tuple(hour for hour in hours_between(first, last) if hour not in known)

    def export(self, path: Path, *, start: datetime, end: datetime) -> int:
        """Write the FOCUS rows of `[start, end)` as CSV; return how many they are."""
        return self._tools.files.to_csv(path, start=start, end=end)

    def reconcile(self, start: date, end: date) -> Reconciliation:
        """Compare the days of `[start, end)` with the cloud's own bill.

        Raises:
            ConfigError: cost.yaml names no bill to compare with.
        """
        settings = self._tools.config.reconciling
        if self._tools.bills is None or settings is None:
            raise ConfigError("cost.yaml has no `reconciling`: add it to compare with AWS' bill")
        theirs = self._tools.bills.daily(start, end)
        ours = {}
        for n in range((end - start).days):
            first = datetime.combine(start + timedelta(days=n), datetime.min.time(), UTC)
            total = self.sums(first, first + 24 * HOUR).get((), Total())
            ours[f"{first:%Y-%m-%d}"] = from_nanos(total.bill)
        by_day: dict[str, Decimal] = {}
        for key, amount in theirs.amounts.items():
            day = key.partition(" ")[0]
            by_day[day] = by_day.get(day, Decimal(0)) + amount
        outside = type(theirs)(
            source=theirs.source,
            currency=theirs.currency,
            amounts=by_day,
            estimated=theirs.estimated,
        )
        return reconcile(
            ours,
            outside,
            currency=self._tools.prices.currency,
            tolerance=settings.tolerance,
        )

    def _compute(self, hour: datetime) -> CostHour:
        tools = self._tools
        usage = tools.usage.hour(tools.plans(hour), hour)
        now = tools.clock.now()
        try:
            items = self._bill(hour)
        except ConfigError as error:
            return CostHour(
                hour=hour,
                state=HourState.ASIDE,
                computed_at=now,
                inputs=_digest(usage, ()),
                reasons=(str(error),),
            )
        bill = sum(item.cost for item in items)
        verdict = tools.check(
            usage,
            items,
            hour=hour,
            min_measured=tools.config.min_measured,
            last_prices=self._last_prices(hour),
            docs=tools.docs / f"{hour:%Y-%m-%dT%H}",
        )
        lines = allocate(items, usage, output_weight=tools.config.output_weight)
        if missed := identity_error(items, lines):
            raise RefusedError(f"the lines of {hour} miss the bill by {missed} billionths")
        is_aside = bool(verdict.problems)
        return CostHour(
            hour=hour,
            state=HourState.ASIDE if is_aside else HourState.COMPUTED,
            computed_at=now,
            inputs=_digest(usage, items),
            bill=bill,
            currency=tools.prices.currency,
            reasons=verdict.problems,
            warnings=verdict.warnings,
            lines=() if is_aside else lines,
        )

    def _bill(self, hour: datetime) -> tuple[BillItem, ...]:
        return bill_of(self._tools.bought, hour, self._book(hour))

    def _book(self, hour: datetime) -> PriceBook:
        """Return the book, with what the cloud says about hosts in place of the book's own."""
        source = self._tools.price_source
        if source is None:
            return self._tools.prices
        found: list[Price] = []
        today = self._tools.clock.now().date()
        asked = {(b.sku, b.region, b.term) for b in self._tools.bought}
        for sku, region, term in sorted(asked):
            if term is Term.ON_DEMAND:
                found.append(source.on_demand(sku, region, on=today))
            if term is Term.SPOT:
                found += source.spot(sku, region, start=hour, end=hour + HOUR)
        book, keys = self._tools.prices, {price.key for price in found}
        rest = [price for price in book.prices if price.key not in keys]
        return PriceBook(
            currency=book.currency,
            stale_after_days=book.stale_after_days,
            prices=(*rest, *found),
        )

    def _last_prices(self, hour: datetime) -> Mapping[str, Decimal]:
        """Return what each SKU cost in the hour before; a SKU without a price then has none."""
        prices: dict[str, Decimal] = {}
        for thing in self._tools.bought:
            try:
                (item,) = bill_of([thing], hour - HOUR, self._tools.prices)
            except ConfigError:
                continue
            if item.quantity:
                prices[_sku(thing)] = from_nanos(item.cost) / item.quantity
        return prices


def hours_between(start: datetime, end: datetime) -> tuple[datetime, ...]:
    """Return the hours that begin in `[start, end)`.

    Raises:
        InputError: `start` doesn't begin an hour, or it is more than 93 days.
    """
    require_hour(start)
    if end - start > LONGEST:
        raise InputError(f"{start:%Y-%m-%d} to {end:%Y-%m-%d} is more than {LONGEST.days} days")
    count = max(0, -((start - end) // HOUR))
    return tuple(start + n * HOUR for n in range(count))


def summary(hour: CostHour) -> JsonDict:
    """Return an hour as plain JSON, without its lines."""
    return {
        "hour": hour.hour.isoformat(),
        "state": str(hour.state),
        "bill": None if hour.bill is None else str(from_nanos(hour.bill)),
        "currency": hour.currency,
        "lines": len(hour.lines),
        "reasons": list(hour.reasons),
        "warnings": list(hour.warnings),
    }


def _sku(thing: Bought) -> str:
    return f"{thing.sku} in {thing.region}"


def _digest(usage: Mapping[str, HostUsage], items: Sequence[BillItem]) -> str:
    """Return a digest of what an hour was made from."""
    measured = {name: asdict(host) for name, host in usage.items()}
    priced = [[item.bought.name, item.cost, item.list_cost, item.currency] for item in items]
    return digest_json([_plain(measured), priced])


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | None) else str(value)
