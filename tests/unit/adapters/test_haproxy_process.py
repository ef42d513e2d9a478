import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from greenlight.adapters.haproxy.desired import RouterFolder
from greenlight.adapters.haproxy.process import HaproxyProcess
from greenlight.adapters.haproxy.router import HaproxyRouter
from greenlight.core.errors import ConfigError, ProcessDiedError, UnavailableError
from greenlight.deploy.colours import Colour
from greenlight.testing.haproxy_worlds import LONG, a_fleet, haproxy_program
from greenlight.testing.servers import free_port

pytestmark = [
    pytest.mark.skipif(haproxy_program() is None, reason="HAProxy is not installed"),
    pytest.mark.timeout(60),
]

CONTROLLER = """
import sys
from pathlib import Path
from greenlight.adapters.haproxy.router import HaproxyRouter
from greenlight.deploy.fleet import Fleet
router = HaproxyRouter(Fleet.model_validate_json(sys.argv[1]), folder=Path(sys.argv[2]))
router.ensure_running()
"""


@pytest.fixture
def folder(tmp_path):
    return RouterFolder(tmp_path / LONG / "router")


@pytest.fixture
def fleet():
    return a_fleet({("gpu-1", Colour.BLUE): free_port(), ("gpu-1", Colour.GREEN): free_port()})


@pytest.fixture
def router(folder, fleet):
    router = HaproxyRouter(fleet, folder=folder.path)
    yield router
    router.stop(grace_s=0)


def test_haproxy_outlives_the_controller_and_is_found_by_the_next(router, folder, fleet):
    subprocess.run(
        [sys.executable, "-c", CONTROLLER, fleet.model_dump_json(), folder.path],
        check=True, timeout=30, env=os.environ | {"SECRET_OF_THE_CONTROLLER": "s3cret"},
    )  # fmt: skip
    pid = router.process.pid()
    assert pid
    assert os.getsid(pid) == pid
    assert router.ensure_running() is False
    assert router.process.pid() == pid
    assert b"SECRET" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_the_socket_and_all_files_are_for_this_user_only(router, folder):
    router.ensure_running()
    assert folder.path.stat().st_mode & 0o777 == 0o700
    sockets = [p for p in folder.path.iterdir() if stat.S_ISSOCK(p.stat().st_mode)]
    assert [p.stat().st_mode & 0o777 for p in sockets] == [0o600]
    assert len(os.fsencode(sockets[0])) > 107


def test_a_number_that_belongs_to_somebody_else_is_no_haproxy(router, folder):
    router.ensure_running()
    pid = router.process.pid()
    record = json.loads(folder.record.read_text())
    folder.record.write_text(json.dumps(record | {"identity": "another boot:1"}))
    assert router.process.pid() is None
    router.stop(grace_s=0)
    os.kill(pid, 0)
    folder.record.write_text(json.dumps(record))
    assert router.process.pid() == pid


def test_a_haproxy_whose_record_was_never_written_is_adopted(router, folder):
    router.ensure_running()
    pid = router.process.pid()
    folder.record.unlink()
    assert router.ensure_running() is False
    assert router.process.pid() == pid


def test_a_haproxy_of_another_folder_is_left_alone(router, folder, tmp_path):
    router.ensure_running()
    other = RouterFolder(tmp_path / "other")
    other.make()
    (other.path / "haproxy.sock").symlink_to(folder.path / "haproxy.sock")
    with pytest.raises(UnavailableError, match="no process of this machine"):
        HaproxyProcess(other).ensure_running()
    assert HaproxyProcess(other).pid() is None


def test_a_stopped_haproxy_is_gone_and_stopping_again_is_fine(router):
    router.ensure_running()
    pid = router.process.pid()
    router.stop(grace_s=5)
    router.stop(grace_s=5)
    assert router.process.pid() is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_frozen_haproxy_is_killed(router):
    router.ensure_running()
    os.kill(router.process.pid(), signal.SIGSTOP)
    began = time.monotonic()
    router.stop(grace_s=0.1)
    assert router.process.pid() is None
    assert time.monotonic() - began < 10


def test_a_taken_port_is_named_and_not_shared(router, fleet):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", fleet.router.port))
        other.listen()
        with pytest.raises(ProcessDiedError, match=f"{fleet.router.port}"):
            router.ensure_running()
    assert router.process.pid() is None
    assert router.ensure_running()


def test_a_configuration_that_haproxy_refuses_is_a_config_error(folder):
    folder.make()
    folder.config.write_text("global\n    nonsense\n")
    with pytest.raises(ConfigError, match="nonsense"):
        HaproxyProcess(folder).ensure_running()


def test_a_missing_haproxy_says_how_to_get_it(folder):
    folder.make()
    folder.config.write_text("")
    with pytest.raises(ConfigError, match="apt install"):
        HaproxyProcess(folder, program="haproxy-of-nobody").ensure_running()
