"""Every sizing strategy there is, as a setting chooses it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from greenlight.cost.rightsizing.strategies.compute_optimizer import ComputeOptimizerLike
from greenlight.cost.rightsizing.strategies.krr import Krr
from greenlight.cost.rightsizing.strategies.percentile_headroom import PercentileHeadroom
from greenlight.cost.rightsizing.strategies.vpa import Vpa

__all__ = ["Sizing"]

Sizing = Annotated[
    PercentileHeadroom | Vpa | Krr | ComputeOptimizerLike, Field(discriminator="strategy")
]
"""A new one is a module, its settings, and an entry here."""
