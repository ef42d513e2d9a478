import re

import pytest

from greenlight.core.metrics import LabelName, MetricName

PLAIN = {
    MetricName.FLEET_DRIFT,
    MetricName.BACKUP_REGION_UP,
    MetricName.BACKUP_SETS,
    MetricName.BACKUP_FLOOR_REACHED,
    MetricName.BACKUP_FAULT_DETECTED,
    MetricName.DRILL_RUNG_RESULT,
    MetricName.HTTP_ACTIVE,
    MetricName.INFERENCE_QUEUE,
    MetricName.GATEWAY_UPSTREAM,
    MetricName.SCHEDULE_HOSTS,
    MetricName.HOSTS_BEING_TAKEN,
    MetricName.EXPORTER_UP,
    MetricName.LIVE_VERSION,
    MetricName.API_KEYS,
    MetricName.AUDIT_RECORDS,
    MetricName.COST_HOURS_ASIDE,
    MetricName.COST_ANOMALIES,
}
"""Gauges that count things or say yes and no have no unit."""
MONEY = {
    MetricName.COST_HOURLY,
    MetricName.COST_MODEL_HOURLY,
    MetricName.COST_PER_MILLION,
    MetricName.COST_ADVISED_SAVING,
    MetricName.BUDGET_AMOUNT,
    MetricName.BUDGET_SPENT,
    MetricName.BUDGET_EXPECTED,
}
"""In the currency of the price book, which a name can't know."""
COMMON = {
    MetricName.HTTP_REQUESTS,
    MetricName.HTTP_SECONDS,
    MetricName.HTTP_ACTIVE,
    MetricName.INFERENCE_SECONDS,
    MetricName.INFERENCE_QUEUE,
}
"""Names that dashboards of any service know."""


@pytest.mark.parametrize("name", MetricName)
def test_metric_names_follow_the_conventions(name):
    units = ("_seconds", "_bytes", "_ratio", "_total")
    assert re.fullmatch(r"greenlight_[a-z_]+", name) or name in COMMON
    assert name.endswith(units) or name in PLAIN | MONEY


@pytest.mark.parametrize("name", LabelName)
def test_label_names_are_legal_and_not_reserved(name):
    assert re.fullmatch(r"[a-z][a-z_]*", name)
    assert name not in {"job", "instance"}
