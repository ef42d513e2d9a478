"""What is said at each origin, from what was known then: the past replayed, and the present.

Accuracy and coverage that are told were had this way, on steps that no choice had seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from greenlight.forecast.backtest import Backtest, backtest, origins_of, ranked
from greenlight.forecast.intervals import Band, Total, bands, total
from greenlight.forecast.models import NAIVE
from greenlight.forecast.series import Floats, RegularSeries
from greenlight.forecast.settings import ForecastSettings

MOST_STRETCHED = 4.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Issued:
    """What was, or is, said at one origin. `plain`: the bands before they were stretched."""

    origin: int
    model: str
    points: Floats
    actuals: Floats
    bands: tuple[Band, ...]
    plain: tuple[Band, ...]
    total: Total


def replay(
    series: RegularSeries, *, steps: int, settings: ForecastSettings | None = None
) -> tuple[Issued, ...]:
    """Return what would have been said at all origins, oldest first."""
    settings = settings or ForecastSettings()
    tried = tried_at(series, steps, settings, newest=series.values.size)
    return tuple(walk(tried, settings, series))


def walk(tried: Backtest, settings: ForecastSettings, series: RegularSeries) -> Iterator[Issued]:
    """Yield what is said at each origin where enough is known, from what was known then."""
    issued: list[Issued] = []
    for row, origin in enumerate(tried.origins):
        known = tried.known_at(int(origin), newest=settings.remembered)
        scores = ranked(
            known,
            naive=tuple(model.name for model in NAIVE),
            least_origins=settings.least_origins,
            margin=settings.margin,
        )
        chosen = next(
            (s.name for s in scores if np.isfinite(tried.of(s.name).forecasts[row]).all()), None
        )
        if chosen is None:
            continue
        points = _above(tried.of(chosen).forecasts[row], settings.floor)
        errors = known.of(chosen).errors
        plain = bands(
            points,
            errors,
            levels=settings.levels,
            pooled=settings.pooled(series),
        )
        issued.append(
            Issued(
                origin=int(origin),
                model=chosen,
                points=points,
                actuals=tried.actuals[row],
                bands=tuple(
                    _stretched(band, issued[-settings.recent :], int(origin), settings.floor)
                    for band in plain
                ),
                plain=plain,
                total=total(
                    points, errors, known.origins, levels=settings.levels, floor=settings.floor
                ),
            )
        )
        yield issued[-1]


def tried_at(
    series: RegularSeries, steps: int, settings: ForecastSettings, *, newest: int
) -> Backtest:
    """Let all models forecast at the `newest` origins of the past, and now."""
    past = origins_of(series, first=settings.first(series), every=settings.every(series))
    return backtest(
        series,
        (*NAIVE, *settings.models),
        origins=np.append(past[-newest:], series.values.size),
        steps=steps,
    )


def _stretched(band: Band, recent: Sequence[Issued], now: int, floor: float | None) -> Band:
    """Widen a band by as much as the newest ones would have needed, from what is known by now.

    The best of many models looks better in the backtest than it turns out, and series change.
    """
    needed: list[Floats] = []
    for one in recent:
        there = next(plain for plain in one.plain if plain.level == band.level)
        known = min(max(now - one.origin, 0), one.points.size)
        middle, half = (there.low + there.high) / 2, (there.high - there.low) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.abs(one.actuals - middle)[:known] / half[:known]
        needed.append(share[~np.isnan(share)])
    shares = np.concatenate(needed) if needed else np.empty(0)
    factor = 1.0
    if shares.size >= band.low.size:
        factor = min(
            max(float(np.quantile(shares, band.level, method="higher")), 1.0), MOST_STRETCHED
        )
    middle, half = (band.low + band.high) / 2, (band.high - band.low) / 2
    return Band(
        level=band.level,
        low=_above(middle - factor * half, floor),
        high=_above(middle + factor * half, floor),
    )


def _above(values: Floats, floor: float | None) -> Floats:
    return values if floor is None else np.maximum(values, floor)
