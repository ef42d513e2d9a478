from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pytest

from greenlight.cost.alerts import due
from greenlight.cost.anomalies import (
    Anomaly,
    AnomalySettings,
    NotJudged,
    SpendRow,
    alert_of,
    find,
)

FIRST = date(2026, 9, 7)
"""A Monday."""


def days(count):
    return [FIRST + timedelta(days=i) for i in range(count)]


def rows_of(count=60, *, noise=0.05, seed=1, hosts=("a", "b", "c")):
    """Three hosts of two tenants, quiet at weekends."""
    rng = np.random.default_rng(seed)
    return [
        SpendRow(
            day=day,
            labels={"tenant": tenant, "host": host},
            cost=Decimal(
                f"{20 * (0.4 if day.weekday() >= 5 else 1) * rng.lognormal(0, noise):.4f}"
            ),
        )
        for day in days(count)
        for tenant in ("acme", "zoo")
        for host in hosts
    ]


def planted(rows, day, *, factor, **labels):
    return [
        SpendRow(day=row.day, labels=row.labels, cost=row.cost * Decimal(str(factor)))
        if row.day == day and all(row.labels[name] == value for name, value in labels.items())
        else row
        for row in rows
    ]


def found(rows, day, *, dimension="tenant", measured=None, **changes):
    settings = AnomalySettings.model_validate(changes)
    there = {row.day for row in rows} if measured is None else measured
    return find(rows, dimension=dimension, day=day, measured=there, settings=settings)


def test_a_planted_jump_is_found_with_the_row_that_made_it():
    day = days(60)[-1]
    rows = planted(rows_of(), day, factor=4, tenant="zoo", host="b")
    (anomaly,) = found(rows, day)
    assert isinstance(anomaly, Anomaly)
    assert anomaly.value == "zoo"
    assert [cause.labels["host"] for cause in anomaly.causes] == ["b"]
    assert float(anomaly.causes[0].difference) == pytest.approx(float(anomaly.difference), rel=0.25)


def test_a_drop_is_found_too():
    day = days(60)[-3]
    rows = planted(rows_of(), day, factor=0.2, tenant="zoo")
    (anomaly,) = found(rows, day)
    assert anomaly.difference < 0
    assert len(anomaly.causes) == 3


def test_something_new_that_costs_is_explained_by_its_own_row():
    day = days(60)[-1]
    new = SpendRow(day=day, labels={"tenant": "zoo", "host": "new"}, cost=Decimal(70))
    (anomaly,) = found([*rows_of(), new], day)
    assert anomaly.causes[0].labels["host"] == "new"
    assert anomaly.causes[0].expected == 0


def test_a_quiet_weekend_is_none():
    rows = rows_of()
    assert all(found(rows, day) == () for day in days(60)[-7:])


def test_a_weekend_that_costs_as_much_as_a_workday_is_one():
    sunday = next(day for day in reversed(days(60)) if day.weekday() == 6)
    rows = planted(rows_of(), sunday, factor=2.5, tenant="acme")
    assert [anomaly.value for anomaly in found(rows, sunday)] == ["acme"]


@pytest.mark.parametrize("noise", [0.05, 0.3])
def test_nothing_is_found_where_nothing_happened(noise):
    """A/A: 20 worlds, 30 days, two tenants and three hosts; at most 1 in 200 days stands out."""
    count = judged = 0
    for seed in range(20):
        rows = rows_of(75, noise=noise, seed=seed)
        for day in days(75)[-30:]:
            for dimension in ("tenant", "host"):
                count += len(found(rows, day, dimension=dimension))
                judged += {"tenant": 2, "host": 3}[dimension]
    assert judged == 3000
    assert count <= judged / 200


def test_planted_jumps_are_found_in_all_these_worlds():
    seen = 0
    for seed in range(20):
        day = days(75)[-1 - seed % 14]
        rows = planted(rows_of(75, noise=0.05, seed=seed), day, factor=1.8, tenant="acme")
        seen += "acme" in [anomaly.value for anomaly in found(rows, day)]
    assert seen >= 19


def test_a_short_history_is_not_judged_and_says_so():
    day = days(20)[-1]
    rows = planted(rows_of(20), day, factor=10, tenant="zoo")
    answers = found(rows, day)
    assert [type(one) for one in answers] == [NotJudged, NotJudged]
    assert answers[0].why == "19 days of history, at least 28 are needed"


def test_a_day_without_a_bill_is_not_judged():
    day = days(60)[-1]
    rows = [row for row in rows_of() if row.day != day]
    assert [one.why for one in found(rows, day)] == ["its bill isn't known yet"] * 2


def test_days_without_a_bill_are_not_taken_for_cheap_ones():
    rows = rows_of()
    gone = {day for day in days(60)[-35:-7] if day.weekday() < 5}
    rows = [row for row in rows if row.day not in gone]
    assert found(rows, days(60)[-1], measured=set(days(60)) - gone) == ()


def test_days_in_a_row_are_one_matter():
    rows = rows_of()
    for day in days(60)[-3:]:
        rows = planted(rows, day, factor=3, tenant="zoo")
    keys = {anomaly.key for day in days(60)[-3:] for anomaly in found(rows, day)}
    assert keys == {f"anomaly/tenant/zoo/{days(60)[-3]}"}


def test_a_matter_that_goes_on_is_told_once_with_its_rows():
    rows, sent, told = rows_of(), [], []
    for day in days(60)[-3:]:
        rows = planted(rows, day, factor=3, tenant="zoo")
    for day in days(60)[-3:]:
        now = datetime.combine(day + timedelta(days=1), time(1), tzinfo=UTC)
        alerts = [alert_of(one, currency="USD", now=now) for one in found(rows, day)]
        new = due(alerts, sent=sent)
        sent += new.keys
        told += new.fired
    (alert,) = told
    assert alert.summary.startswith("tenant zoo cost ")
    assert "usually" in alert.description
    assert alert.labels == {"dimension": "tenant", "value": "zoo"}


def test_what_nobody_would_act_on_is_none():
    day = days(60)[-1]
    rows = planted(rows_of(), day, factor=4, tenant="zoo")
    assert found(rows, day, min_amount="1000") == ()
    assert found(rows, day, min_share=5) == ()


def test_a_steady_cost_may_change_by_a_little():
    rows = rows_of(noise=0.0)
    day = days(60)[-1]
    assert found(planted(rows, day, factor=1.04, tenant="zoo"), day) == ()
    assert len(found(planted(rows, day, factor=1.3, tenant="zoo"), day)) == 1
