import subprocess

import pytest

from greenlight.adapters.haproxy.config import render
from greenlight.adapters.haproxy.desired import Desired, servers_of
from greenlight.core.errors import ConfigError
from greenlight.deploy.colours import Colour
from greenlight.deploy.ports import ServerMode
from greenlight.testing.haproxy_worlds import a_fleet, haproxy_program

BLUE, GREEN = Colour.BLUE, Colour.GREEN


def ten_hosts(**changes):
    keys = [(f"gpu-{n}", colour) for n in range(1, 11) for colour in Colour]
    return a_fleet({key: 20000 + n for n, key in enumerate(keys)}, port=19999, **changes)


def lines(fleet, desired=None):
    desired = desired or Desired(servers=servers_of(fleet))
    return [line.strip() for line in render(fleet, desired).splitlines()]


@pytest.mark.skipif(haproxy_program() is None, reason="HAProxy is not installed")
@pytest.mark.parametrize("metrics_port", [None, 19998])
@pytest.mark.parametrize("address", ["127.0.0.1", "localhost"])
def test_haproxy_accepts_it_without_a_warning(tmp_path, metrics_port, address):
    fleet = ten_hosts(address=address, metrics_port=metrics_port)
    text = render(fleet, Desired(servers=servers_of(fleet)))
    (tmp_path / "haproxy.cfg").write_text(text)

    def check():
        return subprocess.run(
            [haproxy_program(), "-c", "-f", "haproxy.cfg"],
            cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip

    done = check()
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr + done.stdout
    (tmp_path / "haproxy.cfg").write_text(text.replace("balance roundrobin", "balance fairly"))
    assert check().returncode != 0


def test_every_server_starts_in_maintenance_without_weight():
    servers = [line for line in lines(ten_hosts()) if line.startswith("server ")]
    assert len(servers) == 20
    assert servers[0] == "server gpu-1-blue 127.0.0.1:20000 weight 0 disabled"
    assert all(line.endswith("weight 0 disabled") for line in servers)


def test_servers_start_as_they_should_be():
    fleet = ten_hosts()
    desired = Desired(servers=servers_of(fleet)).changed(
        modes={("gpu-1", BLUE): ServerMode.READY, ("gpu-2", BLUE): ServerMode.DRAIN},
        weights={("gpu-1", BLUE): 90, ("gpu-2", BLUE): 10},
    )
    found = lines(fleet, desired)
    assert "server gpu-1-blue 127.0.0.1:20000 weight 90" in found
    assert "server gpu-2-blue 127.0.0.1:20002 weight 10 disabled" in found


def test_the_settings_of_the_router_are_in_it():
    fleet = ten_hosts(
        health_interval_s=0.5, health_fall=4, health_rise=2, retries=7, max_connections=99,
        buffer_bytes=65536,
    )  # fmt: skip
    found = lines(fleet)
    assert any("check inter 500ms fall 4 rise 2" in line for line in found)
    assert {"retries 7", "maxconn 99", "tune.bufsize 81920", "bind 127.0.0.1:19999"} <= set(found)
    assert "timeout server 600s" in found


def test_nothing_is_sent_again_once_an_answer_began_or_took_long():
    assert "retry-on conn-failure empty-response" in lines(ten_hosts())


def test_no_metrics_are_served_unless_a_port_is_given():
    assert "frontend metrics" not in lines(ten_hosts())
    assert "bind 127.0.0.1:19998" in lines(ten_hosts(metrics_port=19998))
    elsewhere = ten_hosts(metrics_port=19998, metrics_address="router")
    assert "bind router:19998" in lines(elsewhere)


@pytest.mark.parametrize("address", ["127.0.0.1 check", "a\nglobal", "a;b", ""])
def test_an_address_that_is_more_than_an_address_is_refused(address):
    fleet = ten_hosts(address=address)
    with pytest.raises(ConfigError, match="neither an IP address nor a host name"):
        render(fleet, Desired(servers=servers_of(fleet)))
