import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from greenlight.adapters.stack.ports import ask_kernel
from greenlight.adapters.stack.services import Service, ServiceName
from greenlight.adapters.stack.supervisor import Supervisor, identity
from greenlight.testing.waiting import wait_for

NAME = ServiceName.MLFLOW
SLEEP = "import time; time.sleep(300)"
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('up', flush=True)
time.sleep(300)
"""
WITH_CHILD = """
import subprocess, sys, time
command = [sys.executable, "-c", "import time; time.sleep(300)"]
child = subprocess.Popen(command, process_group=0)
print(child.pid, flush=True)
time.sleep(300)
"""


@pytest.fixture
def supervisor(tmp_path):
    made = Supervisor(run=tmp_path / "run", logs=tmp_path / "logs")
    yield made
    made.stop([NAME], grace_s=0.1)


def service(code, tmp_path, **settings):
    return Service(
        name=NAME,
        command=[sys.executable, "-c", code],
        settings=settings,
        inherited={"PATH": os.environ["PATH"]},
        cwd=tmp_path,
    )


def test_a_service_leads_a_session_of_its_own_and_writes_a_log(supervisor, tmp_path):
    record = supervisor.start(service("print('hello'); " + SLEEP, tmp_path, PYTHONUNBUFFERED="1"))
    assert supervisor.running(NAME) == record
    assert os.getsid(record.pid) == os.getpgid(record.pid) == record.pid != os.getsid(0)
    wait_for(lambda: "hello" in supervisor.log(NAME).read_text())


def test_another_supervisor_finds_it_by_its_pid_file(supervisor, tmp_path):
    record = supervisor.start(service(SLEEP, tmp_path))
    assert Supervisor(run=supervisor.run, logs=supervisor.logs).running(NAME) == record


def test_stop_ends_it_and_forgets_it_and_may_be_repeated(supervisor, tmp_path):
    pid = supervisor.start(service(SLEEP, tmp_path)).pid
    for _ in range(2):
        supervisor.stop([NAME], grace_s=5)
        assert supervisor.running(NAME) is None
        assert identity(pid) is None


def test_a_service_that_ignores_the_request_is_killed(supervisor, tmp_path):
    pid = supervisor.start(service(STUBBORN, tmp_path)).pid
    wait_for(lambda: "up" in supervisor.log(NAME).read_text())
    supervisor.stop([NAME], grace_s=0.3)
    assert identity(pid) is None


def test_a_child_in_a_group_of_its_own_ends_too(supervisor, tmp_path):
    supervisor.start(service(WITH_CHILD, tmp_path))
    wait_for(lambda: supervisor.log(NAME).read_text().strip())
    child = int(supervisor.log(NAME).read_text())
    supervisor.stop([NAME], grace_s=5)
    assert identity(child) is None


def test_what_a_killed_leader_left_behind_is_ended(supervisor, tmp_path):
    pid = supervisor.start(service(WITH_CHILD, tmp_path)).pid
    wait_for(lambda: supervisor.log(NAME).read_text().strip())
    child = int(supervisor.log(NAME).read_text())
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: supervisor.running(NAME) is None)
    assert identity(child)
    supervisor.stop([NAME], grace_s=5)
    assert identity(child) is None


def test_a_pid_file_whose_number_belongs_to_a_stranger_is_stale_and_the_stranger_lives(
    supervisor, tmp_path
):
    supervisor.start(service(SLEEP, tmp_path))
    path = supervisor.run / f"{NAME}.json"
    record = json.loads(path.read_text())
    supervisor.stop([NAME], grace_s=5)
    time.sleep(2 / os.sysconf("SC_CLK_TCK"))  # the kernel notes starts to a tick
    with subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True) as stranger:
        try:
            path.write_text(json.dumps(record | {"pid": stranger.pid}))
            assert supervisor.running(NAME) is None
            supervisor.stop([NAME], grace_s=0.1)
            assert stranger.poll() is None
        finally:
            stranger.kill()


@pytest.mark.parametrize("text", ["", "{half", '{"pid": 1}'])
def test_a_broken_pid_file_counts_as_none(supervisor, text):
    supervisor.run.mkdir()
    (supervisor.run / f"{NAME}.json").write_text(text)
    assert supervisor.running(NAME) is None


def test_the_reason_of_an_early_end_is_the_end_of_this_starts_log(supervisor, tmp_path):
    supervisor.start(service("print('from the first start')", tmp_path))
    wait_for(lambda: supervisor.running(NAME) is None)
    supervisor.start(service("import sys; print('no such table'); sys.exit(3)", tmp_path))
    wait_for(lambda: supervisor.running(NAME) is None)
    reason = supervisor.exit_reason(NAME)
    assert "ended with exit code 3" in reason
    assert "no such table" in reason
    assert "first start" not in reason


def test_a_listener_counts_only_when_it_is_the_services(supervisor, tmp_path):
    port = ask_kernel()
    code = f"""
import socket, time
s = socket.socket(); s.bind(("127.0.0.1", {port})); s.listen(); time.sleep(300)
"""
    record = supervisor.start(service(code, tmp_path))
    wait_for(lambda: supervisor.listens(NAME, port))
    assert psutil.Process(record.pid).net_connections()[0].laddr.port == port
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            code.replace(str(port), "0").replace(
                "s.listen()", "s.listen(); print(s.getsockname()[1], flush=True)"
            ),
        ],
        stdout=subprocess.PIPE,
        text=True,
    ) as stranger:
        assert not supervisor.listens(NAME, int(stranger.stdout.readline()))
        stranger.kill()


def test_other_settings_give_another_digest_and_the_inherited_rest_does_not(tmp_path):
    one = service(SLEEP, tmp_path, PORT="1")
    assert one.digest == service(SLEEP, tmp_path, PORT="1").digest
    assert one.digest != service(SLEEP, tmp_path, PORT="2").digest
    assert "PORT" not in repr(one)
