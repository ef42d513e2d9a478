"""A fleet's load for each host, as the CloudWatch metric that its group's target tracking reads."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from greenlight.adapters.aws_calls import aws_errors, open_aws
from greenlight.adapters.aws_schedules import NAMESPACE
from greenlight.scaling.reactive import Signal


class CloudWatchLoad:
    """`entrypoints.fleet_load.LoadSink`. What isn't published is missing there, not zero."""

    def __init__(
        self, fleet: str, *, region: str, client: Any = None, endpoint: str | None = None
    ) -> None:
        self._fleet = fleet
        self._client = client or open_aws("cloudwatch", region=region, endpoint=endpoint)

    def publish(self, load: float, *, at: datetime) -> None:
        """Put one value.

        It has no unit: target tracking asks for none, and would not see one of another.
        """
        with aws_errors("cloudwatch", "cloudwatch:PutMetricData"):
            self._client.put_metric_data(
                Namespace=NAMESPACE,
                MetricData=[
                    {
                        "MetricName": str(Signal.TOKENS),
                        "Dimensions": [{"Name": "fleet", "Value": self._fleet}],
                        "Timestamp": at,
                        "Value": load,
                    }
                ],
            )
