"""How what was said at past origins went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from greenlight.forecast.intervals import Band
from greenlight.forecast.models import NAIVE, AnyModel
from greenlight.forecast.series import Floats, RegularSeries
from greenlight.forecast.settings import ForecastSettings
from greenlight.forecast.walk import Issued


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How the choices at past origins went. `None`: nothing could be compared.

    `wape`: of what was chosen; `naive`: of the best of the seasonal naive models over the same
    steps. `coverage`: for each level, the share of measured steps that were inside.
    """

    origins: int
    steps: int
    wape: float | None
    naive: float | None
    coverage: dict[float, float | None]


def accuracy(
    issued: Sequence[Issued], series: RegularSeries, settings: ForecastSettings
) -> Accuracy:
    """Return how what was issued went, as far as that is known."""
    if not issued:
        nothing = dict.fromkeys(settings.levels)
        return Accuracy(origins=0, steps=0, wape=None, naive=None, coverage={**nothing})
    actuals = np.array([one.actuals for one in issued])
    points = np.array([one.points for one in issued])
    naive = [repeated(model, issued, series) for model in NAIVE]
    return Accuracy(
        origins=len(issued),
        steps=int(np.isfinite(actuals).sum()),
        wape=wape(actuals, points),
        naive=min(
            (found for rows in naive if (found := wape(actuals, rows)) is not None), default=None
        ),
        coverage={
            level: covered([one.bands[i] for one in issued], actuals)
            for i, level in enumerate(settings.levels)
        },
    )


def wape(actuals: Floats, points: Floats) -> float | None:
    """Return the sum of absolute errors over the sum of absolute values.

    `None`: nothing was measured, a step that was has no forecast, or all of it is zero.
    """
    there = np.isfinite(actuals)
    used = float(np.abs(actuals[there]).sum())
    wrong = float(np.abs(actuals - points)[there].sum())
    return wrong / used if used and np.isfinite(wrong) else None


def covered(told: Sequence[Band], actuals: Floats) -> float | None:
    """Return the share of measured steps, with a band, that are inside; `None`: there is none."""
    low, high = np.array([band.low for band in told]), np.array([band.high for band in told])
    there = np.isfinite(actuals) & np.isfinite(low)
    inside = (actuals >= low) & (actuals <= high)
    return float(inside[there].mean()) if there.any() else None


def repeated(model: AnyModel, issued: Sequence[Issued], series: RegularSeries) -> Floats:
    """Return a model's forecasts at the same origins; NaN where it has none."""
    rows = [model.predict(series.until(one.origin), one.points.size) for one in issued]
    empty = np.full(issued[0].points.size, np.nan)
    return np.array([empty if row is None else row for row in rows])
