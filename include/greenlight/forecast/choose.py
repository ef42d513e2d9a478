"""A forecast: the model that did best on this very series, and intervals that say how well."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from greenlight.forecast.accuracy import Accuracy, accuracy
from greenlight.forecast.intervals import Band, Total, total
from greenlight.forecast.series import DAY, Floats, RegularSeries
from greenlight.forecast.settings import ForecastSettings
from greenlight.forecast.walk import tried_at, walk


@dataclass(frozen=True, slots=True, kw_only=True)
class TooLittleHistory:
    """No forecast. `why` says what there is and what is needed."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Forecast:
    """What comes, a value a step from `start` on.

    `by_day`: the sum from `start` to the end of each day (UTC) ahead, the last one to the end of
    all; its intervals are its own. `total` is the last of them.
    """

    start: np.datetime64
    step: timedelta
    points: Floats
    bands: tuple[Band, ...]
    total: Total
    by_day: tuple[Total, ...]
    model: str
    accuracy: Accuracy


def forecast(
    series: RegularSeries, *, steps: int, settings: ForecastSettings | None = None
) -> Forecast | TooLittleHistory:
    """Forecast the next `steps` of a series."""
    settings = settings or ForecastSettings()
    if (lacking := _lacking(series, settings)) is not None:
        return lacking
    tried = tried_at(series, steps, settings, newest=settings.remembered + settings.recent)
    issued = tuple(walk(tried, settings, series))
    if not issued or issued[-1].origin != series.values.size:
        return TooLittleHistory(
            why=f"fewer than {settings.least_origins} past origins could be compared, because of "
            f"gaps: {series.measured / DAY:.1f} of {series.span / DAY:.1f} days are measured"
        )
    now = issued[-1]
    known = tried.known_at(now.origin, newest=settings.remembered)
    errors = known.of(now.model).errors
    return Forecast(
        start=series.end,
        step=series.step,
        points=now.points,
        bands=now.bands,
        total=now.total,
        by_day=tuple(
            total(
                now.points[:size],
                errors[:, :size],
                known.origins,
                levels=settings.levels,
                floor=settings.floor,
            )
            for size in _day_ends(series, steps)
        ),
        model=now.model,
        accuracy=accuracy(issued[:-1], series, settings),
    )


def _day_ends(series: RegularSeries, steps: int) -> list[int]:
    """Return after how many steps each day ahead ends; the last one is all of them."""
    a_day = series.steps_in(DAY)
    into = int((series.end - series.end.astype("datetime64[D]")) / np.timedelta64(series.step))
    return [*range(a_day - into % a_day, steps, a_day), steps]


def _lacking(series: RegularSeries, settings: ForecastSettings) -> TooLittleHistory | None:
    needed = settings.first(series) + settings.least_origins * settings.every(series)
    if series.span < needed:
        return TooLittleHistory(
            why=f"{series.span / DAY:.1f} days of history, at least {needed / DAY:.1f} are needed"
        )
    if series.measured < settings.min_measured * series.span:
        return TooLittleHistory(
            why=f"{series.measured / series.span:.0%} of {series.span / DAY:.1f} days measured, "
            f"at least {settings.min_measured:.0%} are needed"
        )
    return None
