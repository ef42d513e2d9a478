from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from greenlight.core.errors import ConfigError, InputError
from greenlight.core.settings import PROJECT
from greenlight.cost.alerts import Severity, due
from greenlight.cost.budgets import (
    Basis,
    NoOutlook,
    Outlook,
    Spent,
    Verdict,
    check,
    held,
    outlook,
    prefix,
    span_of,
    standing,
)
from greenlight.cost.budgets_file import Budget, Period, Scope, read_budgets
from greenlight.forecast.choose import TooLittleHistory, forecast
from greenlight.forecast.models import Profile, Season
from greenlight.forecast.series import RegularSeries
from greenlight.forecast.settings import ForecastSettings

NOW = datetime(2026, 11, 16, 12, tzinfo=UTC)
HOURS = 15 * 24 + 12
LIGHT = ForecastSettings(models=(Profile(season=Season.NONE),))


def a_budget(**changes):
    fields = {"name": "prod", "amount": "100", "scope": {"environment": "production"}}
    return Budget.model_validate(fields | changes)


def spent(amount, *, missing=0):
    return Spent(
        amount=None if amount is None else Decimal(str(amount)), hours=HOURS, missing=missing
    )


def ahead(amount, low=None, high=None):
    return Outlook(amount=Decimal(amount), low=low, high=high)


def status_of(amount, *, missing=0, expected=90, now=NOW, **changes):
    there = ahead(expected) if isinstance(expected, int) else expected
    return check(a_budget(**changes), spent(amount, missing=missing), there, now=now)


def verdicts(status):
    return {(one.basis, float(one.threshold)): one.verdict for one in status.checked}


def told(status):
    return list(standing(status, currency="USD", now=NOW))


def test_a_threshold_is_crossed_by_what_is_spent_to_the_cent():
    assert verdicts(status_of("79.99"))[Basis.ACTUAL, 0.8] is Verdict.NOT_CROSSED
    assert verdicts(status_of("80.00"))[Basis.ACTUAL, 0.8] is Verdict.CROSSED
    assert verdicts(status_of("80.00"))[Basis.ACTUAL, 1.0] is Verdict.NOT_CROSSED


def test_hours_without_a_bill_are_not_within_budget_but_unknown():
    status = status_of(40, missing=200)
    assert verdicts(status)[Basis.ACTUAL, 0.8] is Verdict.UNKNOWN
    assert status.verdict is Verdict.UNKNOWN
    assert [alert.name for alert in told(status)] == ["BudgetUnmeasured"]
    assert "200 of 372 h" in told(status)[0].description


def test_hours_that_could_not_reach_the_threshold_leave_no_doubt():
    status = status_of(10, missing=3)
    assert verdicts(status)[Basis.ACTUAL, 0.8] is Verdict.NOT_CROSSED
    assert "at least, 3 of 372 h" in status.checked[0].why
    assert told(status) == []


def test_what_is_known_can_cross_a_threshold_whatever_is_missing():
    found = verdicts(status_of(85, missing=60))
    assert found[Basis.ACTUAL, 0.8] is Verdict.CROSSED
    assert found[Basis.ACTUAL, 1.0] is Verdict.UNKNOWN


def test_nothing_billed_at_all_is_unknown_and_not_zero():
    status = status_of(None, missing=HOURS)
    assert set(verdicts(status).values()) <= {Verdict.UNKNOWN, Verdict.NOT_CROSSED}
    assert verdicts(status)[Basis.ACTUAL, 1.0] is Verdict.UNKNOWN


def test_a_forecast_beyond_the_amount_is_told_before_it_is_spent():
    status = status_of(50, expected=ahead(120, low=Decimal(105), high=Decimal(140)))
    alerts = told(status)
    assert [alert.name for alert in alerts] == ["BudgetForecast"]
    assert alerts[0].severity is Severity.WARNING
    assert "between 105.00 and 140.00: nearly certain" in alerts[0].description


def test_too_little_history_makes_the_forecast_unknown_and_nothing_else():
    expected = outlook(spent(50), TooLittleHistory(why="2.0 days of history"))
    status = status_of(50, expected=expected)
    assert verdicts(status)[Basis.FORECAST, 1.0] is Verdict.UNKNOWN
    assert verdicts(status)[Basis.ACTUAL, 0.8] is Verdict.NOT_CROSSED
    assert told(status) == []


def test_the_outlook_is_what_is_spent_and_the_sum_of_the_rest():
    start = np.datetime64("2026-10-01T00:00", "us")
    days = np.random.default_rng(1).normal(3, 0.1, 46)
    series = RegularSeries(start=start, step=timedelta(days=1), values=days)
    found = outlook(spent(45), forecast(series, steps=15, settings=LIGHT))
    assert isinstance(found, Outlook)
    assert float(found.amount) == pytest.approx(90, abs=1.5)
    assert Decimal(45) < found.low < found.amount < found.high < Decimal(100)


