"""`budgets.yaml`: how much may be spent, by whom, and who is told when.

`include/config/budgets.example.yaml` documents every key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from greenlight.core.settings import read_config
from greenlight.core.types import Value

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Text = Annotated[str, Field(min_length=1)]
Money = Annotated[Decimal, Field(gt=0)]
Threshold = Annotated[Decimal, Field(gt=0, le=10)]


class Period(StrEnum):
    """How long an amount is for; all in UTC."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Scope(Value):
    """Whose costs count. All that is named must fit; nothing named: everything."""

    model: Text | None = None
    tenant: Text | None = None
    environment: Text | None = None

    def named(self) -> dict[str, str]:
        """Return what is named."""
        return {name: value for name, value in self if value is not None}


class Enforcement(Value):
    """When limits at the gateway are lowered. `floor_per_day`: no tenant gets less."""

    at: Threshold = Decimal(1)
    floor_per_day: Annotated[Decimal, Field(ge=0)]


class Budget(Value):
    """One amount for one scope and period. Thresholds are shares of the amount."""

    name: Name
    scope: Scope = Scope()
    period: Period = Period.MONTH
    amount: Money
    actual: tuple[Threshold, ...] = (Decimal("0.8"), Decimal(1))
    forecast: tuple[Threshold, ...] = (Decimal(1),)
    enforce: Enforcement | None = None

    @model_validator(mode="after")
    def _can_be_enforced(self) -> Self:
        if self.enforce is not None and self.scope.model is not None:
            raise ValueError(
                "can't be enforced with `model` in its scope: the gateway's limits are of a "
                "tenant, for all models; leave out `enforce` or `model`"
            )
        return self

    @model_validator(mode="after")
    def _thresholds_differ(self) -> Self:
        for basis, thresholds in (("actual", self.actual), ("forecast", self.forecast)):
            if len(set(thresholds)) < len(thresholds):
                raise ValueError(f"{basis} has the same threshold twice: keep one")
        return self


class AwsBudgetsSettings(Value):
    """Which budgets AWS keeps too. `tags`: the cost allocation tag of each dimension there."""

    account_id: Annotated[str, StringConstraints(pattern=r"^\d{12}$")]
    tags: Mapping[str, str] = Field(default_factory=dict)
    emails: tuple[Text, ...] = ()
    topic: str | None = None

    @model_validator(mode="after")
    def _tags_are_dimensions(self) -> Self:
        if unknown := sorted(set(self.tags) - set(Scope.model_fields)):
            raise ValueError(
                f"tags names {', '.join(unknown)}: only {', '.join(Scope.model_fields)} can be"
            )
        return self


class BudgetsFile(Value):
    """All budgets, in one currency, and where alerts go."""

    currency: Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")] = "USD"
    alertmanager: bool = True
    sns_topic: Annotated[str, StringConstraints(pattern=r"^arn:[\w-]+:sns:.+")] | None = None
    aws: AwsBudgetsSettings | None = None
    budgets: tuple[Budget, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        counts = Counter(budget.name for budget in self.budgets)
        if twice := sorted(name for name, count in counts.items() if count > 1):
            raise ValueError(f"budgets named twice: {', '.join(twice)}")
        return self


def read_budgets(path: Path) -> BudgetsFile:
    """Read the file.

    Raises:
        ConfigError: it can't be read, or has an unknown key or a bad value.
    """
    return read_config(path, BudgetsFile)
