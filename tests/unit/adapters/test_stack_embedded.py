"""What the stack refuses, and how it says so. The real one runs in tests/integration/stack."""

import fcntl
import socket
import subprocess
import sys
import time

import pytest

from greenlight.adapters.stack.embedded import EmbeddedStack
from greenlight.adapters.stack.ports import LOOPBACK, ask_kernel
from greenlight.adapters.stack.readiness import Readiness
from greenlight.adapters.stack.services import Service, ServiceName, State
from greenlight.core.errors import (
    ConfigError,
    ProcessDiedError,
    RefusedError,
    UnavailableError,
)
from greenlight.core.settings import Ports


def report(step, what):
    """Nobody listens."""


@pytest.fixture
def stack(make_settings):
    return EmbeddedStack(make_settings(), environment={})


def test_the_addresses_of_a_stack_that_is_not_up_are_refused_with_what_to_run(stack):
    with pytest.raises(RefusedError, match=r"is not up .*run `make up`"):
        stack.addresses()


def test_everything_is_stopped_before_the_first_start(stack):
    assert {line.state for line in stack.status()} == {State.STOPPED}
    assert all(line.reason for line in stack.status())


def test_down_without_a_stack_does_nothing_and_makes_nothing(stack):
    stack.down(report)
    assert not stack.settings.home.exists()


def test_two_commands_never_change_one_stack_at_the_same_time(stack):
    stack.settings.run.mkdir(parents=True)
    with (stack.settings.run / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UnavailableError, match="another `stack up`"):
            stack.down(report)


def test_a_configured_port_of_somebody_else_stops_the_start(make_settings):

    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        stack = EmbeddedStack(make_settings(ports={"mlflow": port}), environment={})
        with pytest.raises(ConfigError, match=rf"ports\.mlflow: port {port} is in use"):
            stack.up(report)
    assert stack.supervisor.running(ServiceName.POSTGRES) is None


def waiting_for(stack, code, tmp_path):
    ports = Ports(airflow=ask_kernel(), mlflow=ask_kernel(), postgres=ask_kernel())
    service = Service(
        name=ServiceName.MLFLOW,
        command=[sys.executable, "-c", code],
        settings={},
        inherited={},
        cwd=tmp_path,
    )
    stack.supervisor.start(service)
    return Readiness(stack.supervisor, settings=stack.settings, ports=ports)


def test_a_service_that_dies_at_start_ends_the_wait_with_its_last_words(stack, tmp_path):
    code = "import sys; sys.exit('No module named flask')"
    ready = waiting_for(stack, code, tmp_path)
    with pytest.raises(ProcessDiedError, match=r"exit code 1[^$]*No module named flask"):
        ready.wait([ServiceName.MLFLOW], report, at_most_s=30)


def test_a_service_that_never_answers_is_given_up_with_the_reason(stack, tmp_path):
    ready = waiting_for(stack, "import time; time.sleep(60)", tmp_path)
    try:
        with pytest.raises(UnavailableError, match=r"mlflow is not healthy after 0 s .no answer"):
            ready.wait([ServiceName.MLFLOW], report, at_most_s=0)
    finally:
        stack.supervisor.stop([ServiceName.MLFLOW], grace_s=5)


SERVER = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
HTTPServer(("127.0.0.1", {port}), Health).serve_forever()
"""


def test_the_answer_of_a_stranger_on_our_port_is_not_health(stack, tmp_path):

    ready = waiting_for(stack, "import time; time.sleep(60)", tmp_path)
    code = SERVER.format(port=ready.ports.mlflow)
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as stranger:
        deadline = time.monotonic() + 10
        while "no answer" in (reason := ready.why_not_healthy(ServiceName.MLFLOW)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        stranger.kill()
    stack.supervisor.stop([ServiceName.MLFLOW], grace_s=5)
    assert reason == f"somebody else answers on port {ready.ports.mlflow}"
