"""What costs work with: usage, prices, store, files; opened from the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from greenlight.core.clock import Clock, SystemClock
from greenlight.core.settings import Settings, load_settings, read_config
from greenlight.cost.bill import BillItem, Bought
from greenlight.cost.cost_file import CostFile, PricesFrom, load_cost_file
from greenlight.cost.inventory import HostPlan
from greenlight.cost.ports import BillSource, CostStore, PriceSource, UsageSource
from greenlight.cost.prices import PriceBook, read_prices
from greenlight.cost.usage import HostUsage

if TYPE_CHECKING:
    import sqlalchemy as sa

    from greenlight.adapters.cost_expectations import HourVerdict
    from greenlight.adapters.focus_files import FocusFiles


class CheckHour(Protocol):
    """Judges what an hour's costs would be made from."""

    def __call__(
        self,
        usage: Mapping[str, HostUsage],
        items: Sequence[BillItem],
        *,
        hour: datetime,
        min_measured: float,
        last_prices: Mapping[str, Decimal],
        docs: Path,
    ) -> HourVerdict:
        """Return its problems and warnings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTools:
    """Everything that costs act through. Each part can be a fake.

    `plans`: what should have been running in an hour. `bought`: what is paid for. `since`: the
    first hour there is anything to compute for; none: nothing was ever deployed. `prices`: the
    book; `price_source`: who knows better, if anybody.
    """

    settings: Settings
    config: CostFile
    prices: PriceBook
    plans: Callable[[datetime], tuple[HostPlan, ...]]
    bought: tuple[Bought, ...]
    since: datetime | None
    usage: UsageSource
    store: CostStore
    files: FocusFiles
    check: CheckHour
    price_source: PriceSource | None = None
    bills: BillSource | None = None
    clock: Clock = SystemClock()  # noqa: RUF009 - stateless

    @property
    def docs(self) -> Path:
        """Where the data docs of hours are."""
        return self.settings.home / "costs" / "data docs"


def open_tools(settings: Settings | None = None, *, engine: sa.Engine | None = None) -> CostTools:
    """Open everything for this home's costs; nothing is asked yet.

    `engine`: the database, where it is open already, as in a server that opens these often.

    Raises:
        ConfigError: cost.yaml, prices.yaml or fleet.yaml is wrong, or a token can't be read.
        RefusedError: no database is configured, and the embedded stack is not up.
    """
    from greenlight.adapters.cost_store import DatabaseCosts
    from greenlight.adapters.focus_files import FocusFiles
    from greenlight.adapters.rollout_store import DatabaseJournal
    from greenlight.deploy.fleet import FleetFile
    from greenlight.entrypoints import stack
    from greenlight.entrypoints.cost_inventory import first_hour, hosts_bought, plans_of

    settings = settings or load_settings()
    config = load_cost_file(settings.config_file("cost"))
    fleets = read_config(settings.config_file("fleet"), FleetFile).fleets
    engine = engine or stack.open_database(settings)
    journal = DatabaseJournal(engine)
    rollouts = {fleet.name: journal.rollouts(fleet.name) for fleet in fleets}
    deployed = tuple(fleet for fleet in fleets if rollouts[fleet.name])

    def plans(hour: datetime) -> tuple[HostPlan, ...]:
        return tuple(plan for fleet in deployed for plan in plans_of(fleet, journal, hour))

    return CostTools(
        settings=settings,
        config=config,
        prices=read_prices(settings.config_file("prices")),
        plans=plans,
        bought=(*hosts_bought(deployed, config), *config.bought()),
        since=first_hour(rollouts.values()),
        usage=_usage(settings, config),
        store=DatabaseCosts(engine),
        files=FocusFiles(settings.home / "costs" / "focus"),
        check=_check_hour,
        price_source=_price_source(config),
        bills=_bills(config),
    )


def _check_hour(
    usage: Mapping[str, HostUsage],
    items: Sequence[BillItem],
    *,
    hour: datetime,
    min_measured: float,
    last_prices: Mapping[str, Decimal],
    docs: Path,
) -> HourVerdict:
    """Judge an hour. Great Expectations takes seconds and 300 MB: who only reads goes without."""
    from greenlight.adapters.cost_expectations import check_hour

    return check_hour(
        usage,
        items,
        hour=hour,
        min_measured=min_measured,
        last_prices=last_prices,
        docs=docs,
    )


def _usage(settings: Settings, config: CostFile) -> UsageSource:
    from greenlight.adapters.prometheus_api import PrometheusApi
    from greenlight.adapters.prometheus_usage import Labels, PrometheusUsage
    from greenlight.adapters.s3 import read_secret
    from greenlight.entrypoints import stack

    asked = config.prometheus
    api = PrometheusApi(
        stack.prometheus_url(settings),
        token=read_secret(asked.token_file) if asked.token_file else None,
    )
    return PrometheusUsage(
        api, labels=Labels(host=asked.host_label, slot=asked.slot_label, step_s=asked.scrape_s)
    )


def _price_source(config: CostFile) -> PriceSource | None:
    if config.prices_from is PricesFrom.BOOK:
        return None
    from greenlight.adapters.aws_prices import AwsPrices

    return AwsPrices()


def _bills(config: CostFile) -> BillSource | None:
    if config.reconciling is None:
        return None
    from greenlight.adapters.cost_explorer import CostExplorer

    return CostExplorer(tag=config.reconciling.tag)
