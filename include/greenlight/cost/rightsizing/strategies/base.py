"""What every sizing strategy has: a history it needs, one pure `size`, and its own backtest."""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from greenlight.core.types import Value
from greenlight.cost.rightsizing.advice import (
    Advice,
    Floor,
    History,
    NotEnoughData,
    Sized,
    Withdrawn,
    find,
    risk_of,
)
from greenlight.cost.rightsizing.backtest import Answer, Size, origins, replay, summarise
from greenlight.cost.rightsizing.series import DAY, UsageSeries

NOTHING = Floor(amount=0.0, made_of="nothing")


class SizingRule(Value):
    """Settings that all strategies share.

    `min_days`, `min_samples`: less history than this is `NotEnoughData`. `lookback_days`: older
    history isn't looked at. `target_over`: the share of time above the size that is acceptable;
    risk is told against it. `tolerance`: savings below this share of what is there aren't worth a
    move.
    """

    strategy: str
    min_days: Annotated[float, Field(ge=0)] = 0.0
    min_samples: Annotated[int, Field(ge=1)] = 1
    lookback_days: Annotated[float, Field(gt=0)] = 14.0
    backtest_days: Annotated[int, Field(ge=1)] = 14
    target_over: Annotated[float, Field(gt=0, lt=1)] = 0.01
    tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.1

    @model_validator(mode="after")
    def _looks_back_far_enough(self) -> Self:
        if self.lookback_days < self.min_days:
            raise ValueError(
                f"lookback_days {self.lookback_days:g} is below min_days {self.min_days:g}: "
                "no history could ever be enough"
            )
        return self

    @abstractmethod
    def size(self, history: UsageSeries) -> Answer:
        """Return what is needed after `history`, of which all is past."""

    def sizer(self, series: UsageSeries) -> Size:
        """Return `size` for parts of one series; what they have in common may be prepared."""
        del series
        return self.size

    def advise(
        self, series: UsageSeries, *, current: float | None = None, floor: Floor = NOTHING
    ) -> Advice | Withdrawn | NotEnoughData:
        """Return advice with the backtest of this very strategy on this very series.

        `current`: what is there now. The size is never below `floor`, in the backtest too. Its
        origins are a day apart, over `backtest_days` at most.
        """
        size = self.sizer(series)
        sized = size(series)
        if not isinstance(sized, Sized):
            return sized
        capacity = max(sized.capacity, floor.amount)
        at = origins(series, first=max(DAY, timedelta(days=self.min_days)), every=DAY, hold=DAY)
        tried = replay(size, series, at[-self.backtest_days :], hold=DAY, floor=floor.amount)
        backtest = summarise(tried, hold=DAY)
        finding, reasons = find(
            series.resource, capacity=capacity, current=current, tolerance=self.tolerance
        )
        why = sized.why
        if floor.amount > sized.capacity:
            why = f"{why}, raised to the floor of {floor.amount:.4g} ({floor.made_of})"
        return Advice(
            strategy=self.strategy,
            resource=series.resource,
            unit=series.unit,
            capacity=capacity,
            low=sized.low,
            high=sized.high,
            finding=finding,
            reasons=reasons,
            risk=risk_of(backtest, target=self.target_over),
            why=why,
            history=sized.history,
            backtest=backtest,
        )

    def recent(self, history: UsageSeries) -> UsageSeries:
        """Return the part of `history` that is looked at."""
        return history.last(timedelta(days=self.lookback_days))

    def lacking(self, history: UsageSeries) -> NotEnoughData | None:
        """Return what is missing, if anything."""
        if history.values.size < self.min_samples:
            return NotEnoughData(
                why=f"{history.values.size} trusted samples, at least {self.min_samples} are needed"
            )
        if history.span < timedelta(days=self.min_days):
            return NotEnoughData(
                why=f"{history.span / DAY:.1f} days of history, "
                f"at least {self.min_days:g} are needed"
            )
        return None


def history_of(series: UsageSeries) -> History:
    """Return what an answer from `series` rests on."""
    return History(start=series.start, end=series.end, measured=series.measured)
