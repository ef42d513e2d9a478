"""What spending comes to: the forecast, budgets, days that stand out, and who is told."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from greenlight.core.errors import ConfigError
from greenlight.core.types import JsonDict
from greenlight.cost import alerts, anomalies, budgets
from greenlight.cost.alerts import Alert, AlertSink
from greenlight.cost.anomalies import Anomaly, AnomalySettings, NotJudged, SpendRow
from greenlight.cost.bill import HOUR
from greenlight.cost.budgets import Outlook, Span, Status
from greenlight.cost.budgets_file import Budget, BudgetsFile, Period, read_budgets
from greenlight.cost.hours import HourState
from greenlight.cost.money import from_nanos
from greenlight.cost.savings import count_once
from greenlight.cost.spend import DAY, HourlySpend, block_start
from greenlight.cost.totals import Dimension, Total
from greenlight.cost.unit_costs import unit_costs
from greenlight.entrypoints.cost_enforcement import lower_limits
from greenlight.forecast.choose import Forecast, TooLittleHistory, forecast

if TYPE_CHECKING:
    from greenlight.entrypoints.cost_tools import CostTools
    from greenlight.forecast.settings import ForecastSettings

log = logging.getLogger(__name__)

BLOCK = timedelta(hours=6)
"""Forecasts are made in steps of it: by the hour they take ten times as long and aren't better."""
HISTORY = timedelta(days=62)
LOOK_BACK = timedelta(days=3)
"""In which hours are still tried, unless cost.yaml says otherwise."""
BY = (Dimension.TENANT, Dimension.MODEL, Dimension.HOST, Dimension.PART)
JUDGED = (Dimension.TENANT, Dimension.MODEL, Dimension.HOST)
"""What days are compared by."""
MATTERS = ("budget/", "anomaly/")
"""How the keys of everything begin that is told from here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was said: everything that stands, what is new of it, and what is over."""

    standing: tuple[Alert, ...]
    fired: tuple[Alert, ...]
    over: tuple[str, ...]


