"""Whether a replay lets a schedule be applied without a person's word."""

from __future__ import annotations

from greenlight.scaling.demand_profile import NotEnoughData
from greenlight.scaling.replay.comparison import Compared, Comparison

OURS, PREVIOUS, STATIC = "schedule", "previous", "static"


def why_not_alone(found: Comparison | NotEnoughData, *, slo_points: float) -> tuple[str, ...]:
    """Return what of a replay a person should look at; nothing: it is as good as before.

    `slo_points`: how much less SLO than the previous schedule's is let pass. What couldn't be
    replayed is looked at too.
    """
    if isinstance(found, NotEnoughData):
        return (f"it could not be replayed: {found.why}",)
    ours = found.of(OURS)
    if ours is None:
        return ("it was not replayed",)
    reasons = []
    previous, static = found.of(PREVIOUS), found.of(STATIC)
    if previous is not None and previous.slo_pct - ours.slo_pct > slo_points:
        reasons.append(f"replayed, {_told(ours)}; the schedule before {_told(previous)}")
    if static is not None and static.slo_pct >= ours.slo_pct and static.gpu_hours <= ours.gpu_hours:
        reasons.append(f"replayed, {_told(ours)}; without any schedule {_told(static)}")
    return tuple(reasons)


def _told(row: Compared) -> str:
    return f"{row.slo_pct:.2f} % at {row.gpu_hours:,.0f} GPU-hours"
