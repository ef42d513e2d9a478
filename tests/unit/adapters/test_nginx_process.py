import os
import shutil
import signal
import socket
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest

from greenlight.adapters.nginx.process import (
    LOG_LIMIT_BYTES,
    Nginx,
    certificate_expiry,
    nginx_problem,
)
from greenlight.adapters.stack.certificates import VALID, certificates_in, ensure_certificates
from greenlight.core.errors import ConfigError, ProcessDiedError, UnavailableError
from greenlight.testing.edge_worlds import an_upstream, edge_settings

NOW = datetime.now(UTC).replace(microsecond=0)
UNUSED = 9
"""The port of the discard service: nothing is ever sent to it here."""


@pytest.fixture
def certificates(tmp_path):
    found = certificates_in(tmp_path / "tls with spaces")
    ensure_certificates(found, now=NOW)
    return found


@pytest.fixture
def edge(certificates):
    edge = edge_settings(certificates, upstream_port=UNUSED)
    if problem := nginx_problem(edge):
        pytest.skip(problem)
    return edge


@pytest.fixture
def nginx(edge, tmp_path):
    nginx = Nginx(edge, folder=tmp_path / "a folder with spaces")
    yield nginx
    nginx.stop()


def test_the_first_certificate_that_ends_is_told(certificates, tmp_path):
    assert certificate_expiry(certificates.server) == NOW + VALID
    sooner = certificates_in(tmp_path / "sooner")
    ensure_certificates(sooner, now=NOW - timedelta(days=7))
    chain = tmp_path / "chain.pem"
    chain.write_bytes(certificates.server.read_bytes() + sooner.ca.read_bytes())
    assert certificate_expiry(chain) == NOW + VALID - timedelta(days=7)


def test_a_certificate_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.pem can't be read: No such file"):
        certificate_expiry(tmp_path / "nowhere.pem")
    (tmp_path / "empty.pem").write_text("-----BEGIN NOTHING-----\n")
    with pytest.raises(ConfigError, match=r"empty\.pem holds no certificate"):
        certificate_expiry(tmp_path / "empty.pem")


def test_a_missing_nginx_says_how_to_get_it(edge, tmp_path):
    with pytest.raises(ConfigError, match="apt install nginx"):
        Nginx(edge, folder=tmp_path / "x", program="nginx-of-nobody").prepare()


@pytest.mark.parametrize("name", ["modules", "rules", "unicode_map"])
def test_a_missing_part_says_how_to_get_it(edge, tmp_path, name):
    without = edge.model_copy(update={name: tmp_path / "nowhere"})
    with pytest.raises(ConfigError, match=r"nowhere.*is missing; on Debian: apt install"):
        Nginx(without, folder=tmp_path / "x").prepare()


def test_nginx_accepts_its_configuration_without_a_warning(nginx, tmp_path):
    nginx.prepare()
    folder = tmp_path / "a folder with spaces"
    done = subprocess.run(
        [*nginx.command(), "-t"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "[warn]" not in done.stderr + (folder / "error.log").read_text()


def test_a_setting_that_nginx_refuses_is_a_config_error_and_what_was_there_stays(edge, tmp_path):
    folder = tmp_path / "kept"
    Nginx(edge, folder=folder).prepare()
    before = (folder / "nginx.conf").read_text()
    keyless = edge.model_copy(update={"key": tmp_path / "nowhere.pem"})
    with pytest.raises(ConfigError, match=r"nginx refuses its configuration(.|\n)*nowhere\.pem"):
        Nginx(keyless, folder=folder).prepare()
    assert (folder / "nginx.conf").read_text() == before


def test_it_runs_until_it_is_stopped(nginx):
    nginx.start()
    pid = nginx.pid()
    assert pid
    nginx.stop()
    nginx.stop()
    assert nginx.pid() is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_two_in_one_folder_are_one_too_many(nginx, edge, tmp_path):
    nginx.start()
    with pytest.raises(ConfigError, match=f"already runs.*{nginx.pid()}"):
        Nginx(edge, folder=tmp_path / "a folder with spaces").start()


def test_a_number_that_belongs_to_somebody_else_is_no_nginx(nginx, tmp_path):
    nginx.start()
    record = tmp_path / "a folder with spaces/nginx.pid"
    text = record.read_text()
    record.write_text(f"{os.getpid()}\n")
    assert nginx.pid() is None
    record.write_text(text)
    assert nginx.pid() == int(text)


def test_a_taken_port_is_named(edge, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", edge.port))
        other.listen()
        with pytest.raises(ProcessDiedError, match=f"{edge.port}.*Address already in use"):
            Nginx(edge, folder=tmp_path / "x").start()


def test_an_nginx_that_never_answers_is_given_up_and_stopped(edge, tmp_path):
    program = tmp_path / "nginx"
    program.write_text("#!/bin/sh\ncase $* in *-t) exit 0;; esac\necho $$ > nginx.pid; sleep 60\n")
    program.chmod(0o755)
    nginx = Nginx(edge, folder=tmp_path / "x", program=str(program), ready_s=0.5)
    with pytest.raises(UnavailableError, match=r"did not answer within 0\.5 s"):
        nginx.start()
    assert nginx.pid() is None


def test_nothing_can_be_reloaded_where_nothing_runs(nginx):
    with pytest.raises(UnavailableError, match="no nginx runs"):
        nginx.reload()


def test_another_process_can_reload_it(nginx, edge, certificates, tmp_path):
    nginx.start()
    pid = nginx.pid()
    certificates.server.unlink()
    ensure_certificates(certificates, now=NOW)
    Nginx(edge, folder=tmp_path / "a folder with spaces").reload()
    assert nginx.pid() == pid


def test_a_reload_that_does_nothing_is_noticed(nginx, edge, tmp_path):
    nginx.start()
    os.kill(nginx.pid(), signal.SIGSTOP)
    again = Nginx(edge, folder=tmp_path / "a folder with spaces", ready_s=0.5)
    with pytest.raises(UnavailableError, match="did not take over"):
        again.reload()
    os.kill(nginx.pid(), signal.SIGCONT)


def test_open_requests_may_end_before_it_does(certificates, tmp_path):
    def slow(handler, received):
        del received
        time.sleep(1)
        handler.send_response(200)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with an_upstream(slow) as upstream:
        edge = edge_settings(certificates, upstream_port=upstream.port)
        if problem := nginx_problem(edge):
            pytest.skip(problem)
        nginx = Nginx(edge, folder=tmp_path / "x")
        nginx.start()
        curl = [shutil.which("curl"), "--silent", "--insecure", "--write-out", "%{http_code}"]
        with subprocess.Popen([*curl, f"{nginx.url}/healthz"], stdout=subprocess.PIPE) as client:
            while not upstream.received:
                time.sleep(0.02)
            nginx.stop(grace_s=10)
            assert client.stdout.read() == b"200"
    assert nginx.pid() is None


def test_a_log_that_has_grown_long_is_begun_anew(nginx, tmp_path):
    nginx.start()
    log = tmp_path / "a folder with spaces/access.log"
    nginx.reload()
    assert not log.with_suffix(".log.1").exists()
    os.truncate(log, LOG_LIMIT_BYTES + 1)
    nginx.reload()
    assert log.with_suffix(".log.1").stat().st_size == LOG_LIMIT_BYTES + 1
    assert log.read_text() == ""


def test_a_killed_nginx_is_not_running(nginx):
    nginx.start()
    os.kill(nginx.pid(), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while nginx.pid() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert nginx.pid() is None
