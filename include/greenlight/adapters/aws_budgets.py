"""Budgets kept in AWS Budgets too, so that AWS itself warns when Greenlight is away.

Ours are called `greenlight-NAME`; what is called otherwise isn't touched. AWS counts what carries a
cost allocation tag: a budget whose scope has no tag there can't be kept, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from greenlight.adapters.aws_calls import aws_errors, open_aws
from greenlight.core.types import JsonDict
from greenlight.cost.budgets_file import AwsBudgetsSettings, Budget, Period

PREFIX = "greenlight-"
REGION = "us-east-1"
UNITS = {Period.DAY: "DAILY", Period.MONTH: "MONTHLY"}
MOST_NOTIFICATIONS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A budget that AWS can't keep, and why."""

    name: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPlan:
    """What is to be done at AWS. `create` and `update`: as AWS wants them; `delete`: names."""

    create: tuple[JsonDict, ...]
    update: tuple[JsonDict, ...]
    delete: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def plan_sync(
    budgets: Sequence[Budget],
    found: Sequence[Mapping[str, Any]],
    settings: AwsBudgetsSettings,
    *,
    currency: str,
) -> SyncPlan:
    """Return what makes AWS have these budgets. Given the outcome, there is nothing left to do."""
    left_out = [
        LeftOut(name=budget.name, why=why)
        for budget in budgets
        if (why := _cannot(budget, settings)) is not None
    ]
    missing = {one.name for one in left_out}
    wanted = [_wanted(b, settings, currency) for b in budgets if b.name not in missing]
    ours = {one["BudgetName"]: one for one in found if one["BudgetName"].startswith(PREFIX)}
    names = {one["BudgetName"] for one in wanted}
    return SyncPlan(
        create=tuple(one for one in wanted if one["BudgetName"] not in ours),
        update=tuple(
            one
            for one in wanted
            if (there := ours.get(one["BudgetName"])) is not None and not _same(one, there)
        ),
        delete=tuple(sorted(set(ours) - names)),
        left_out=tuple(left_out),
    )


class AwsBudgets:
    """The budgets of one account."""

    def __init__(
        self, settings: AwsBudgetsSettings, *, client: Any = None, endpoint: str | None = None
    ) -> None:
        self._settings = settings
        self._client = client or open_aws("budgets", region=REGION, endpoint=endpoint)

    def sync(self, budgets: Sequence[Budget], *, currency: str) -> SyncPlan:
        """Make AWS have these budgets; return what that took.

        Raises:
            UnavailableError: AWS doesn't answer.
            ConfigError: AWS refuses.
        """
        account = self._settings.account_id
        plan = plan_sync(budgets, tuple(self._found()), self._settings, currency=currency)
        notified = {f"{PREFIX}{budget.name}": self._notifications(budget) for budget in budgets}
        created = {one["BudgetName"] for one in plan.create}
        missing = {f"{PREFIX}{one.name}" for one in plan.left_out}
        for one in plan.create:
            with aws_errors("budgets", "budgets:ModifyBudget"):
                self._client.create_budget(
                    AccountId=account,
                    Budget=one,
                    NotificationsWithSubscribers=notified[one["BudgetName"]],
                )
        for one in plan.update:
            with aws_errors("budgets", "budgets:ModifyBudget"):
                self._client.update_budget(AccountId=account, NewBudget=one)
        for name in plan.delete:
            with aws_errors("budgets", "budgets:ModifyBudget"):
                self._client.delete_budget(AccountId=account, BudgetName=name)
        for name in sorted(set(notified) - created - missing):
            self._renotify(name, notified[name])
        return plan

    def _renotify(self, name: str, wanted: Sequence[JsonDict]) -> None:
        """Make a budget that was there have these thresholds; whom one tells stays as it was."""
        of = {"AccountId": self._settings.account_id, "BudgetName": name}
        with aws_errors("budgets", "budgets:ViewBudget"):
            page = self._client.describe_notifications_for_budget(**of)
        there = {_threshold(one): one for one in page.get("Notifications", ())}
        thresholds = {_threshold(one["Notification"]): one for one in wanted}
        for key in thresholds.keys() - there.keys():
            with aws_errors("budgets", "budgets:ModifyBudget"):
                self._client.create_notification(**of, **thresholds[key])
        for key in there.keys() - thresholds.keys():
            gone = {k: v for k, v in there[key].items() if k != "NotificationState"}
            with aws_errors("budgets", "budgets:ModifyBudget"):
                self._client.delete_notification(**of, Notification=gone)

    def _found(self) -> Iterator[Mapping[str, Any]]:
        query = {"AccountId": self._settings.account_id}
        while True:
            with aws_errors("budgets", "budgets:ViewBudget"):
                page = self._client.describe_budgets(**query)
            yield from page.get("Budgets", ())
            if not (token := page.get("NextToken")):
                return
            query["NextToken"] = token

    def _notifications(self, budget: Budget) -> list[JsonDict]:
        """Return thresholds with whom to tell; without anybody AWS takes no notification."""
        told = [{"SubscriptionType": "EMAIL", "Address": mail} for mail in self._settings.emails]
        if self._settings.topic is not None:
            told.append({"SubscriptionType": "SNS", "Address": self._settings.topic})
        if not told:
            return []
        thresholds = [("ACTUAL", t) for t in budget.actual]
        thresholds += [("FORECASTED", t) for t in budget.forecast if budget.period is Period.MONTH]
        return [
            {
                "Notification": {
                    "NotificationType": basis,
                    "ComparisonOperator": "GREATER_THAN",
                    "Threshold": float(threshold * 100),
                    "ThresholdType": "PERCENTAGE",
                },
                "Subscribers": told,
            }
            for basis, threshold in thresholds[:MOST_NOTIFICATIONS]
        ]


def _threshold(notification: Mapping[str, Any]) -> tuple[str, float]:
    return str(notification["NotificationType"]), float(notification["Threshold"])


def _cannot(budget: Budget, settings: AwsBudgetsSettings) -> str | None:
    if budget.period not in UNITS:
        return f"AWS has no budgets for a {budget.period}"
    if untagged := sorted(set(budget.scope.named()) - set(settings.tags)):
        return f"{', '.join(untagged)} has no cost allocation tag: name it in aws.tags"
    return None


def _wanted(budget: Budget, settings: AwsBudgetsSettings, currency: str) -> JsonDict:
    wanted: JsonDict = {
        "BudgetName": f"{PREFIX}{budget.name}",
        "BudgetType": "COST",
        "TimeUnit": UNITS[budget.period],
        "BudgetLimit": {"Amount": f"{budget.amount.normalize():f}", "Unit": currency},
    }
    tags = [f"user:{settings.tags[name]}${value}" for name, value in budget.scope.named().items()]
    if tags:
        wanted["CostFilters"] = {"TagKeyValue": tags}
    return wanted


def _same(wanted: JsonDict, there: Mapping[str, Any]) -> bool:
    limit, has = wanted["BudgetLimit"], there.get("BudgetLimit") or {"Amount": "NaN", "Unit": ""}
    return (
        Decimal(limit["Amount"]) == Decimal(has["Amount"])
        and limit["Unit"] == has["Unit"]
        and wanted["TimeUnit"] == there.get("TimeUnit")
        and sorted(wanted.get("CostFilters", {}).get("TagKeyValue", ()))
        == sorted((there.get("CostFilters") or {}).get("TagKeyValue", ()))
    )
