"""A plan in words, for whoever approves it."""

from __future__ import annotations

from collections.abc import Sequence

from greenlight.scaling.demand_profile import NotEnoughData
from greenlight.scaling.replay.comparison import Comparison
from greenlight.scaling.schedule import Schedule
from greenlight.scaling.schedule_changes import ScheduleDiff

SHOWN = 40
"""Changes that are listed; `greenlight scaling diff` lists all."""
NAMES = {
    "oracle": "oracle, which knows all demand",
    "static": "static, at the highest demand before",
    "hpa": "HPA alone",
    "previous": "the schedule that runs now",
    "schedule": "this kind of schedule, planned every night",
    "anticipating": "the same with the anticipating loop",
}


def describe_plan(
    schedule: Schedule,
    changes: ScheduleDiff | None,
    replayed: Comparison | NotEnoughData,
    waits_for: Sequence[str],
) -> str:
    """Return Markdown: why a person is asked, what changes, and how it did in the replay."""
    lines = [f"**Waits because:** {'; '.join(waits_for)}", ""] if waits_for else []
    lines += [f"Made from {schedule.basis}.", "", *_changes(schedule, changes), ""]
    return "\n".join([*lines, *replay_lines(replayed)])


def replay_lines(replayed: Comparison | NotEnoughData) -> list[str]:
    """Return the replay as a table in Markdown."""
    if isinstance(replayed, NotEnoughData):
        return [f"Not replayed: {replayed.why}."]
    lines = [
        f"Replayed on {replayed.first} to {replayed.last}"
        + (f" ({replayed.bridged:.1%} of the demand is bridged)" if replayed.bridged else ""),
        "",
        "| policy | SLO | GPU-hours | over the oracle | starts |",
        "| --- | --- | --- | --- | --- |",
    ]
    return lines + [
        f"| {NAMES.get(row.policy, row.policy)} | {row.slo_pct:.2f} % | {row.gpu_hours:,.1f} | "
        f"{row.over_oracle:.3f}× | {row.starts} |"
        for row in replayed.rows
    ]


def _changes(schedule: Schedule, changes: ScheduleDiff | None) -> list[str]:
    if changes is None:
        expected = schedule.expected
        told = f", {expected.gpu_hours:g} GPU-hours a week" if expected else ""
        return [f"The first schedule: {len(schedule.weekly)} entries a week{told}."]
    if changes.is_empty:
        return ["Nothing changes in the coming seven days."]
    lines = [
        f"GPU-hours of the coming seven days: {changes.gpu_hours_before:g} → "
        f"{changes.gpu_hours_after:g}",
        "",
        *(f"- {fact}" for fact in changes.facts),
        *(f"- {changed.line}" for changed in changes.changed[:SHOWN]),
    ]
    more = len(changes.changed) - SHOWN
    return [*lines, f"- and {more} more"] if more > 0 else lines
