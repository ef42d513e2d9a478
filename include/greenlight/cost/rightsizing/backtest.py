"""Rolling-origin backtests: what would have been advised then, and how it would have gone.

At each origin a strategy sees the past only; its size is then held against what came. Strategies
that are compared are compared on the same origins (Hyndman, Athanasopoulos: *Forecasting:
Principles and Practice*, "time series cross-validation").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from greenlight.cost.rightsizing.advice import Backtest, NotEnoughData, Sized, Withdrawn
from greenlight.cost.rightsizing.series import Times, UsageSeries

Answer = Sized | Withdrawn | NotEnoughData
Size = Callable[[UsageSeries], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One origin: what was answered, and what came after.

    `over`, `slack`: shares, `None` without a size. `seconds`: how much of the time was measured.
    """

    origin: np.datetime64
    answer: Answer
    capacity: float | None
    over: float | None
    slack: float | None
    seconds: float


def origins(series: UsageSeries, *, first: timedelta, every: timedelta, hold: timedelta) -> Times:
    """Return origins, oldest first: the last one's hold ends with the series.

    The first has at least `first` of history.
    """
    room = series.span - first - hold
    count = max(0, room // every + 1) if room >= timedelta(0) else 0
    back = np.arange(count - 1, -1, -1) * np.timedelta64(every)
    return np.asarray(series.end - np.timedelta64(hold) - back, dtype="datetime64[us]")


def replay(
    size: Size, series: UsageSeries, at: Times, *, hold: timedelta, floor: float = 0.0
) -> tuple[Held, ...]:
    """Return what `size` answers at each origin, and how it went; unmeasured holds are left out."""
    replayed = []
    for origin in at:
        future = series.between(origin, origin + np.timedelta64(hold))
        if not future.values.size:
            continue
        answer = size(series.between(series.start, origin))
        capacity = max(answer.capacity, floor) if isinstance(answer, Sized) else None
        replayed.append(
            Held(
                origin=origin,
                answer=answer,
                capacity=capacity,
                over=None if capacity is None else future.share_above(capacity),
                slack=None if capacity is None else future.slack(capacity),
                seconds=future.measured.total_seconds(),
            )
        )
    return tuple(replayed)


def summarise(replayed: Sequence[Held], *, hold: timedelta) -> Backtest:
    """Return the shares over all measured time of the origins that have a size."""
    sized = [held for held in replayed if held.over is not None and held.slack is not None]
    seconds = np.array([held.seconds for held in sized])
    over = np.array([held.over for held in sized], dtype=np.float64)
    slack = np.array([held.slack for held in sized], dtype=np.float64)
    total = seconds.sum()
    return Backtest(
        over=float(over @ seconds / total) if total else None,
        slack=float(slack @ seconds / total) if total else None,
        held=len(sized),
        withdrawn=sum(isinstance(held.answer, Withdrawn) for held in replayed),
        not_enough=sum(isinstance(held.answer, NotEnoughData) for held in replayed),
        hold=hold,
    )
