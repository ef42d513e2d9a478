"""Rolling-origin backtests of all models on one series, and the choice that rests on them.

At each origin a model sees the past only. Whatever is decided at some moment, in earnest or in a
replay, uses the errors that were known by then (`Backtest.known_at`), so that a replay costs one
set of forecasts for all origins (Hyndman, Athanasopoulos: *Forecasting: Principles and Practice*,
"time series cross-validation").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Self

import numpy as np
import numpy.typing as npt

from greenlight.forecast.models import AnyModel
from greenlight.forecast.series import Floats, RegularSeries

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tried:
    """One model at all origins: `forecasts` and `errors` (actual less forecast), a row each.

    NaN: no forecast, or nothing measured (yet).
    """

    model: AnyModel
    forecasts: Floats
    errors: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Backtest:
    """All models at the same origins. `origins`: the step at which each forecast begins."""

    origins: Ints
    actuals: Floats
    tried: tuple[Tried, ...]

    def known_at(self, size: int, *, newest: int) -> Self:
        """Return what was known after `size` steps, from the `newest` origins at most."""
        rows = np.flatnonzero(self.origins < size)[-newest:]
        origins = self.origins[rows]
        future = origins[:, None] + np.arange(self.actuals.shape[1]) >= size
        return replace(
            self,
            origins=origins,
            actuals=np.where(future, np.nan, self.actuals[rows]),
            tried=tuple(
                replace(
                    one,
                    forecasts=one.forecasts[rows],
                    errors=np.where(future, np.nan, one.errors[rows]),
                )
                for one in self.tried
            ),
        )

    def of(self, name: str) -> Tried:
        """Return the trial of one model."""
        return next(one for one in self.tried if one.model.name == name)


def origins_of(series: RegularSeries, *, first: timedelta, every: timedelta) -> Ints:
    """Return origins, oldest first, counted back from the end; the first has `first` of history."""
    stride = max(1, series.steps_in(every))
    back = np.arange(stride, series.values.size - series.steps_in(first) + 1, stride)
    return np.asarray(series.values.size - back[::-1], dtype=np.int64)


def backtest(
    series: RegularSeries, models: Sequence[AnyModel], *, origins: Ints, steps: int
) -> Backtest:
    """Let every model forecast `steps` at every origin."""
    ahead = np.append(series.values, np.full(steps, np.nan))
    actuals = np.array([ahead[origin : origin + steps] for origin in origins]).reshape(-1, steps)
    tried = []
    for model in models:
        rows = [model.predict(series.until(int(origin)), steps) for origin in origins]
        forecasts = np.array([np.full(steps, np.nan) if row is None else row for row in rows])
        forecasts = forecasts.reshape(-1, steps)
        tried.append(Tried(model=model, forecasts=forecasts, errors=actuals - forecasts))
    return Backtest(origins=origins, actuals=actuals, tried=tuple(tried))


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How one model did.

    `against`: its absolute errors over the yardstick's, on the steps that both forecast. `origins`:
    how many had any.
    """

    name: str
    against: float
    origins: int


def score(one: Tried, yardstick: Tried) -> Score:
    """Compare a model with the yardstick where both said something."""
    both = np.isfinite(one.errors) & np.isfinite(yardstick.errors)
    own = float(np.abs(one.errors[both]).sum())
    theirs = float(np.abs(yardstick.errors[both]).sum())
    return Score(
        name=one.model.name,
        against=own / theirs if theirs else (1.0 if own == 0 else np.inf),
        origins=int(both.any(axis=1).sum()),
    )


def ranked(
    known: Backtest, *, naive: Sequence[str], least_origins: int, margin: float
) -> tuple[Score, ...]:
    """Return every model's score, the one to take first.

    The yardstick is the first of `naive`, the one with the shortest season. A model is compared
    when it has forecast at `least_origins`. The best of the others is taken when it beats the best
    naive one by `margin`; else that naive one is.
    """
    yardstick = known.of(naive[0])
    scores = [score(one, yardstick) for one in known.tried]
    usable = sorted((s for s in scores if s.origins >= least_origins), key=lambda s: s.against)
    plain = next((s for s in usable if s.name in naive), None)
    if plain is None:
        return ()
    worth = [s for s in usable if s.name not in naive and s.against < (1 - margin) * plain.against]
    best = worth[0] if worth else plain
    return (best, *(s for s in usable if s is not best))
