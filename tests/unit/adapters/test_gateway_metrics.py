"""What the gateway counts, and when it can be read."""

from __future__ import annotations

from dataclasses import fields

import pytest
from prometheus_client import CollectorRegistry

from greenlight.adapters.gateway_metrics import CACHE_EVENTS, GatewayMetrics
from greenlight.gateway.answer_counts import AnswerCounts

EVENTS = "greenlight_gateway_cache_events_total"


@pytest.fixture
def metrics() -> GatewayMetrics:
    return GatewayMetrics(tenants=["acme"], registry=CollectorRegistry())


def value(metrics: GatewayMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_what_was_counted_is_read_after_a_flush_and_once(metrics: GatewayMetrics) -> None:
    for _ in range(3):
        metrics.authenticated("api_key")
    assert value(metrics, "greenlight_gateway_authentications_total", outcome="api_key") is None
    for _ in range(2):
        metrics.flush()
        found = value(metrics, "greenlight_gateway_authentications_total", outcome="api_key")
        assert found == 3


def test_a_request_that_ended_is_not_active_any_more(metrics: GatewayMetrics) -> None:
    metrics.began()
    metrics.flush()
    assert value(metrics, "http_active_requests") == 1
    metrics.ended(method="GET", endpoint="/healthz", status=200, seconds=0.1)
    metrics.flush()
    assert value(metrics, "http_active_requests") == 0


def test_every_number_of_the_cache_has_a_level_and_an_outcome_of_its_own() -> None:
    assert set(CACHE_EVENTS) == {field.name for field in fields(AnswerCounts)}
    assert len(set(CACHE_EVENTS.values())) == len(CACHE_EVENTS)


def test_the_caches_numbers_are_added_once_however_often_they_are_told(
    metrics: GatewayMetrics,
) -> None:
    counts = AnswerCounts()
    for hits in (2, 2, 5):
        counts.memory_hits, counts.evicted = hits, 1
        metrics.cache_events(counts)
        metrics.flush()
    assert value(metrics, EVENTS, level="memory", outcome="hit") == 5
    assert value(metrics, EVENTS, level="memory", outcome="eviction") == 1
    assert value(metrics, EVENTS, level="store", outcome="stale") == 0


def test_lines_that_were_logged_are_added_once(metrics: GatewayMetrics) -> None:
    metrics.log_lines({"error": 2, "info": 5})
    metrics.log_lines({"error": 3, "info": 5})
    metrics.flush()
    assert value(metrics, "greenlight_log_lines_total", level="error") == 3
    assert value(metrics, "greenlight_log_lines_total", level="info") == 5


def test_without_an_edge_there_is_no_certificate_instead_of_one_that_ended_long_ago(
    metrics: GatewayMetrics,
) -> None:
    name = "greenlight_gateway_certificate_expiry_timestamp_seconds"
    assert value(metrics, name) is None
    metrics.certificate(1.8e9)
    assert value(metrics, name) == 1.8e9


def test_a_tenant_without_a_series_of_its_own_is_one_of_the_others(
    metrics: GatewayMetrics,
) -> None:
    assert (metrics.tenant("acme"), metrics.tenant("stranger")) == ("acme", "other")