def test_no_outlook_can_be_had_over_many_hours_without_a_bill():
    series = RegularSeries(
        start=np.datetime64("2026-10-01T00:00", "us"), step=timedelta(days=1), values=np.ones(46)
    )
    found = outlook(spent(45, missing=20), forecast(series, steps=15, settings=LIGHT))
    assert found == NoOutlook(why="20 of 372 h so far have no bill")


def test_a_few_hours_without_a_bill_are_taken_for_average_ones_and_counted():
    series = RegularSeries(
        start=np.datetime64("2026-10-01T00:00", "us"), step=timedelta(days=1), values=np.ones(46)
    )
    found = outlook(spent(37, missing=2), forecast(series, steps=15, settings=LIGHT))
    assert float(found.amount) == pytest.approx(37 * 372 / 370 + 15)
    assert found.estimated == 2


def test_spending_it_all_is_critical_and_half_of_it_a_warning():
    alerts = told(status_of(100, actual=["0.5", "1"]))
    assert [(a.labels["threshold"], a.severity) for a in alerts] == [
        ("50%", Severity.WARNING),
        ("100%", Severity.CRITICAL),
    ]
    assert alerts[0].labels["scope_environment"] == "production"


def test_an_alert_is_told_once_a_period_and_again_in_the_next():
    status = status_of(85)
    first = due(told(status), sent=(), held=held(status))
    assert [alert.key for alert in first.fired] == ["budget/prod/2026-11/actual/0.8#1"]
    again = due(told(status), sent=first.keys, held=held(status))
    assert again.fired == ()
    assert again.over == ()
    later = status_of(85, now=NOW + timedelta(days=30))
    sent = [key for key in first.keys if key.startswith(prefix(later))]
    assert len(due(told(later), sent=sent, held=held(later)).fired) == 1


def test_a_forecast_that_recovers_and_rises_again_is_told_again():
    high, low = status_of(50, expected=110), status_of(50, expected=80)
    sent = list(due(told(high), sent=()).keys)
    over = due(told(low), sent=sent, held=held(low))
    assert over.over == ("budget/prod/2026-11/forecast/1#1",)
    sent += over.keys
    assert due(told(low), sent=sent, held=held(low)).keys == ()
    back = due(told(high), sent=sent, held=held(high))
    assert [alert.key for alert in back.fired] == ["budget/prod/2026-11/forecast/1#2"]


def test_a_forecast_that_wavers_about_its_limit_is_told_once():
    sent = []
    fired = 0
    for expected in (101, 99, 101, 98, 102, 99):
        status = status_of(50, expected=expected)
        found = due(told(status), sent=sent, held=held(status))
        sent += found.keys
        fired += len(found.fired)
    assert fired == 1


def test_what_can_not_be_measured_now_is_not_over():
    crossed, unknown = status_of(85), status_of(70, missing=100)
    sent = due(told(crossed), sent=()).keys
    found = due(told(unknown), sent=sent, held=held(unknown))
    assert found.over == ()
    assert [alert.name for alert in found.fired] == ["BudgetUnmeasured"]


@pytest.mark.parametrize(
    ("period", "name", "days"), [("day", "2026-11-16", 1), ("week", "2026-W47", 7)]
)
def test_periods_are_in_utc_whatever_the_zone_of_the_clock(period, name, days):
    zone = NOW.astimezone(tz=None).tzinfo
    span = span_of(Period(period), NOW.astimezone(zone))
    assert span.name == name
    assert span.start == datetime(2026, 11, 16, tzinfo=UTC)
    assert span.end - span.start == timedelta(days=days)


def test_months_end_where_the_next_begins():
    assert span_of(Period.MONTH, datetime(2026, 12, 31, 23, tzinfo=UTC)).end == datetime(
        2027, 1, 1, tzinfo=UTC
    )
    assert span_of(Period.MONTH, datetime(2028, 2, 29, tzinfo=UTC)).name == "2028-02"


def test_a_clock_without_a_zone_is_refused():
    with pytest.raises(InputError, match="no time zone"):
        span_of(Period.DAY, datetime(2026, 11, 16))  # noqa: DTZ001 - the mistake


def test_the_example_file_can_be_read():
    found = read_budgets(PROJECT / "include/config/budgets.example.yaml")
    assert [budget.name for budget in found.budgets] == ["everything", "demo-tenant"]
    assert found.budgets[0].scope == Scope()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("budgets: [{name: a, amount: 0}]", "amount"),
        ("budgets: [{name: a, amount: 1}, {name: a, amount: 2}]", "named twice: a"),
        ("budgets: [{name: a, amount: 1, ammount: 2}]", "unknown key 'budgets.0.ammount'"),
        ("budgets: [{name: a, amount: 1, actual: [1, 1.0]}]", "same threshold twice"),
        (
            "budgets: [{name: a, amount: 1, scope: {model: m}, enforce: {floor_per_day: 0}}]",
            "limits are of a tenant",
        ),
        ("aws: {account_id: '111122223333', tags: {host: x}}", "tags names host"),
        ("sns_topic: topic", "sns_topic"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, text, says):
    path = tmp_path / "my budgets.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_budgets(path)
