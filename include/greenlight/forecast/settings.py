"""How forecasts are made."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from greenlight.core.types import Value
from greenlight.forecast.models import USUAL, AnyModel
from greenlight.forecast.series import RegularSeries


class ForecastSettings(Value):
    """How forecasts are made.

    `first_days`: history before the first origin. `every_hours`: the time between origins.
    `remembered`: so many newest origins say which model is best and how far it errs.
    `least_origins`: fewer say nothing. `margin`: by how much a model must beat the best seasonal
    naive one. `recent`: bands are stretched until they would have covered what they should at so
    many newest origins. `pooled_hours`: errors of leads so near to each side count together.
    `floor`: nothing that is said is below it.
    """

    models: tuple[AnyModel, ...] = USUAL
    levels: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.5, 0.8, 0.95)
    first_days: Annotated[float, Field(gt=0)] = 3.0
    every_hours: Annotated[float, Field(gt=0)] = 12.0
    remembered: Annotated[int, Field(ge=4)] = 56
    least_origins: Annotated[int, Field(ge=2)] = 4
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.01
    recent: Annotated[int, Field(ge=1)] = 8
    pooled_hours: Annotated[float, Field(ge=0)] = 3.0
    min_measured: Annotated[float, Field(gt=0, le=1)] = 0.75
    floor: float | None = 0.0

    def first(self, series: RegularSeries) -> timedelta:
        """Return the history before the first origin: seven steps at least."""
        return max(timedelta(days=self.first_days), 7 * series.step)

    def every(self, series: RegularSeries) -> timedelta:
        """Return the time between origins."""
        return max(timedelta(hours=self.every_hours), series.step)

    def pooled(self, series: RegularSeries) -> int:
        """Return how many leads to each side are taken together."""
        return max(1, series.steps_in(timedelta(hours=self.pooled_hours)))
