"""Right-sizing on real series: time above the advice and slack, beside three rules people use.

Run it with `make bench-rightsizing`. Every strategy answers at the same origins, a day apart, from
the past only; its size is held for the next day. `over`: the share of that day in which usage was
above the size. `slack`: the share of the size that was unused. Each series counts the same.

`SERIES_DIR=folder` names CSV files (timestamp,value) to run on; without it ../shared/data/nab is
taken if it is there, else generated series. Settings were picked on generated series of other
seeds; the grid is printed. What is reported here saw no tuning.

Shifts are put into the same series: from a random moment on, all usage is multiplied. Only the
week after the moment is reported there. A withdrawn advice has neither time above nor slack, so
that `withdrawn` must be read beside them; `of all time` counts its time as not above. Series of the
folder that moved by themselves, as is plain when all of them is known, are also reported apart. The
last line is one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import numpy as np

from greenlight.core.errors import InputError
from greenlight.core.types import JsonDict
from greenlight.cost.rightsizing.advice import Sized, Withdrawn
from greenlight.cost.rightsizing.backtest import Held, origins, replay, summarise
from greenlight.cost.rightsizing.series import DAY, Times
from greenlight.cost.rightsizing.strategies.base import SizingRule
from greenlight.cost.rightsizing.strategies.compute_optimizer import ComputeOptimizerLike
from greenlight.cost.rightsizing.strategies.krr import Krr
from greenlight.cost.rightsizing.strategies.percentile_headroom import PercentileHeadroom
from greenlight.cost.rightsizing.strategies.vpa import Vpa
from rightsizing_world import FACTORS, HISTORY, KINDS, Case, generated, looked_back, shift
from series_files import notes_of, read_folder

DEFAULT_DIR = Path(__file__).resolve().parents[2] / "shared/data/nab"
TUNING_SEEDS = range(8)
REPORTED_SEEDS = range(100, 108)
SEED = 20_261_201
NEWEST_ORIGINS = 60
GRID = tuple((q, h) for q in (0.98, 0.99, 0.995, 0.998) for h in (0.03, 0.05, 0.1))
RULES: Mapping[str, SizingRule] = {
    "vpa": Vpa(),
    "krr_p95": Krr(),
    "krr_p99": Krr(cpu_percentile=99),
    "compute_optimizer_like": ComputeOptimizerLike(),
    "ours": PercentileHeadroom(),
}
OURS = "ours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One strategy on one series: shares in percent, NaN where it gave no size."""

    case: Case
    over: float
    slack: float
    held: int
    withdrawn: int
    not_enough: int

    @property
    def over_of_all(self) -> float:
        """Time above as a share of the time with a size or a withdrawn one."""
        answered = self.held + self.withdrawn
        if not answered:
            return np.nan
        return self.over * self.held / answered if self.held else 0.0


def run(rule: SizingRule, case: Case, at: Times) -> tuple[Ran, tuple[Held, ...]]:
    """Replay one strategy at given origins."""
    replayed = replay(rule.size, case.series, at, hold=DAY)
    found = summarise(replayed, hold=DAY)
    ran = Ran(
        case=case,
        over=np.nan if found.over is None else 100 * found.over,
        slack=np.nan if found.slack is None else 100 * found.slack,
        held=found.held,
        withdrawn=found.withdrawn,
        not_enough=found.not_enough,
    )
    return ran, replayed


def origins_of(case: Case) -> Times:
    """Return the origins that count: all, or those in the week after the shift."""
    at = origins(case.series, first=HISTORY, every=DAY, hold=DAY)[-NEWEST_ORIGINS:]
    if case.shifted_at is None:
        return at
    return np.asarray(
        at[(at > case.shifted_at) & (at <= case.shifted_at + np.timedelta64(7 * DAY))]
    )


def mean(numbers: Sequence[float]) -> float:
    """Return the mean of what is there; NaN where nothing is."""
    there = [number for number in numbers if np.isfinite(number)]
    return float(np.mean(there)) if there else np.nan


