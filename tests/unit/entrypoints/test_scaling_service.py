import threading

import pytest
import yaml
from scaling_slots_worlds import NOW, SlotWorld

from greenlight.core.errors import UnavailableError
from greenlight.core.settings import Settings
from greenlight.entrypoints.scaling_service import OnceLive, fleets_with_a_loop, run
from greenlight.testing.manual_clock import ManualClock
from greenlight.testing.waiting import wait_for


class LateJournal:
    """A journal that is away, then empty, then has something live."""

    def __init__(self, journal):
        self.journal, self.looks = journal, 0

    def rollouts(self, fleet):
        self.looks += 1
        if self.looks == 1:
            raise UnavailableError("the database does not answer")
        return [] if self.looks == 2 else self.journal.rollouts(fleet)

    def events(self, rollout_id):
        return self.journal.events(rollout_id)


class Broken:
    def run(self, **_):
        raise ZeroDivisionError("a bug")


@pytest.fixture
def started(tmp_path):
    """Run loops in a thread; stop them at the end."""
    stop, file = threading.Event(), tmp_path / "a folder" / "loop.prom"
    threads = []

    def start(**loops):
        arguments = {"every_s": 0.01, "stop": stop, "file": file, "clock": ManualClock(NOW)}
        thread = threading.Thread(target=run, args=(loops,), kwargs=arguments)
        thread.start()
        threads.append(thread)
        return file

    yield start
    stop.set()
    for thread in threads:
        thread.join(10)


def test_when_each_fleet_was_looked_at_is_written(tmp_path, started, monkeypatch):
    monkeypatch.setattr("greenlight.entrypoints.scaling_service.WRITE_S", 0.01)
    file = started(f=SlotWorld(tmp_path).loop)
    text = wait_for(lambda: file.exists() and "{" in file.read_text() and file.read_text())
    assert f"{float(text.split()[-1]):.0f}" == f"{NOW.timestamp():.0f}"
    assert 'looked_timestamp_seconds{fleet="f"}' in text


def test_without_fleets_it_lives_and_says_so(started):
    file = started()
    wait_for(file.exists)
    assert "fleet=" not in file.read_text()


def test_a_fleet_is_opened_once_something_is_live(tmp_path, monkeypatch):
    opened, stop, world = [], threading.Event(), SlotWorld(tmp_path)
    journal = LateJournal(world.rollouts.tools().journal)
    fleet = OnceLive(fleet="f", journal=journal, settings=Settings(home=tmp_path))

    def open_loop(name, settings):
        opened.append((name, journal.looks))
        stop.set()
        return world.loop

    monkeypatch.setattr("greenlight.entrypoints.scaling_tools.open_loop", open_loop)
    fleet.run(every_s=0.001, stop=stop, looked=lambda: None)
    assert opened == [("f", 3)]


def test_a_loop_that_breaks_ends_the_service_with_its_error(tmp_path):
    stop = threading.Event()
    loops = {"broken": Broken(), "f": SlotWorld(tmp_path).loop}
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run(loops, every_s=0.01, stop=stop, file=tmp_path / "loop.prom")
    assert stop.is_set()


def test_only_fleets_that_have_a_loop_are_run(tmp_path):
    (tmp_path / "config").mkdir()
    aws = {"kind": "aws_autoscaling", "group": "g", "region": "eu-west-2"}
    fleets = {
        "own": {"ceiling": 2, "target": {"kind": "slots"}},
        "proposed": {"ceiling": 2},
        "cloud": {"ceiling": 2, "machine_start_s": 1, "target": aws},
    }
    (tmp_path / "config/scaling.yaml").write_text(yaml.safe_dump({"fleets": fleets}))
    assert fleets_with_a_loop(Settings(home=tmp_path)) == ["cloud", "own"]
