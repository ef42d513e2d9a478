"""Forecasts 48 hours ahead on real series, beside seasonal naive.

Run it with `make bench-forecast`. In the held-out part of each series (its newer half, four weeks
at most) a forecast is made every twelve hours. The model, its intervals and their width come from
what was known at that moment; nothing is picked afterwards. The yardstick is the same week a week
ago, or the same day a day ago where a series is too short for that.

`wape`: the sum of absolute errors over the sum of absolute values. `coverage80`: the share of steps
inside the 80 % interval. `total80`: the same for the sum of the 48 hours. Samples closer together
than half an hour are averaged over half an hour.

`SERIES_DIR=folder` names CSV files (timestamp,value) to run on; without it ../shared/data/taylor
and nab are taken if they are there, else generated series. A series that is too short is said to
be. Which models are asked at all, and how many newest origins stretch a band, was decided with
taylor, nab and generated series (seeds 0 to 2) in sight; other series are the fairer test. The last
line is one JSON object, a series a key.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np

from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict
from greenlight.cost.rightsizing.series import UsageSeries
from greenlight.forecast.accuracy import covered, repeated, wape
from greenlight.forecast.choose import TooLittleHistory, forecast
from greenlight.forecast.intervals import Band
from greenlight.forecast.models import NAIVE
from greenlight.forecast.series import DAY, Floats, RegularSeries
from greenlight.forecast.walk import Issued, replay
from rightsizing_world import KINDS, generated
from series_files import notes_of, read_folder

SHARED = Path(__file__).resolve().parents[2] / "shared/data"
DEFAULT_DIRS = (SHARED / "taylor", SHARED / "nab")
HORIZON = timedelta(hours=48)
HELD_OUT = timedelta(days=28)
STEPS = tuple(timedelta(minutes=minutes) for minutes in (30, 60, 120, 180, 240, 360, 720, 1440))
GENERATED_SEEDS = range(100, 102)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A series under a name."""

    name: str
    series: UsageSeries


def load() -> list[Case]:
    """Return the series to run on.

    Raises:
        InputError: the folder that was named can't be used.
    """
    named = os.environ.get("SERIES_DIR")
    folders = [Path(named).expanduser()] if named else [d for d in DEFAULT_DIRS if d.is_dir()]
    cases = []
    for folder in folders:
        files, unreadable = read_folder(folder)
        for line in notes_of(files, unreadable):
            print(line)
        if named and not files:
            raise InputError(f"none of the {len(unreadable)} files in {folder} can be read")
        cases += [Case(name=f"{folder.name}/{f.name}", series=f.series) for f in files]
    if cases:
        return cases
    return [
        Case(name=f"generated/{kind}_{seed}", series=generated(kind, seed=seed).series)
        for kind in KINDS
        for seed in GENERATED_SEEDS
    ]


def regular(series: UsageSeries) -> RegularSeries | None:
    """Return it in the shortest step that its samples fill; `None`: they are days apart."""
    step = next((step for step in STEPS if step >= series.interval), None)
    return None if step is None else RegularSeries.of(series.times, series.values, step=step)


def run(case: Case) -> JsonDict:
    """Replay one series and return its row."""
    series = regular(case.series)
    if series is None:
        return nothing(f"a sample every {case.series.interval / DAY:.1f} days")
    steps = series.steps_in(HORIZON)
    size = series.values.size
    first = max(size // 2, size - series.steps_in(HELD_OUT))
    told: list[Issued] = []
    if series.span >= 2 * HORIZON:
        told = [one for one in replay(series, steps=steps) if first <= one.origin <= size - steps]
    if not told:
        answer = forecast(series, steps=steps)
        why = answer.why if isinstance(answer, TooLittleHistory) else "no origin in the newer half"
        return nothing(f"{series.span / DAY:.1f} days: {why}")
    return row(told, series)


def row(told: Sequence[Issued], series: RegularSeries) -> JsonDict:
    """Return the figures of one series."""
    actuals = np.array([one.actuals for one in told])
    naive = {model.name: wape(actuals, repeated(model, told, series)) for model in NAIVE}
    yardstick = "naive_week" if naive["naive_week"] is not None else "naive_day"
    models = Counter(one.model for one in told)
    return {
        "wape": rounded(wape(actuals, np.array([one.points for one in told]))),
        "naive_wape": rounded(naive[yardstick]),
        "coverage80": rounded(covered([band(one, 0.8) for one in told], actuals)),
        "model": models.most_common(1)[0][0],
        "naive": yardstick,
        "naive_day_wape": rounded(naive["naive_day"]),
        "coverage50": rounded(covered([band(one, 0.5) for one in told], actuals)),
        "coverage95": rounded(covered([band(one, 0.95) for one in told], actuals)),
        "total80": rounded(total_covered(told, actuals)),
        "origins": len(told),
        "step_minutes": series.step / timedelta(minutes=1),
        "models": dict(models.most_common()),
    }


def band(one: Issued, level: float) -> Band:
    """Return the band of a level."""
    return next(found for found in one.bands if found.level == level)


def total_covered(told: Sequence[Issued], actuals: Floats) -> float | None:
    """Return the share of whole horizons whose sum was inside its own interval."""
    inside = []
    for one, there in zip(told, actuals, strict=True):
        found = [i for i in one.total.intervals if i.level == 0.8]
        if found and np.isfinite(there).all():
            inside.append(found[0].low <= there.sum() <= found[0].high)
    return float(np.mean(inside)) if inside else None


def nothing(why: str) -> JsonDict:
    """Return the row of a series that can't be forecast."""
    return {
        "wape": None,
        "naive_wape": None,
        "coverage80": None,
        "model": None,
        "too_little_history": why,
    }


def print_row(name: str, found: JsonDict) -> None:
    """Print one series' row."""
    if found["model"] is None:
        print(f"{name[-34:]:34}| too little history: {found['too_little_history']}")
        return
    cells = [
        percent(found[key])
        for key in ("wape", "naive_wape", "naive_day_wape", "coverage80", "total80")
    ]
    others = ", ".join(f"{model} × {count}" for model, count in found["models"].items())
    print(f"{name[-34:]:34}|{cells[0]}{cells[1]}{cells[2]} |{cells[3]}{cells[4]}  | {others}")


def main() -> int:
    """Report every series, and end with one JSON object."""
    start = time.monotonic()
    try:
        cases = load()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{'48 h ahead':34}|  WAPE    naive   by day  | in 80 %  sum in 80 % | chosen")
    result = {}
    for case in cases:
        result[case.name] = run(case)
        print_row(case.name, result[case.name])
    shown = [found for found in result.values() if found["naive_wape"] is not None]
    better = sum(found["wape"] < found["naive_wape"] for found in shown)
    within = sum(0.75 <= found["coverage80"] <= 0.85 for found in shown)
    print(
        f"\nbetter than seasonal naive on {better} of {len(shown)}; the 80 % interval covered 75 "
        f"to 85 % on {within} of {len(shown)}; took {time.monotonic() - start:.0f} s"
    )
    print(json.dumps(result))
    return 0


def percent(share: float | None) -> str:
    """Return a share as the table shows it."""
    return "    none" if share is None else f"{100 * share:7.2f}%"


def rounded(share: float | None) -> float | None:
    """Return a share as the JSON shows it."""
    return None if share is None else round(share, 4)


if __name__ == "__main__":
    sys.exit(main())