def tune() -> None:
    """Print the grid on the tuning series: the least slack with nine in ten within 1 %.

    Some headroom is kept in any case: a sample is an average, and usage within it isn't even.
    """
    cases = [generated(kind, seed=seed) for kind in KINDS for seed in TUNING_SEEDS]
    print(f"tuning: {len(cases)} generated series (seeds 0 to {TUNING_SEEDS[-1]}), not reported")
    print("percentile  headroom | over   worst series   within 1 %  slack")
    best: tuple[float, tuple[float, float]] | None = None
    for quantile, headroom in GRID:
        rule = PercentileHeadroom(quantile=quantile, headroom=headroom)
        ran = [run(rule, case, origins_of(case))[0] for case in cases]
        over, slack = [r.over for r in ran], mean([r.slack for r in ran])
        within = np.mean([share <= 1.0 for share in over])
        if within >= 0.9 and (best is None or slack < best[0]):
            best = slack, (quantile, headroom)
        print(
            f"P{100 * quantile:<10g}{headroom:8.0%} | {mean(over):5.2f}% {max(over):11.2f}% "
            f"{within:12.0%} {slack:8.1f}%"
        )
    shipped = RULES[OURS]
    assert isinstance(shipped, PercentileHeadroom)
    picked = "none" if best is None else f"P{100 * best[1][0]:g} + {best[1][1]:.0%}"
    print(f"picked: {picked}; shipped: P{100 * shipped.quantile:g} + {shipped.headroom:.0%}")


def report(title: str, cases: Sequence[Case]) -> dict[str, JsonDict]:
    """Print one table, a row a strategy; return it."""
    cases = [case for case in cases if origins_of(case).size]
    print(f"\n{title}: {len(cases)} series")
    if not cases:
        print("nothing could be measured")
        return {name: row([], common=(np.nan, np.nan)) for name in RULES}
    replayed = {
        name: [run(rule, case, origins_of(case)) for case in cases] for name, rule in RULES.items()
    }
    common = [
        {held.origin for held in ours[1] if isinstance(held.answer, Sized)}
        for ours in replayed[OURS]
    ]
    print(
        f"{'':24}| over   worst series  of all time | slack | sizes  withdrawn  too little ", end=""
    )
    print("| over, slack where ours gave a size")
    rows = {}
    for name, ran in replayed.items():
        same = [
            summarise([held for held in both[1] if held.origin in there], hold=DAY)
            for both, there in zip(ran, common, strict=True)
        ]
        shared = tuple(
            mean([100 * share for share in shares if share is not None])
            for shares in ([s.over for s in same], [s.slack for s in same])
        )
        rows[name] = row([both[0] for both in ran], common=(shared[0], shared[1]))
        print_row(name, [both[0] for both in ran], shared)
    return rows


def row(ran: Sequence[Ran], *, common: tuple[float, float]) -> JsonDict:
    """Return one strategy's figures; `null` is what could not be measured."""
    worst = max((r.over for r in ran if np.isfinite(r.over)), default=np.nan)
    return {
        "over_pct": _rounded(mean([r.over for r in ran])),
        "slack_pct": _rounded(mean([r.slack for r in ran])),
        "withdrawn": sum(r.withdrawn for r in ran),
        "held": sum(r.held for r in ran),
        "not_enough": sum(r.not_enough for r in ran),
        "over_worst_pct": _rounded(worst),
        "over_pct_of_all_time": _rounded(mean([r.over_of_all for r in ran])),
        "over_pct_where_ours_held": _rounded(common[0]),
        "slack_pct_where_ours_held": _rounded(common[1]),
    }


def print_row(name: str, ran: Sequence[Ran], shared: Sequence[float]) -> None:
    """Print one strategy's row."""
    overs = [r for r in ran if np.isfinite(r.over)]
    worst = max((r.over for r in overs), default=np.nan)
    print(
        f"{name:24}|{_percent(mean([r.over for r in ran]))} {_percent(worst):>13} "
        f"{_percent(mean([r.over_of_all for r in ran])):>12} "
        f"|{_percent(mean([r.slack for r in ran]), digits=1)} "
        f"|{sum(r.held for r in ran):6} {sum(r.withdrawn for r in ran):10} "
        f"{sum(r.not_enough for r in ran):11} "
        f"|{_percent(shared[0])}, {_percent(shared[1], digits=1)}"
    )


