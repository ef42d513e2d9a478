"""The page about one restore drill: the ladder, what was proven, and the drills before it.

One HTML file that needs nothing else: it is kept in MLflow and read years later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from greenlight.adapters.trend_chart import (
    HEIGHT,
    LEFT,
    RIGHT,
    WIDTH,
    TrendPoint,
    line_styles,
    trend_of,
)
from greenlight.backup.backup_file import Targets
from greenlight.backup.ladder import Drill, Outcome, Rung

TEMPLATE = Path(__file__).with_name("drill_report.html.j2")
MARKS = {Outcome.PASS: "✔ pass", Outcome.FAIL: "✘ fail", Outcome.INCONCLUSIVE: "? inconclusive"}
"""Words beside the marks: neither colour nor a symbol alone should decide."""
NOTICED = {
    Outcome.PASS: "✔ noticed",
    Outcome.FAIL: "✘ not noticed",
    Outcome.INCONCLUSIVE: "? not tried",
}
WORST_FIRST = (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS)
HEADLINES = {
    Outcome.PASS: "The backup restores",
    Outcome.FAIL: "The backup does not restore as it should",
    Outcome.INCONCLUSIVE: "Not proven that the backup restores",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedFault:
    """A damage that was planted on purpose. `outcome`: pass means that it was noticed."""

    name: str
    outcome: Outcome
    says: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number at the head of the page. `outcome`: against its target; none: it has none."""

    name: str
    value: str
    note: str
    outcome: Outcome | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rung as it is shown. `outcome` is none when it was not climbed."""

    number: int
    rung: Rung
    outcome: Outcome | None
    says: str
    seconds: str


def render_drill(
    drill: Drill,
    *,
    targets: Targets,
    past: Sequence[Drill] = (),
    faults: Sequence[PlantedFault] = (),
) -> str:
    """Return the page. `past`: earlier drills in any order; the drill itself may be among them.

    The same drill gives the same page: no clock, no random ids.
    """
    drills = sorted({one.id: one for one in (*past, drill)}.values(), key=lambda one: one.began_at)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    recovery, behind = (
        [
            TrendPoint(
                at=one.began_at,
                value=getattr(one, value),
                line=f"region {one.region}",
                outcome=str(one.outcome),
            )
            for one in drills
        ]
        for value in ("rto_s", "rpo_s")
    )
    return template.render(
        drill=drill,
        mark=MARKS[drill.outcome],
        headline=HEADLINES[drill.outcome],
        summary=_summary(drill),
        figures=_figures(drill, targets),
        steps=_steps(drill),
        faults=sorted(faults, key=lambda fault: (WORST_FIRST.index(fault.outcome), fault.name)),
        marks=MARKS,
        noticed=NOTICED,
        utc=utc,
        trends={
            "Recovery time (RTO)": trend_of(recovery, target=targets.rto_s),
            "Behind (RPO)": trend_of(behind, target=targets.rpo_s),
        },
        frame={"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT},
        line_styles=line_styles(recovery),
        drills=len(drills),
    )


def utc(at: datetime | None) -> str:
    """Return an instant to the second, or to the millisecond where it has any."""
    if at is None:
        return "no instant"
    at = at.astimezone(UTC).replace(tzinfo=None)
    timespec = "milliseconds" if at.microsecond else "seconds"
    return f"{at.isoformat(sep=' ', timespec=timespec)} UTC"


def lasted(seconds: float | None) -> str:
    """Return a duration as people say it; `not measured` when it was not."""
    if seconds is None:
        return "not measured"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _summary(drill: Drill) -> str:
    of = f"the state of {utc(drill.target_at)} " if drill.target_at else ""
    what = f"{of}from region {drill.region}"
    if drill.outcome is Outcome.PASS:
        return (
            f"Restored {what}: every rung was climbed, and the champion generated the recorded "
            "tokens."
        )
    wanted: tuple[Outcome | None, ...]
    if drill.outcome is Outcome.FAIL:
        ended, wanted = "failed", (Outcome.FAIL,)
    else:
        ended, wanted = "could not be tried", (Outcome.INCONCLUSIVE, None)
    first = next(step for step in _steps(drill) if step.outcome in wanted)
    return f"Tried to restore {what}. Rung {first.number}, {first.rung}, {ended}."


def _steps(drill: Drill) -> list[Step]:
    found = {result.rung: result for result in drill.rungs}
    return [
        Step(
            number=number,
            rung=rung,
            outcome=result.outcome if result else None,
            says=result.says if result else "",
            seconds=lasted(result.seconds) if result else "",
        )
        for number, rung in enumerate(Rung, start=1)
        for result in [found.get(rung)]
    ]


def _figures(drill: Drill, targets: Targets) -> list[Figure]:
    lost, ahead = drill.rows_lost, drill.rows_ahead
    return [
        _timed("Recovery time (RTO)", drill.rto_s, target=targets.rto_s),
        _timed("Behind (RPO)", drill.rpo_s, target=targets.rpo_s),
        Figure(
            name="Rows lost",
            value="not measured" if lost is None else f"{lost:,}",
            note="of those committed up to the chosen second",
            outcome=_none_of(lost),
        ),
        Figure(
            name="Rows ahead",
            value="not measured" if ahead is None else f"{ahead:,}",
            note="committed later, and there all the same",
            outcome=_none_of(ahead),
        ),
    ]


def _timed(name: str, seconds: float | None, *, target: float) -> Figure:
    outcome = Outcome.INCONCLUSIVE
    if seconds is not None:
        outcome = Outcome.PASS if seconds <= target else Outcome.FAIL
    return Figure(
        name=name, value=lasted(seconds), note=f"target {lasted(target)}", outcome=outcome
    )


def _none_of(count: int | None) -> Outcome:
    if count is None:
        return Outcome.INCONCLUSIVE
    return Outcome.FAIL if count else Outcome.PASS
