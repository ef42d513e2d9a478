"""What AWS says was spent: Cost Explorer, by day and service."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from greenlight.adapters.aws_calls import aws_errors, open_aws
from greenlight.core.errors import ConfigError
from greenlight.cost.reconciliation import OutsideBill

REGION = "us-east-1"
METRIC = "UnblendedCost"
SOURCE = "AWS Cost Explorer"


class CostExplorer:
    """`cost.ports.BillSource`. Every page asked for costs one cent, so days are asked for at once.

    `tag`: only what has this tag, such as `greenlight` and `production`; none: the whole account.
    """

    def __init__(
        self, *, client: Any = None, tag: tuple[str, str] | None = None,
        endpoint: str | None = None,
    ) -> None:  # fmt: skip
        self._client = client or open_aws("ce", region=REGION, endpoint=endpoint)
        self._tag = tag

    def daily(self, start: date, end: date) -> OutsideBill:
        """Return what was spent in `[start, end)`, by `DAY SERVICE`.

        Raises:
            ConfigError: AWS refuses the call, or answers in several currencies.
            UnavailableError: AWS doesn't answer, or has no data yet.
        """
        query: dict[str, Any] = {
            "TimePeriod": {"Start": start.isoformat(), "End": end.isoformat()},
            "Granularity": "DAILY",
            "Metrics": [METRIC],
            "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}],
        }
        if self._tag is not None:
            query["Filter"] = {"Tags": {"Key": self._tag[0], "Values": [self._tag[1]]}}
        amounts: dict[str, Decimal] = {}
        currencies: set[str] = set()
        estimated = False
        while True:
            with aws_errors("ce", "ce:GetCostAndUsage"):
                found = self._client.get_cost_and_usage(**query)
            for day in found["ResultsByTime"]:
                estimated = estimated or bool(day.get("Estimated"))
                for group in day.get("Groups", ()):
                    cost = group["Metrics"][METRIC]
                    currencies.add(cost["Unit"])
                    key = f"{day['TimePeriod']['Start']} {group['Keys'][0]}"
                    amounts[key] = amounts.get(key, Decimal(0)) + Decimal(cost["Amount"])
            if not (token := found.get("NextPageToken")):
                break
            query["NextPageToken"] = token
        if len(currencies) > 1:
            raise ConfigError(f"{SOURCE} answers in {' and '.join(sorted(currencies))}")
        return OutsideBill(
            source=SOURCE,
            currency=currencies.pop() if currencies else "USD",
            amounts=amounts,
            estimated=estimated,
        )
