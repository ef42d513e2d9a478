import threading

import pytest

from greenlight.adapters.haproxy.desired import (
    Desired,
    RouterFolder,
    server_key,
    server_name,
    servers_of,
)
from greenlight.core.errors import ConfigError, UnavailableError
from greenlight.deploy.colours import Colour
from greenlight.deploy.ports import ServerMode
from greenlight.testing.haproxy_worlds import a_fleet

BLUE, GREEN = Colour.BLUE, Colour.GREEN


@pytest.fixture
def folder(tmp_path):
    made = RouterFolder(tmp_path / "router")
    made.make()
    return made


@pytest.mark.parametrize("host", ["gpu-1", "gpu", "gpu-blue"])
def test_a_servers_name_says_host_and_colour(host):
    for colour in Colour:
        assert server_key(server_name((host, colour))) == (host, colour)


def test_what_was_kept_is_read_again(folder):
    fleet = a_fleet({("gpu-1", BLUE): 1001, ("gpu-1", GREEN): 1002})
    kept = Desired(fence=4, servers=servers_of(fleet)).changed(
        modes={("gpu-1", GREEN): ServerMode.DRAIN}, weights={("gpu-1", GREEN): 10}
    )
    assert folder.read() is None
    folder.write(kept)
    assert folder.read() == kept
    assert [(s.name, s.mode, s.weight) for s in kept.servers] == [
        ("gpu-1-blue", ServerMode.MAINT, 0),
        ("gpu-1-green", ServerMode.DRAIN, 10),
    ]


@pytest.mark.parametrize("text", ["", "{", '{"fence": "high"}', '{"fense": 1}'])
def test_a_damaged_file_is_not_taken_for_a_new_router(folder, text):
    folder.state.write_text(text)
    with pytest.raises(ConfigError, match="restore it, or remove it"):
        folder.read()


def test_nothing_in_the_folder_is_for_others(folder):
    folder.write(Desired())
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert folder.state.stat().st_mode & 0o777 == 0o600


def test_one_change_at_a_time(folder):
    with folder.locked(), pytest.raises(UnavailableError, match="another process"):
        folder.locked(wait_s=0.05).__enter__()
    with folder.locked(wait_s=0.05):
        pass


def test_a_change_waits_for_the_one_before(folder):
    order = []
    inside = threading.Event()

    def first():
        with folder.locked():
            inside.set()
            order.append("begun")
            threading.Event().wait(0.1)
            order.append("ended")

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(5)
    with folder.locked():
        order.append("next")
    thread.join()
    assert order == ["begun", "ended", "next"]


def test_a_router_that_never_ran_cannot_be_changed(tmp_path):
    with (
        pytest.raises(UnavailableError, match="never ran"),
        RouterFolder(tmp_path / "none").locked(),
    ):
        pass
