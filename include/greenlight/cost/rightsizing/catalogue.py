"""Which host type a size comes to: the cheapest that fits, what that saves, how hard the move is.

Only amounts are compared. How many tokens a GPU of another type makes is measured, not looked up:
a change of GPU is `Medium` effort at least, because it needs a benchmark first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from greenlight.core.errors import ConfigError
from greenlight.core.types import Value

HOURS_A_MONTH = 730
"""What clouds' calculators take for a month (8,760 hours a year / 12)."""

Amount = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(min_length=1)]


class HostType(Value):
    """One entry of the catalogue, in one region.

    `gpu_memory_gib` is of one GPU. `discount`: the share off the list price that is really had
    there, by reservation or agreement. Types of one `family` differ in size alone.
    """

    name: Name
    family: Name
    region: Name
    architecture: Literal["x86_64", "arm64"] = "x86_64"
    gpu: str | None = None
    gpus: Annotated[int, Field(ge=0)] = 0
    gpu_memory_gib: Annotated[float, Field(ge=0)] = 0.0
    vcpus: Amount
    memory_gib: Amount
    price_per_hour: Annotated[Decimal, Field(ge=0)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "USD"
    discount: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal(0)

    @model_validator(mode="after")
    def _gpus_have_memory(self) -> Self:
        has = (self.gpu is not None, self.gpus > 0, self.gpu_memory_gib > 0)
        if len(set(has)) > 1:
            raise ValueError("give gpu, gpus and gpu_memory_gib together, or none of them")
        return self

    @property
    def paid_per_hour(self) -> Decimal:
        """The price after the discount."""
        return self.price_per_hour * (1 - self.discount)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a host must have at least. `gpu_memory_gib`: on each GPU."""

    vcpus: float = 0.0
    memory_gib: float = 0.0
    gpus: int = 0
    gpu_memory_gib: float = 0.0


class Effort(StrEnum):
    """The names of AWS Compute Optimizer (`migrationEffort`)."""

    VERY_LOW = "VeryLow"
    LOW = "Low"
    MEDIUM = "Medium"
    HIGH = "High"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The cheapest type that fits. `monthly_saving` is below zero where what is there is too small.

    The saving is after both types' discounts, over 730 hours. The same type again saves nothing.
    """

    host: HostType
    monthly_saving: Decimal
    effort: Effort
    is_change: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NothingFits:
    """No type of the catalogue has what is needed."""

    why: str


def choose(
    needs: Needs, catalogue: Iterable[HostType], *, current: HostType
) -> Choice | NothingFits:
    """Return the cheapest type of the current one's region that fits.

    What is there stays where it costs no more than the cheapest. Of types that cost the same, the
    smaller effort wins, then the name.

    Raises:
        ConfigError: the region's prices are in different currencies.
    """
    offered = [host for host in catalogue if host.region == current.region]
    _require_one_currency([*offered, current])
    fitting = [host for host in offered if not _missing(needs, host)]
    if not _missing(needs, current):
        fitting.append(current)
    if not fitting:
        return NothingFits(why=_why_nothing(needs, offered, region=current.region))
    best = min(
        fitting,
        key=lambda host: (
            host.paid_per_hour,
            host != current,
            list(Effort).index(effort_of(current, host)),
            host.name,
        ),
    )
    saved = (current.paid_per_hour - best.paid_per_hour) * HOURS_A_MONTH
    return Choice(
        host=best,
        monthly_saving=saved,
        effort=effort_of(current, best),
        is_change=best.name != current.name,
    )


def effort_of(current: HostType, target: HostType) -> Effort:
    """Return how hard a move is.

    Another size of the same family: start it elsewhere. Another family with the same processor and
    GPU: the same image runs. Another GPU, or none: serving flags, quantization kernels and the
    benchmark change. Another processor architecture: another image.
    """
    if target.architecture != current.architecture:
        return Effort.HIGH
    if target.gpu != current.gpu:
        return Effort.MEDIUM
    return Effort.VERY_LOW if target.family == current.family else Effort.LOW


def _missing(needs: Needs, host: HostType) -> tuple[str, ...]:
    has = {
        f"{needs.vcpus:g} vCPU": host.vcpus >= needs.vcpus,
        f"{needs.memory_gib:g} GiB of memory": host.memory_gib >= needs.memory_gib,
        f"{needs.gpus} GPUs": host.gpus >= needs.gpus,
        f"{needs.gpu_memory_gib:g} GiB on a GPU": host.gpu_memory_gib >= needs.gpu_memory_gib,
    }
    return tuple(what for what, enough in has.items() if not enough)


def _why_nothing(needs: Needs, offered: list[HostType], *, region: str) -> str:
    if not offered:
        return f"the catalogue has no host type in {region}"
    nearest = min(offered, key=lambda host: (len(_missing(needs, host)), host.name))
    lacks = " and ".join(_missing(needs, nearest))
    return f"none of {len(offered)} host types in {region} fits: {nearest.name} lacks {lacks}"


def _require_one_currency(hosts: list[HostType]) -> None:
    currencies = sorted({host.currency for host in hosts})
    if len(currencies) > 1:
        raise ConfigError(
            f"prices in {hosts[0].region} are in {' and '.join(currencies)}: "
            "give all of them in one currency"
        )
