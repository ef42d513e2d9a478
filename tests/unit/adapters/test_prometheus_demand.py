"""A real Prometheus, backfilled: a gap must not look like no demand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from greenlight.adapters.prometheus_api import PrometheusApi
from greenlight.adapters.prometheus_demand import PrometheusDemand
from greenlight.core.errors import ConfigError
from greenlight.testing.prometheus_servers import (
    open_metrics,
    prometheus_program,
    prometheus_server,
)

pytestmark = pytest.mark.skipif(prometheus_program() is None, reason="Prometheus is not installed")
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCRAPE_S = 15
GAP = range(80, 120)
"""Minutes 20 to 30: nothing was scraped."""
IDLE = 160
"""From minute 40 on the gateway is up and restarted: it has nothing of the model."""


def at(value, *, last=240, first=-20, gap=GAP):
    made = value if callable(value) else lambda _: value
    start = NOON.timestamp()
    return [(start + n * SCRAPE_S, made(n)) for n in range(first, last) if n not in gap]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    tokens = {"job": "gateway", "model": "chat", "colour": "blue", "direction": "output"}
    engine = {"job": "engine", "fleet": "f"}
    text = open_metrics(
        [
            ("up", {"job": "gateway"}, at(1.0)),
            ("greenlight_gateway_tokens_total", tokens | {"tenant": "a"},
             at(lambda n: 150.0 * (n + 20), last=IDLE)),
            ("greenlight_gateway_tokens_total", tokens | {"tenant": "b"},
             at(lambda n: 75.0 * (n + 20), last=IDLE)),
            ("greenlight_gateway_tokens_total", tokens | {"tenant": "a", "direction": "input"},
             at(lambda n: 9000.0 * (n + 20), last=IDLE)),
            ("up", engine | {"host": "one", "colour": "blue"}, at(1.0)),
            ("up", engine | {"host": "one", "colour": "green"}, at(1.0, last=40)),
            ("up", engine | {"host": "two", "colour": "blue"},
             at(lambda n: 1.0 if n < 200 else 0.0)),
        ]
    )  # fmt: skip
    with prometheus_server(tmp_path_factory.mktemp("a folder with spaces"), text) as address:
        yield address


@pytest.fixture
def api(url):
    with PrometheusApi(url) as made:
        yield made


def test_demand_is_the_answers_tokens_of_all_tenants_a_second(api):
    found = PrometheusDemand(api, fleet="f", model="chat").demand(NOON, NOON + HOUR)
    assert found.step == timedelta(minutes=1)
    assert found.values[:20] == pytest.approx(15.0)


def test_a_gap_stays_a_gap_and_a_quiet_gateway_is_no_demand(api):
    found = PrometheusDemand(api, fleet="f", model="chat").demand(NOON, NOON + HOUR)
    assert np.isnan(found.values[22:30]).all()
    assert not (found.values[19:33] == 0).any(), "the edge of a gap looks like no demand"
    assert (found.values[42:60] == 0).all()


def test_hosts_are_those_of_which_an_engine_answered(api):
    source = PrometheusDemand(api, fleet="f", model="chat")
    found = source.hosts(NOON, NOON + HOUR)
    assert found.values[5] == 2, "a host with both colours counts once"
    assert np.isnan(found.values[22:29]).all()
    assert found.values[55] == 1


def test_what_nobody_measured_is_nothing_rather_than_zero(api):
    source = PrometheusDemand(api, fleet="other", model="chat")
    assert source.demand(NOON - 9 * HOUR, NOON - 8 * HOUR) is None
    assert source.hosts(NOON, NOON + HOUR) is None


def test_more_than_a_week_is_asked_in_parts(api):
    source = PrometheusDemand(api, fleet="f", model="chat")
    found = source.demand(NOON - timedelta(days=20), NOON + HOUR)
    assert np.isfinite(found.values).sum() > 40


def test_a_query_of_ones_own_must_be_one_series(api):
    own = PrometheusDemand(api, fleet="f", model="chat", query="up")
    with pytest.raises(ConfigError, match="put a sum around it"):
        own.demand(NOON, NOON + HOUR)


def test_a_regions_fleet_gets_its_share(api):
    found = PrometheusDemand(api, fleet="f", model="chat", share=0.2).demand(NOON, NOON + HOUR)
    assert found.values[:20] == pytest.approx(3.0)
