"""Names and labels of every metric Greenlight exposes, in one place.

Names follow Prometheus' conventions: base units, `_total` for counters. A label's values come from
a closed set, or are bounded by the number of models registered.
"""

from __future__ import annotations

from enum import StrEnum


class MetricName(StrEnum):
    """Prometheus metric names."""

    JOB_SECONDS = "greenlight_ml_job_duration_seconds"
    JOB_PEAK_RSS = "greenlight_ml_job_peak_rss_bytes"
    JOB_PROGRESS = "greenlight_ml_job_progress_ratio"
    GATE_RESULTS = "greenlight_gate_results_total"
    APPROVALS = "greenlight_approvals_total"
    FLEET_DRIFT = "greenlight_fleet_drift"


class LabelName(StrEnum):
    """Prometheus label names."""

    JOB = "job_name"
    STAGE = "stage"
    MODEL = "model"
    GATE = "gate"
    VERDICT = "verdict"
    DECISION = "decision"
    FLEET = "fleet"