def print_series(cases: Sequence[Case]) -> None:
    """Print over and slack of each series."""
    if not any(origins_of(case).size for case in cases):
        return
    print(f"\n{'over / slack, %':32}| " + " ".join(f"{name[:13]:>14}" for name in RULES))
    for case in cases:
        at = origins_of(case)
        if not at.size:
            continue
        cells = []
        for rule in RULES.values():
            ran, _ = run(rule, case, at)
            cells.append(f"{ran.over:6.2f} / {ran.slack:4.1f}" if np.isfinite(ran.over) else "none")
        print(f"{case.name[-32:]:32}| " + " ".join(f"{cell:>14}" for cell in cells))


def found_after(cases: Sequence[Case]) -> tuple[int, float]:
    """Return how many shifts ours found within three days, and the median hours it took.

    Looked at every two hours, as an hourly run would. A shift that would have been reported before
    it happened isn't found.
    """
    rule = RULES[OURS]
    hours = []
    for case in cases:
        assert case.shifted_at is not None
        for after in range(2, 73, 2):
            origin = case.shifted_at + np.timedelta64(timedelta(hours=after))
            answer = rule.size(case.series.between(case.series.start, origin))
            if isinstance(answer, Withdrawn):
                if abs(answer.shift.at - case.shifted_at) <= np.timedelta64(DAY):
                    hours.append(after)
                break
    return len(hours), float(np.median(hours)) if hours else np.nan


def print_shifted(title: str, cases: Sequence[Case]) -> dict[str, JsonDict]:
    """Put shifts into series and report the week after; return all of them together."""
    everything = []
    for factor in FACTORS:
        moved = [shift(case, factor, seed=SEED + i) for i, case in enumerate(cases)]
        there = [case for case in moved if case is not None]
        everything += there
        report(f"{title}, usage times {factor:g}, the week after", there)
        if not there:
            continue
        count, hours = found_after(there)
        print(
            f"ours found {count} of {len(there)} within 3 days"
            + (f", half of them in {hours:.0f} h" if count else "")
        )
    return report(f"{title}, all shifts together", everything)


@cache
def generated_cases() -> tuple[Case, ...]:
    """Return the generated series that are reported."""
    return tuple(generated(kind, seed=seed) for kind in KINDS for seed in REPORTED_SEEDS)


def load() -> tuple[str, list[Case]]:
    """Return the series to run on, and where they are from.

    Raises:
        InputError: the folder that was named can't be used.
    """
    named = os.environ.get("SERIES_DIR")
    if not named and not DEFAULT_DIR.is_dir():
        return "generated", list(generated_cases())
    folder = Path(named).expanduser() if named else DEFAULT_DIR
    files, unreadable = read_folder(folder)
    for line in notes_of(files, unreadable):
        print(line)
    if not files:
        raise InputError(f"none of the {len(unreadable)} files in {folder} can be read")
    for file in files:
        if file.series.span < HISTORY + DAY:
            print(
                f"  {file.name}: {file.series.span / DAY:.1f} days are not enough data, "
                f"{(HISTORY + DAY) / DAY:.0f} are needed"
            )
    return folder.name, [looked_back(Case(name=f.name, series=f.series)) for f in files]


def add(result: dict[str, JsonDict], name: str, figures: dict[str, JsonDict]) -> None:
    """Put figures of other series beside each strategy's."""
    for key, found in figures.items():
        result[key][name] = found


def main() -> int:
    """Tune, report, and end with one JSON object."""
    start = time.monotonic()
    try:
        name, cases = load()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    tune()
    steady = [case for case in cases if case.shifted_at is None]
    moved = [case for case in cases if case.shifted_at is not None]
    whole = [replace(case, shifted_at=None) for case in cases]
    result = report(f"{name}, as it is", whole)
    if name != "generated":
        print_series(whole)
    if moved:
        print(f"\nmoved by themselves: {', '.join(case.name for case in moved)}")
        add(result, "stationary", report(f"{name}, the others", steady))
        add(result, "moved", report(f"{name}, moved by themselves, the week after", moved))
    add(result, "shifted", print_shifted(name, steady))
    if name != "generated":
        add(result, "generated", report("generated, as it is", generated_cases()))
    print(f"\ntook {time.monotonic() - start:.0f} s")
    print(json.dumps(result))
    return 0


def _percent(number: float, *, digits: int = 2) -> str:
    return f"{number:6.{digits}f}%" if np.isfinite(number) else "   none"


def _rounded(number: float) -> float | None:
    return round(number, 3) if np.isfinite(number) else None


if __name__ == "__main__":
    sys.exit(main())
