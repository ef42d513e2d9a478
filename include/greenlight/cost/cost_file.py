"""`cost.yaml`: what is paid for beside the fleets' hosts, how it is shared, and who the account is.

`include/config/cost.example.yaml` documents every key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from greenlight.core.settings import read_config
from greenlight.core.types import Value
from greenlight.cost.bill import Bought, ItemKind
from greenlight.cost.focus.rows import Account
from greenlight.cost.hours import HourSettings
from greenlight.cost.prices import Term
from greenlight.cost.rightsizing.rules import Sizing
from greenlight.cost.rightsizing.strategies.percentile_headroom import PercentileHeadroom

Name = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Amount = Annotated[float, Field(gt=0)]


class PricesFrom(StrEnum):
    """Who knows the prices of hosts."""

    BOOK = "book"
    AWS = "aws"


class PrometheusSettings(Value):
    """How targets are labelled, and how often they are scraped."""

    host_label: Name = "host"
    slot_label: Name = "colour"
    scrape_s: Annotated[float, Field(gt=0)] = 15.0
    token_file: Path | None = None


class HostTerms(Value):
    """How one host is paid for, where it differs from fleet.yaml.

    `is_paid`: false for a host that costs nothing of its own, such as a second one on a machine.
    """

    is_paid: bool = True
    sku: Name | None = None
    term: Literal[Term.ON_DEMAND, Term.RESERVED, Term.SPOT] = Term.ON_DEMAND
    environment: Name | None = None


class SharedItem(Value):
    """Something that is paid for and isn't a fleet's host."""

    name: Name
    kind: Literal[ItemKind.STORAGE, ItemKind.TRANSFER, ItemKind.SHARED]
    sku: Name
    region: Name
    term: Term
    amount: Annotated[Decimal, Field(ge=0)] = Decimal(1)
    environment: Name | None = None
    model: Name | None = None

    @model_validator(mode="after")
    def _terms_fit(self) -> Self:
        fixed = {ItemKind.STORAGE: Term.STORAGE, ItemKind.TRANSFER: Term.TRANSFER}
        wanted = fixed.get(ItemKind(self.kind))
        if wanted is not None and self.term is not wanted:
            raise ValueError(f"{self.name}: {self.kind} is paid by the term {wanted}")
        if wanted is None and self.term in (Term.STORAGE, Term.TRANSFER):
            raise ValueError(f"{self.name}: a shared thing is paid by the hour, not as {self.term}")
        return self


class HostShape(Value):
    """A type of host that advice may name. Its price is the book's, region by region."""

    name: Name
    family: Name
    architecture: Literal["x86_64", "arm64"] = "x86_64"
    gpu: str | None = None
    gpus: Annotated[int, Field(ge=0)] = 0
    gpu_memory_gib: Annotated[float, Field(ge=0)] = 0.0
    vcpus: Amount
    memory_gib: Amount


class Reconciling(Value):
    """How our bill is compared with Cost Explorer's. `tag`: key and value of what is ours."""

    tolerance: Share = 0.05
    tag: tuple[Name, Name] | None = None


class AdviceSettings(Value):
    """How hosts are sized. `history_days`, `step_minutes`: what Prometheus is asked for."""

    sizing: Sizing = PercentileHeadroom()
    history_days: Annotated[int, Field(ge=1)] = 30
    step_minutes: Annotated[int, Field(ge=1, le=60)] = 5


class CostFile(Value):
    """All settings of costs.

    `output_weight`: how many input tokens an output token counts as. `min_measured`: an hour in
    which less than this share of the hosts' time was measured is kept aside.
    """

    environment: Name = "production"
    prices_from: PricesFrom = PricesFrom.BOOK
    output_weight: Annotated[float, Field(gt=0)] = 4.0
    min_measured: Share = 0.5
    account: Account
    prometheus: PrometheusSettings = PrometheusSettings()
    hours: HourSettings = HourSettings()
    hosts: Mapping[str, HostTerms] = Field(default_factory=dict)
    shared: tuple[SharedItem, ...] = ()
    host_types: tuple[HostShape, ...] = ()
    advice: AdviceSettings = AdviceSettings()
    reconciling: Reconciling | None = None

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for what, names in (
            ("shared", [item.name for item in self.shared]),
            ("host_types", [shape.name for shape in self.host_types]),
        ):
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise ValueError(f"{what} has {', '.join(twice)} twice: names must differ")
        return self

    def terms_of(self, host: str) -> HostTerms:
        """Return how a host is paid for."""
        return self.hosts.get(host, HostTerms())

    def bought(self) -> tuple[Bought, ...]:
        """Return what is paid for beside hosts."""
        return tuple(
            Bought(
                kind=ItemKind(item.kind),
                name=item.name,
                sku=item.sku,
                region=item.region,
                term=item.term,
                environment=item.environment or self.environment,
                amount=item.amount,
                model=item.model,
            )
            for item in self.shared
        )


def load_cost_file(path: Path) -> CostFile:
    """Read cost.yaml.

    Raises:
        ConfigError: the file cannot be read, has an unknown key or a bad value.
    """
    return read_config(path, CostFile)
