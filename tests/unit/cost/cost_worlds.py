"""Small hosts, bills and usage for tests of costs."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from greenlight.cost.bill import Bought, ItemKind, bill_of
from greenlight.cost.prices import PriceBook, Term
from greenlight.cost.usage import Count, HostUsage, Level, SlotUsage, TenantUsage

HOUR = datetime(2026, 11, 24, 10, tzinfo=UTC)
REGION = "eu-central-1"


def price(sku="g5.xlarge", amount="1.20", **changes):
    fields = {
        "sku": sku,
        "region": REGION,
        "term": "on_demand",
        "price": amount,
        "valid_from": "2026-01-01T00:00:00Z",
        "checked": "2026-11-01",
        "source": "a price list",
    }
    return fields | changes


def book(*prices, **changes):
    entries = prices or (price(), price("gp3", "0.10", term="storage"), price("nat", "0.05"))
    return PriceBook.model_validate({"currency": "USD", "prices": entries} | changes)


def host(name="gpu-1", **changes):
    fields = {
        "kind": ItemKind.HOST,
        "name": name,
        "sku": "g5.xlarge",
        "region": REGION,
        "term": Term.ON_DEMAND,
        "environment": "production",
    }
    return Bought(**fields | changes)


def shared(name="gateway", **changes):
    return host(name, kind=ItemKind.SHARED, sku="nat", **changes)


def storage(gib, name="models", **changes):
    return host(
        name, kind=ItemKind.STORAGE, sku="gp3", term=Term.STORAGE, amount=Decimal(gib), **changes
    )


def bill(*bought, prices=None, hour=HOUR):
    return bill_of(bought or (host(),), hour, prices or book())


def level(mean, coverage=1.0):
    return Level(mean=mean, peak=mean, coverage=coverage)


def count(total, coverage=1.0):
    return Count(total=total, coverage=coverage)


def tenant(name, inputs, outputs):
    return TenantUsage(
        tenant=name, requests=count(1), input_tokens=count(inputs), output_tokens=count(outputs)
    )


def slot(name="green", *, time=0.3, memory=0.4, tokens=(1000, 500), tenants=(), **changes):
    fields = {
        "slot": name,
        "model": "chat",
        "version": "7",
        "is_warm": False,
        "time": level(time),
        "memory": level(memory),
        "input_tokens": count(tokens[0]),
        "output_tokens": count(tokens[1]),
        "tenants": tenants,
    }
    return SlotUsage(**fields | changes)


def usage(*slots, name="gpu-1", gpu=None, hour=HOUR):
    return {
        name: HostUsage(
            host=name,
            hour=hour,
            cpu=level(0.2),
            memory=level(0.2),
            gpu=gpu or level(0.5),
            gpu_memory=level(0.8),
            slots=slots,
        )
    }
