"""The panel of capacity: what is applied, how its days went, and its replay."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from greenlight.adapters.page.panels import ReplayRow, ReplayView, ScheduleCard, SchedulesPanel
from greenlight.core.types import JsonDict
from greenlight.entrypoints import scaling_replays
from greenlight.entrypoints.page.sources import Sources
from greenlight.entrypoints.scaling import read_kept
from greenlight.scaling.description import NAMES
from greenlight.scaling.scaling_file import load_scaling

HOUR = timedelta(hours=1)
AHEAD_H = 48
DAYS = 7


def schedules(sources: Sources) -> SchedulesPanel:
    """Return every fleet that scaling.yaml has."""
    named = load_scaling(sources.settings.config_file("scaling")).fleets
    return SchedulesPanel(fleets=tuple(_fleet(sources, fleet) for fleet in sorted(named)))


def _fleet(sources: Sources, fleet: str) -> ScheduleCard:
    now, store = sources.clock.now(), sources.schedules
    kept = store.applied(fleet)
    schedule = None if kept is None else read_kept(kept)
    hour = now.replace(minute=0, second=0, microsecond=0)
    hours = [hour + n * HOUR for n in range(AHEAD_H)]
    days = store.look_backs(fleet, (now - timedelta(days=DAYS)).date(), now.date())
    return ScheduleCard(
        fleet=fleet,
        digest=None if kept is None else kept.digest,
        applied_at=None if kept is None else kept.applied_at,
        applied_by="" if kept is None else kept.applied_by,
        expected_slo_pct=None if kept is None else kept.expected_slo_pct,
        gpu_hours=None if kept is None else kept.gpu_hours,
        now=None if schedule is None else schedule.at(now),
        ahead=() if schedule is None else tuple((at, schedule.at(at)) for at in hours),
        days=days[::-1],
        replay=_replay(scaling_replays.read(sources.settings, fleet)),
    )


def _replay(found: JsonDict | None) -> ReplayView | None:
    if found is None:
        return None
    made_at = datetime.fromisoformat(found["made_at"])
    if "why_not" in found:
        return ReplayView(made_at=made_at, why_not=found["why_not"])
    return ReplayView(
        made_at=made_at,
        first=date.fromisoformat(found["first"]),
        last=date.fromisoformat(found["last"]),
        rows=tuple(
            ReplayRow(
                policy=NAMES.get(row["policy"], row["policy"]),
                slo_pct=row["slo_pct"],
                gpu_hours=row["gpu_hours"],
                over_oracle=row["over_oracle"],
                starts=row["starts"],
            )
            for row in found["rows"]
        ),
    )
