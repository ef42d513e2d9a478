"""Series for tests about forecasts."""

from datetime import timedelta

import numpy as np

from greenlight.forecast.series import RegularSeries

MONDAY = np.datetime64("2026-01-05T00:00", "us")


def series_of(values, *, hours=1):
    return RegularSeries(
        start=MONDAY, step=timedelta(hours=hours), values=np.asarray(values, dtype=float)
    )


def weekly(days, *, noise=0.0, seed=1, trend=0.0):
    """Hours with a day's shape, quiet weekends and noise."""
    hours = np.arange(days * 24)
    day = 10 + 5 * np.sin(2 * np.pi * hours / 24)
    weekend = (hours // 24) % 7 >= 5
    rng = np.random.default_rng(seed)
    return series_of(
        day * np.where(weekend, 0.5, 1.0) + trend * hours / 24 + rng.normal(0, noise, hours.size)
    )