class CostOutlook:
    """What a person or a DAG can ask about spending to come."""

    def __init__(
        self, tools: CostTools, file: BudgetsFile, *, forecasts: ForecastSettings | None = None
    ) -> None:
        """Use the costs of one home.

        Raises:
            ConfigError: budgets are in another currency than prices.
        """
        if file.currency != tools.prices.currency:
            raise ConfigError(
                f"budgets.yaml is in {file.currency} and prices.yaml in {tools.prices.currency}: "
                f"give both in one currency"
            )
        self._tools, self.file, self._forecasts = tools, file, forecasts
        self._known: dict[Hashable, Forecast | TooLittleHistory] = {}

    @property
    def until(self) -> datetime:
        """The end of the newest hour whose samples have settled."""
        settled = self._tools.clock.now() - timedelta(
            minutes=self._tools.config.hours.settle_minutes
        )
        return settled.astimezone(UTC).replace(minute=0, second=0, microsecond=0)

    def spend(
        self, start: datetime, end: datetime, where: Mapping[Dimension, str] | None = None
    ) -> HourlySpend:
        """Return the hours of `[start, end)` of a scope, from the first deploy on."""
        since = self._tools.since or end
        first = min(max(start, since.replace(minute=0, second=0, microsecond=0)), end)
        states = self._tools.store.states(first, end)
        totals = self._tools.store.hourly(first, end, where or {})
        billed = [hour for hour, state in states.items() if state is HourState.COMPUTED]
        known = {hour: totals.get(hour, Total()) for hour in billed}
        return HourlySpend(start=first, end=end, known=known)

    def ahead(
        self, span: Span, where: Mapping[Dimension, str] | None = None
    ) -> tuple[datetime, Forecast | TooLittleHistory]:
        """Return what the rest of a period costs, and from when on that is.

        It begins with the newest block that isn't whole yet, so that no hour is counted twice.
        """
        begin = block_start(self.until, BLOCK)
        asked = (begin, span.end, frozenset((where or {}).items()))
        if asked not in self._known:  # seconds of a core each
            self._known[asked] = self._forecast(*asked)
        return begin, self._known[asked]

    def _forecast(
        self, begin: datetime, end: datetime, where: frozenset[tuple[Dimension, str]]
    ) -> Forecast | TooLittleHistory:
        series = self.spend(begin - HISTORY, begin, dict(where)).blocks(BLOCK)
        steps = (end - begin) // BLOCK
        if series is None:
            return TooLittleHistory(why="not one quarter of a day has a whole bill yet")
        if steps < 1:
            return TooLittleHistory(why="the period is nearly over")
        return forecast(series, steps=steps, settings=self._forecasts)

    def status(self, budget: Budget) -> Status:
        """Return how a budget stands in its present period."""
        where = {Dimension(name): value for name, value in budget.scope.named().items()}
        until = self.until
        span = budgets.span_of(budget.period, until - HOUR)
        begin, ahead = self.ahead(span, where)
        spend = self.spend(span.start, until, where)
        whole = budgets.outlook(spend.spent(span.start, begin), ahead)
        return budgets.check(budget, spend.spent(span.start, until), whole, now=until - HOUR)

    def statuses(self) -> tuple[Status, ...]:
        """Return how every budget stands."""
        return tuple(self.status(budget) for budget in self.file.budgets)

    def stands_out(
        self, day: date, *, settings: AnomalySettings | None = None
    ) -> tuple[Anomaly | NotJudged, ...]:
        """Return what stands out on a day, by tenant, model and host, the largest first."""
        settings = settings or AnomalySettings()
        rows, measured = self._days(day, weeks=2 * settings.weeks)
        found = [
            answer
            for dimension in JUDGED
            for answer in anomalies.find(
                rows, dimension=dimension, day=day, measured=measured, settings=settings
            )
        ]
        return tuple(
            sorted(found, key=lambda a: -abs(a.difference) if isinstance(a, Anomaly) else 0)
        )

    def tell(
        self,
        statuses: Sequence[Status],
        found: Sequence[Anomaly | NotJudged],
        *,
        reminded: Sequence[AlertSink] = (),
        informed: Sequence[AlertSink] = (),
    ) -> Told:
        """Tell who should know. `reminded`: hears all that stands; `informed`: only what is new.

        What was told is noted once it is: who could not be told is told by the next run.

        Raises:
            UnavailableError: somebody did not answer.
        """
        now, store = self._tools.clock.now(), self._tools.store
        standing = [
            alert
            for status in statuses
            for alert in budgets.standing(status, currency=self.file.currency, now=now)
        ]
        standing += [
            anomalies.alert_of(one, currency=self.file.currency, now=now)
            for one in found
            if isinstance(one, Anomaly)
        ]
        sent = {key for matter in MATTERS for key in store.alerts(matter)}
        held = {key for status in statuses for key in budgets.held(status)}
        due = alerts.due(standing, sent=self._looked_at(sent, statuses, found), held=held)
        for sink in reminded:
            sink.send(standing)
        if due.fired:
            for sink in informed:
                sink.send(due.fired)
        for key in due.keys:
            store.note_alert(key, now)
        return Told(standing=tuple(standing), fired=due.fired, over=due.over)

    def _looked_at(
        self, sent: set[str], statuses: Sequence[Status], found: Sequence[Anomaly | NotJudged]
    ) -> set[str]:
        """Return the keys of matters that were looked at now: others are neither new nor over."""
        unknown = {
            f"anomaly/{one.dimension}/{one.value}/" for one in found if isinstance(one, NotJudged)
        }
        begins = tuple(budgets.prefix(status) for status in statuses)
        return {
            key
            for key in sent
            if key.startswith(begins)
            or (key.startswith("anomaly/") and not key.startswith(tuple(unknown) or ("\0",)))
        }

    def _days(self, day: date, *, weeks: int) -> tuple[list[SpendRow], set[date]]:
        """Return each day's rows, and the days whose every hour has a bill."""
        midnight = datetime.combine(day, datetime.min.time(), UTC)
        spend = self.spend(midnight - timedelta(weeks=weeks), midnight + DAY)
        whole = {one.day for one in spend.days() if not one.hours_missing}
        rows: list[SpendRow] = []
        for one in sorted(whole):
            start = datetime.combine(one, datetime.min.time(), UTC)
            for key, total in self._tools.store.sums(start, start + DAY, BY).items():
                labels = {
                    str(dimension): value
                    for dimension, value in zip(BY, key, strict=True)
                    if value is not None
                }
                rows.append(SpendRow(day=one, labels=labels, cost=from_nanos(total.bill)))
        return rows, whole


def open_outlook(tools: CostTools) -> CostOutlook:
    """Return the outlook by budgets.yaml.

    Raises:
        ConfigError: it is wrong.
    """
    return CostOutlook(tools, read_budgets(tools.settings.config_file("budgets")))


