import socket
import threading

import pytest

from greenlight.adapters.haproxy.runtime import SOCKET, RuntimeApi, parse_states, parse_statistics
from greenlight.core.errors import UnavailableError
from greenlight.deploy.colours import Colour
from greenlight.deploy.ports import ServerMode
from greenlight.testing.haproxy_worlds import LONG

STATES = """1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight
3 engines 1 gpu-1-blue 127.0.0.1 2 {admin} 90
3 engines 2 gpu-1-green 127.0.0.1 0 0 10

"""
STATISTICS = """# pxname,svname,scur,stot,econ,eresp,hrsp_5xx,
engines,gpu-1-blue,3,70,1,2,4,
engines,gpu-1-green,0,0,,,,

"""


@pytest.fixture
def say(tmp_path):
    """A function that answers one line, and remembers it, from a socket with a long path."""
    folder = tmp_path / LONG
    folder.mkdir()
    got = []
    server = socket.socket(socket.AF_UNIX)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        server.bind(SOCKET)
    server.listen()
    threads = []

    def answer(text):
        def serve():
            connection, _ = server.accept()
            with connection:
                got.append(connection.recv(1 << 16).decode())
                connection.sendall(text.encode())

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return RuntimeApi(folder, timeout_s=2), got

    yield answer
    for thread in threads:
        thread.join(5)
    server.close()


def test_commands_travel_together_and_may_answer_nothing(say):
    runtime, got = say("\n\n")
    runtime.tell(["set server engines/a-blue weight 1", "set server engines/a-green weight 2"])
    assert got == ["set server engines/a-blue weight 1; set server engines/a-green weight 2\n"]


def test_no_commands_need_no_connection(tmp_path):
    RuntimeApi(tmp_path / "nowhere").tell([])


@pytest.mark.parametrize("answer", ["\nNo such server.\n\n", "Permission denied\n\n\n"])
def test_one_failed_command_is_an_error_with_its_reason(say, answer):
    runtime, _ = say(answer)
    with pytest.raises(UnavailableError, match=answer.strip()):
        runtime.tell(["set server engines/a-blue weight 1", "set server engines/b-blue weight 2"])


def test_an_acknowledgement_is_no_error(say):
    runtime, _ = say("New server registered.\n\n\n")
    runtime.tell(["add server engines/a-blue 127.0.0.1:1", "enable health engines/a-blue"])


@pytest.mark.parametrize(
    ("admin", "mode"),
    [(0, "ready"), (4, "ready"), (5, "maint"), (8, "drain"), (32, "maint"), (9, "maint")],
)
def test_a_server_is_read_with_its_mode_and_counters(say, admin, mode):
    runtime, _ = say(STATES.format(admin=admin) + STATISTICS)
    found = runtime.servers()
    blue, green = found["gpu-1", Colour.BLUE], found["gpu-1", Colour.GREEN]
    assert (blue.weight, blue.mode, blue.up) == (90, ServerMode(mode), True)
    assert (blue.sessions, blue.requests, blue.errors) == (3, 70, 7)
    assert (green.weight, green.up, green.sessions, green.errors) == (10, False, 0, 0)


def test_nobody_there_is_an_error_that_names_the_socket(tmp_path):
    with pytest.raises(UnavailableError, match=f"{SOCKET}.*is it running"):
        RuntimeApi(tmp_path).ask("show info")


def test_a_silent_haproxy_is_not_waited_for_forever(say):
    runtime, _ = say("")
    assert runtime.ask("show info") == ""
    with pytest.raises(UnavailableError, match="timed out"):
        RuntimeApi(runtime.folder, timeout_s=0.05).ask("show info")


@pytest.mark.parametrize("text", ["", "Can't find backend.\n", "2\n# be_id\n"])
def test_another_answer_is_not_taken_for_states(text):
    with pytest.raises(UnavailableError, match="instead of its servers' states"):
        parse_states(text)


def test_another_answer_is_not_taken_for_statistics():
    with pytest.raises(UnavailableError, match="instead of its statistics"):
        parse_statistics("No such proxy.\n")
