from pathlib import Path

import httpx
import pytest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from greenlight.adapters.metrics_server import serve_metrics
from greenlight.core.errors import UnavailableError

LOOPBACK = "127.0.0.1"
HAS_IPV6 = Path("/proc/net/if_inet6").exists() and "lo" in Path("/proc/net/if_inet6").read_text()


class Seven(Collector):
    def collect(self):
        yield GaugeMetricFamily("seven", "Seven.", value=7)


def test_a_page_is_served_until_it_is_stopped():
    port, stop = serve_metrics(Seven(), address=LOOPBACK, port=0)
    url = f"http://{LOOPBACK}:{port}/metrics"
    assert "seven 7.0" in httpx.get(url, trust_env=False).text
    stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
def test_an_address_may_be_of_ipv6():
    port, stop = serve_metrics(Seven(), address="::1", port=0)
    assert "seven 7.0" in httpx.get(f"http://[::1]:{port}/metrics", trust_env=False).text
    stop()


def test_a_port_that_is_taken_is_an_error():
    port, stop = serve_metrics(Seven(), address=LOOPBACK, port=0)
    with pytest.raises(OSError, match="in use"):
        serve_metrics(Seven(), address=LOOPBACK, port=port)
    stop()


def test_another_page_is_json_and_one_that_can_not_be_made_is_no_empty_one():
    def broken():
        raise UnavailableError("the database does not answer")

    pages = {"/seven": lambda: [7], "/broken": broken}
    port, stop = serve_metrics(Seven(), address=LOOPBACK, port=0, pages=pages)
    url = f"http://{LOOPBACK}:{port}"
    try:
        good = httpx.get(f"{url}/seven", trust_env=False)
        assert (good.json(), good.headers["content-type"]) == ([7], "application/json")
        bad = httpx.get(f"{url}/broken", trust_env=False)
        assert (bad.status_code, bad.text) == (503, "the database does not answer\n")
        assert "seven 7.0" in httpx.get(f"{url}/metrics", trust_env=False).text
    finally:
        stop()