def open_sinks(
    tools: CostTools, file: BudgetsFile
) -> tuple[tuple[AlertSink, ...], tuple[AlertSink, ...]]:
    """Return who is reminded of all that stands, and who is informed of what is new.

    Raises:
        RefusedError: Alertmanager is the embedded one, and the stack is not up.
    """
    from greenlight.adapters.alertmanager_api import AlertmanagerApi
    from greenlight.adapters.sns_alerts import SnsAlerts
    from greenlight.entrypoints import stack

    reminded: list[AlertSink] = []
    if file.alertmanager:
        reminded.append(AlertmanagerApi(stack.alertmanager_url(tools.settings)))
    return tuple(reminded), (SnsAlerts(file.sns_topic),) if file.sns_topic else ()


def month_of(until: datetime) -> Span:
    """Return the month of the newest hour."""
    return budgets.span_of(Period.MONTH, until - HOUR)


def summary_of(status: Status) -> JsonDict:
    """Return a budget as plain JSON."""
    ahead = status.outlook
    expected = str(ahead.amount) if isinstance(ahead, Outlook) else None
    return {
        "budget": status.budget.name,
        "period": status.span.name,
        "amount": str(status.budget.amount),
        "spent": None if status.spent.amount is None else str(status.spent.amount),
        "hours_missing": status.spent.missing,
        "expected": expected,
        "verdict": str(status.verdict),
        "checked": [
            {
                "basis": str(one.basis),
                "threshold": str(one.threshold),
                "verdict": str(one.verdict),
                "why": one.why,
            }
            for one in status.checked
        ],
    }


def publish(
    tools: CostTools,
    outlook: CostOutlook,
    statuses: Sequence[Status],
    found: Sequence[Anomaly | NotJudged],
) -> None:
    """Write the numbers that Prometheus reads."""
    from greenlight.adapters.cost_metrics import CostNumbers, write_costs

    until, store = outlook.until, tools.store
    states = store.states(until - LOOK_BACK, until)
    billed = [hour for hour, state in states.items() if state is HourState.COMPUTED]
    newest = max(billed, default=None)
    by_model: dict[str, Total] = {}
    hour = None
    if newest is not None:
        sums = store.sums(newest, newest + HOUR, [Dimension.MODEL])
        by_model = {model: total for (model,), total in sums.items() if model is not None}
        hour = store.hourly(newest, newest + HOUR, {}).get(newest, Total())
    lines = store.lines(until - DAY, until)
    judged = [one for one in found if isinstance(one, NotJudged)]
    odd = sum(isinstance(one, Anomaly) for one in found)
    write_costs(
        tools.settings.metrics,
        CostNumbers(
            looked_at=tools.clock.now(),
            newest_hour=newest,
            hour=hour,
            by_model=by_model,
            units=unit_costs(lines, output_weight=tools.config.output_weight),
            aside=sum(state is HourState.ASIDE for state in states.values()),
            advised=count_once(store.advice()).monthly_saving,
            anomalies=odd if odd or not judged else None,
            budgets=statuses,
        ),
    )


def sync_budgets(file: BudgetsFile) -> JsonDict:
    """Make AWS Budgets keep the same budgets, where budgets.yaml says so; return what that took.

    Raises:
        ConfigError: budgets.yaml has no `aws`, or AWS refuses.
        UnavailableError: AWS doesn't answer.
    """
    from greenlight.adapters.aws_budgets import AwsBudgets

    if file.aws is None:
        raise ConfigError("budgets.yaml has no `aws`: add the account to keep budgets there too")
    plan = AwsBudgets(file.aws).sync(file.budgets, currency=file.currency)
    for one in plan.left_out:
        log.warning("AWS Budgets can't keep %s: %s", one.name, one.why)
    return {
        "created": [one["BudgetName"] for one in plan.create],
        "updated": [one["BudgetName"] for one in plan.update],
        "deleted": list(plan.delete),
        "left_out": {one.name: one.why for one in plan.left_out},
    }


def look_and_tell(tools: CostTools) -> JsonDict:
    """Look at budgets and at yesterday, and tell who should know; return what was found.

    Raises:
        UnavailableError: somebody who is to be told does not answer; all else was done.
    """
    outlook = open_outlook(tools)
    statuses = outlook.statuses()
    found = outlook.stands_out((outlook.until - DAY).date())
    reminded, informed = open_sinks(tools, outlook.file)
    publish(tools, outlook, statuses, found)
    told = outlook.tell(statuses, found, reminded=reminded, informed=informed)
    for alert in told.fired:
        log.warning("%s", alert.summary)
    return {
        "budgets": [summary_of(status) for status in statuses],
        "anomalies": [one.key for one in found if isinstance(one, Anomaly)],
        "not_judged": sum(isinstance(one, NotJudged) for one in found),
        "told": [alert.key for alert in told.fired],
        "over": list(told.over),
        "aws": sync_budgets(outlook.file) if outlook.file.aws else None,
        "gateway": lower_limits(tools, statuses),
    }
