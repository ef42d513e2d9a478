"""Somebody who is told, and only remembers."""

from __future__ import annotations

from collections.abc import Sequence

from greenlight.cost.alerts import Alert


class MemoryAlerts:
    """`cost.alerts.AlertSink`. `sent`: every alert, in order."""

    def __init__(self) -> None:
        self.sent: list[Alert] = []

    def send(self, alerts: Sequence[Alert]) -> None:
        """Remember them."""
        self.sent += alerts
