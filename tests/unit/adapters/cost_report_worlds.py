"""A month of costs for tests, and for a look at the page."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np

from greenlight.cost.report import (
    AdviceRow,
    AnomalyCause,
    AnomalyRow,
    BudgetRow,
    CostReport,
    DayCost,
    DayPrice,
    ExpectedDay,
    LookBackRow,
    ModelRow,
    NamedCost,
    Outlook,
    Range,
    SavingRow,
    Standing,
)

FIRST = date(2026, 11, 1)
DAYS = 26
MONTH = 30


def money(value):
    return Decimal(f"{value:.4f}")


def a_day(number, **changes):
    rng = np.random.default_rng(number)
    day = FIRST + timedelta(days=number)
    weekend = day.weekday() >= 5
    serving = (96 if weekend else 148) * rng.normal(1, 0.04)
    fields = {
        "day": day,
        "serving": money(serving),
        "warm": money(22 if number in (9, 10, 20) else 4),
        "idle": money((88 if weekend else 42) * rng.normal(1, 0.08)),
        "unmeasured": money(18 if number == 13 else 0),
        "overhead": money(17.5),
    }
    if number == 18:
        fields["serving"] *= Decimal("1.55")
    return DayCost(**(fields | changes))


def days():
    return tuple(a_day(n, hours_missing=3) if n == 24 else a_day(n) for n in range(DAYS))


def expected(days):
    spent = float(sum(day.total for day in days))
    for n in range(DAYS, MONTH):
        spent += 214
        ahead = n - DAYS + 1
        yield ExpectedDay(
            day=FIRST + timedelta(days=n),
            amount=money(spent),
            ranges=tuple(
                Range(level=level, low=money(spent - w * ahead), high=money(spent + w * ahead))
                for level, w in ((0.5, 22), (0.8, 48), (0.95, 84))
            ),
        )


def heat():
    rng = np.random.default_rng(4)
    rows = []
    for weekday in range(7):
        base = 0.08 + 0.72 * np.exp(-(((np.arange(24) - 13.5) / 4.4) ** 2))
        row = base * (0.45 if weekday >= 5 else 1) + rng.normal(0, 0.03, 24)
        rows.append([float(np.clip(share, 0, 1)) for share in row])
    rows[2][3] = rows[2][4] = None
    return tuple(tuple(row) for row in rows)


ADVICE = (
    AdviceRow(
        host="gpu-eu-2",
        resource="GPU memory",
        finding="Overprovisioned",
        reasons=("GPUMemoryOverprovisioned", "GPUOverprovisioned"),
        now="g6e.2xlarge",
        target="g6.xlarge",
        monthly_saving=Decimal("1049.74"),
        risk=1,
        effort="Medium",
        over=0.004,
        slack=0.41,
        tried_days=14,
        why="P99.5 of 14 days is 11.2 GiB; the floor is weights 4.9 + KV cache 8",
        state="open",
    ),
    AdviceRow(
        host="gpu-eu-2",
        resource="schedule",
        finding="Overprovisioned",
        reasons=(),
        now="runs day and night",
        target="off 22:00 to 06:00",
        monthly_saving=Decimal("412.00"),
        risk=2,
        effort="VeryLow",
        over=0.008,
        slack=0.35,
        tried_days=14,
        why="under 3 % used at night for 26 days",
        state="open",
        counts=False,
    ),
    AdviceRow(
        host="cpu-eu-1",
        resource="CPU",
        finding="Underprovisioned",
        reasons=("CPUUnderprovisioned",),
        now="m7i.large",
        target="m7i.xlarge",
        monthly_saving=Decimal("-73.58"),
        risk=3,
        effort="VeryLow",
        over=0.031,
        slack=0.22,
        tried_days=14,
        why="P99.5 of 14 days is 2.31 cores, with 4.0 % of headroom",
        state="accepted",
    ),
    AdviceRow(
        host="gpu-eu-1",
        resource="GPU",
        finding="Withdrawn",
        reasons=(),
        now="g6e.2xlarge",
        target=None,
        monthly_saving=None,
        risk=None,
        effort=None,
        over=None,
        slack=None,
        tried_days=0,
        why="the usual level went from 0.31 to 0.58 about 2026-11-23 09:00 UTC and stayed there",
        state="withdrawn",
    ),
)


def a_report(**changes):
    there = days()
    fields = {
        "environment": "production",
        "currency": "USD",
        "start": FIRST,
        "end": FIRST + timedelta(days=DAYS),
        "made_at": datetime(2026, 11, 27, 0, 12, tzinfo=UTC),
        "standing": Standing.AT_RISK,
        "headline": "November may end above its budget",
        "days": there,
        "outlook": Outlook(
            days=tuple(expected(there)),
            model="profile_week_7d",
            wape=0.041,
            naive_wape=0.067,
            coverage80=0.79,
        ),
        "budget": Decimal(6600),
        "budgets": (
            BudgetRow(
                name="production",
                scope="environment production",
                period="month",
                amount=Decimal(6600),
                spent=sum(day.total for day in there),
                expected=list(expected(there))[-1].amount,
                low=list(expected(there))[-1].ranges[1].low,
                high=list(expected(there))[-1].ranges[1].high,
                standing=Standing.AT_RISK,
                says="within it on average; above it in 2 of 10 cases or more",
            ),
            BudgetRow(
                name="tenant-acme",
                scope="tenant acme",
                period="month",
                amount=Decimal(2500),
                spent=Decimal("2612.20"),
                expected=Decimal("3014.00"),
                low=Decimal("2950.10"),
                high=Decimal("3080.40"),
                standing=Standing.OVER,
                says="2,612.20 of 2,500.00 are spent; limits at the gateway are lowered to 4.10 "
                "a day",
            ),
            BudgetRow(
                name="research",
                scope="model qwen2.5-0.5b",
                period="week",
                amount=Decimal(150),
                spent=None,
                expected=None,
                low=None,
                high=None,
                standing=Standing.UNKNOWN,
                says="31 of 31 h so far have no bill",
            ),
        ),
        "prices": tuple(
            DayPrice(
                day=day.day,
                per_input=None if n in (6, 7) else money(0.21 + 0.06 * (day.day.weekday() >= 5)),
                per_output=None if n in (6, 7) else money(0.83 + 0.31 * (day.day.weekday() >= 5)),
                idle_share=None if n == 13 else float(day.idle / day.total),
            )
            for n, day in enumerate(there)
        ),
        "models": (
            ModelRow(
                model="smollm2-135m-instruct",
                version="7, gptq int4",
                cost=Decimal("2390.21"),
                input_tokens=3_412_000_000,
                output_tokens=1_120_000_000,
                per_input=Decimal("0.2104"),
                per_output=Decimal("0.8417"),
                used_per_output=Decimal("0.5120"),
                parent="version 3, bf16",
                saving=0.46,
                quality="accuracy 0.3 points lower (0.0 to 0.7)",
            ),
            ModelRow(
                model="smollm2-135m-instruct",
                version="3, bf16",
                cost=Decimal("418.90"),
                input_tokens=310_000_000,
                output_tokens=92_000_000,
                per_input=Decimal("0.3897"),
                per_output=Decimal("1.5588"),
                used_per_output=Decimal("0.9022"),
            ),
            ModelRow(
                model="qwen2.5-0.5b",
                version="1, bf16",
                cost=Decimal("744.10"),
                input_tokens=None,
                output_tokens=None,
                per_input=None,
                per_output=None,
                parent="version 0",
            ),
        ),
        "tenants": (
            NamedCost(name="acme", cost=Decimal("2612.20")),
            NamedCost(name="zoo", cost=Decimal("811.04")),
            NamedCost(name="internal", cost=Decimal("130.00")),
            NamedCost(name="unnamed", cost=None),
        ),
        "heat": heat(),
        "advice": ADVICE,
        "advised_monthly": Decimal("976.16"),
        "savings": (
            SavingRow(month="Aug", advised=Decimal(310), realised=Decimal(284)),
            SavingRow(month="Sep", advised=Decimal(655), realised=Decimal(601)),
            SavingRow(month="Oct", advised=Decimal(655), realised=Decimal(690)),
            SavingRow(month="Nov", advised=Decimal(905), realised=None),
        ),
        "anomalies": (
            AnomalyRow(
                day=FIRST + timedelta(days=18),
                since=FIRST + timedelta(days=18),
                what="tenant acme",
                cost=Decimal("189.30"),
                expected=Decimal("104.90"),
                causes=(
                    AnomalyCause(
                        what="smollm2-135m-instruct on gpu-eu-1",
                        cost=Decimal("131.20"),
                        expected=Decimal("58.00"),
                    ),
                    AnomalyCause(
                        what="smollm2-135m-instruct on gpu-eu-2",
                        cost=Decimal("58.10"),
                        expected=Decimal("46.90"),
                    ),
                ),
            ),
        ),
        "look_back": (
            LookBackRow(
                day=FIRST + timedelta(days=24),
                planned_hours=41,
                used_hours=42.5,
                planned_slo=0.999,
                slo=0.9994,
                says="one more host from 14:05 to 15:35, asked for by the fast loop",
            ),
            LookBackRow(
                day=FIRST + timedelta(days=25),
                planned_hours=41,
                used_hours=None,
                planned_slo=0.999,
                slo=None,
                says="not measured: Prometheus was away from 02:00 to 04:00",
            ),
        ),
        "unknown": (
            "3 hours of 25 November have no bill: the price of g6.xlarge spot had run out.",
            "gpu-eu-1 was not measured on 14 November from 01:00 to 06:00: paid, use unknown.",
        ),
        "sources": (
            "Usage: Prometheus, one sample a minute; 99.6 % of it trusted.",
            "Prices: prices.yaml of 2026-11-02, checked 24 days ago.",
        ),
    }
    return replace(CostReport(**fields), **changes)


def an_empty_report():
    """The first hour: nothing is known yet."""
    return a_report(
        standing=Standing.UNKNOWN,
        headline="Nothing is known yet",
        days=tuple(
            DayCost(
                day=FIRST + timedelta(days=n),
                serving=None,
                warm=None,
                idle=None,
                unmeasured=None,
                overhead=None,
                hours_missing=24,
            )
            for n in range(2)
        ),
        outlook=Outlook(why_not="0.0 days of history, at least 5.0 are needed"),
        budgets=(),
        prices=(),
        models=(),
        tenants=(),
        heat=(),
        advice=(),
        advised_monthly=None,
        savings=(),
        anomalies=(),
        anomalies_why_not="2 days of history, at least 28 are needed",
        look_back=(),
        unknown=(),
        sources=(),
    )
