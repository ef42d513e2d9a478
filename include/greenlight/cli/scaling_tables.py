"""How `greenlight scaling` looks: schedules, what differs, and how days went."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from greenlight.cli.console import console, say

if TYPE_CHECKING:
    from greenlight.scaling.kept import KeptSchedule
    from greenlight.scaling.look_back import LookBack
    from greenlight.scaling.schedule_changes import ScheduleDiff

SHORT = 12
"""Digits of a digest that a person copies."""


def print_schedules(schedules: Sequence[KeptSchedule]) -> None:
    """Print what became of schedules."""
    table = Table()
    for column in ("schedule", "made", "state", "SLO", "GPU-hours", "by", "waits for, or reason"):
        table.add_column(column)
    for kept in schedules:
        slo = "-" if kept.expected_slo_pct is None else f"{kept.expected_slo_pct:g} %"
        hours = "-" if kept.gpu_hours is None else f"{kept.gpu_hours:g}"
        who = kept.applied_by or kept.decided_by or kept.made_by
        said = kept.reason or "; ".join(kept.waits_for)
        made = f"{kept.made_at:%Y-%m-%d %H:%M}"
        table.add_row(kept.digest[:SHORT], made, str(kept.state), slo, hours, who, said)
    console.print(table)


def print_diff(changes: ScheduleDiff) -> None:
    """Print every change of the coming seven days."""
    if changes.is_empty:
        say("nothing changes in the coming seven days")
        return
    for line in (*changes.facts, *(changed.line for changed in changes.changed)):
        say(line)
    say(f"GPU-hours: {changes.gpu_hours_before:g} → {changes.gpu_hours_after:g}")


def print_days(days: Sequence[LookBack]) -> None:
    """Print how days went."""
    table = Table()
    for column in ("day", "SLO", "with the plan alone", "GPU-hours", "planned", "not needed",
                   "error of demand", "worst hour", "measured"):  # fmt: skip
        table.add_column(column)
    for day in days:
        worst = "-" if day.worst_hour is None else f"{day.worst_hour:02d}:00"
        table.add_row(
            f"{day.day}", f"{day.slo_pct:.2f} %", f"{day.planned_slo_pct:.2f} %",
            f"{day.hours:.1f}", f"{day.planned_hours:.1f}", f"{day.spare_hours:.1f}",
            f"{day.error:.1%}", worst, f"{day.share:.0%}",
        )  # fmt: skip
    console.print(table)


def shown(
    applied: KeptSchedule | None, newest: Sequence[KeptSchedule], days: Sequence[LookBack]
) -> str:
    """Return all of it as JSON."""
    found = {
        "applied": None if applied is None else asdict(applied),
        "schedules": [asdict(kept) for kept in newest],
        "days": [asdict(day) for day in days],
    }
    return json.dumps(found, default=str)
