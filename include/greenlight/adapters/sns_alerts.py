"""Alerts as messages of an SNS topic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from greenlight.adapters.aws_calls import aws_errors, open_aws
from greenlight.core.errors import ConfigError
from greenlight.cost.alerts import Alert

SUBJECT_LENGTH = 100
"""SNS takes no longer one, and ASCII only."""


class SnsAlerts:
    """`cost.alerts.AlertSink`. A topic remembers nothing: send only what is new."""

    def __init__(self, topic: str, *, client: Any = None, endpoint: str | None = None) -> None:
        """`topic`: its ARN, which says its region.

        Raises:
            ConfigError: it is no ARN of a topic.
        """
        parts = topic.split(":")
        if len(parts) != 6 or parts[2] != "sns" or not parts[3]:
            raise ConfigError(f"sns_topic {topic!r} is no ARN of an SNS topic (arn:aws:sns:…)")
        self._topic = topic
        self._client = client or open_aws("sns", region=parts[3], endpoint=endpoint)

    def send(self, alerts: Sequence[Alert]) -> None:
        """Publish each.

        Raises:
            UnavailableError: SNS doesn't answer; alerts before this one may be published.
            ConfigError: SNS refuses.
        """
        for alert in alerts:
            with aws_errors("sns", "sns:Publish"):
                self._client.publish(
                    TopicArn=self._topic,
                    Subject=_subject(alert.summary),
                    Message=f"{alert.summary}\n\n{alert.description}\n\n{alert.key}\n",
                    MessageAttributes={
                        "severity": {"DataType": "String", "StringValue": alert.severity},
                        "alertname": {"DataType": "String", "StringValue": alert.name},
                    },
                )


def _subject(text: str) -> str:
    plain = " ".join(text.encode("ascii", "replace").decode().split())
    return plain if len(plain) <= SUBJECT_LENGTH else f"{plain[: SUBJECT_LENGTH - 3]}..."
