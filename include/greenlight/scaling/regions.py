"""Several regions: which part of the demand each gets, now and when another one is gone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from greenlight.core.errors import ConfigError
from greenlight.core.types import Value

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")]


class RegionShare(Value):
    """One region. `share` of the demand in normal times; `floor`: hosts that always run there.

    `failover`: how this region's share is divided when it is gone, by the weights of others; none:
    as the others share the rest.
    """

    name: Name
    share: Annotated[float, Field(ge=0, le=1)]
    floor: Annotated[int, Field(ge=0)] = 0
    failover: dict[Name, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _not_to_itself(self) -> Self:
        if self.name in self.failover:
            raise ValueError(f"failover: region {self.name} can't take over from itself")
        return self


def check_regions(regions: Sequence[RegionShare]) -> None:
    """Refuse shares that don't make one, and failover to regions that don't exist.

    Raises:
        ConfigError: says which.
    """
    names = [region.name for region in regions]
    if len(set(names)) < len(names):
        raise ConfigError(f"regions {', '.join(names)}: each name may come once")
    total = sum(region.share for region in regions)
    if abs(total - 1) > 1e-6:
        raise ConfigError(f"shares of {', '.join(names)} add up to {total:g}, must be 1")
    for region in regions:
        unknown = sorted(set(region.failover) - set(names))
        if unknown:
            raise ConfigError(f"region {region.name}: failover to {', '.join(unknown)}, unknown")


def shares_without(regions: Sequence[RegionShare], gone: Collection[str]) -> dict[str, float]:
    """Return each region's share of the demand while some are gone.

    Raises:
        ConfigError: all of them are gone.
    """
    left = [region for region in regions if region.name not in gone]
    if not left:
        raise ConfigError("no region is left to take the demand")
    shares = {region.name: region.share for region in left}
    for lost in (region for region in regions if region.name in gone):
        weights = {n: w for n, w in lost.failover.items() if n in shares}
        if not weights:
            weights = {region.name: region.share or 1.0 for region in left}
        total = sum(weights.values())
        for name, weight in weights.items():
            shares[name] += lost.share * weight / total
    return shares


def share_to_plan_for(regions: Sequence[RegionShare], name: str, *, survive: bool) -> float:
    """Return the share of the demand that a region is sized for.

    `survive`: the largest that it could have with any one other region gone, so that it needn't
    start hosts while the other is failing.
    """
    normal = shares_without(regions, ())[name]
    if not survive or len(regions) < 2:
        return normal
    worst = (shares_without(regions, {other.name})[name] for other in regions if other.name != name)
    return max(normal, *worst)
