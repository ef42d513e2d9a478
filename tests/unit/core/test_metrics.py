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
}
"""Gauges that count things or say yes and no have no unit."""
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
    assert name.endswith(units) or name in PLAIN


@pytest.mark.parametrize("name", LabelName)
def test_label_names_are_legal_and_not_reserved(name):
    assert re.fullmatch(r"[a-z][a-z_]*", name)
    assert name not in {"job", "instance"}
