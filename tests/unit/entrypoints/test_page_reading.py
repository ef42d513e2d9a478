import threading

import pytest

from greenlight.adapters.page.panels import PanelName, RolloutsPanel, Unread
from greenlight.core.errors import UnavailableError
from greenlight.entrypoints.page.reading import Reader

FLEETS, COST = PanelName.FLEETS, PanelName.COST
EMPTY = RolloutsPanel(running=())


def away():
    raise UnavailableError("MLflow does not answer")


def broken():
    raise KeyError("x")


def test_a_panel_that_cannot_be_read_says_why_and_the_others_show():
    found = Reader({FLEETS: away, COST: lambda: EMPTY}).read([FLEETS, COST])
    assert found == {FLEETS: Unread(why="MLflow does not answer"), COST: EMPTY}


def test_a_fault_of_ours_is_told_apart_and_no_detail_is_shown():
    (found,) = Reader({FLEETS: broken}).read([FLEETS]).values()
    assert "a fault of the page itself (KeyError)" in found.why


@pytest.fixture
def held():
    """A service that hangs until the test's end; how often it was asked."""
    go_on, asked = threading.Event(), []

    def read():
        asked.append(1)
        go_on.wait(timeout=30)
        return EMPTY

    yield read, asked, go_on
    go_on.set()


def test_what_hangs_keeps_nobody_waiting_longer_than_said(held):
    read, _, _ = held
    found = Reader({FLEETS: read, COST: lambda: EMPTY}, within_s=0.05).read([FLEETS, COST])
    assert "no answer within" in found[FLEETS].why
    assert found[COST] == EMPTY


def test_what_hangs_is_asked_once_however_many_look(held):
    read, asked, go_on = held
    reader = Reader({FLEETS: read}, within_s=0.05)
    for _ in range(5):
        reader.read([FLEETS])
    assert len(asked) == 1
    go_on.set()
    assert Reader({FLEETS: read}).read([FLEETS]) == {FLEETS: EMPTY}


def test_every_reading_is_a_new_one_once_the_last_has_ended():
    counted = []

    def read():
        counted.append(1)
        return EMPTY

    reader = Reader({FLEETS: read})
    reader.read([FLEETS])
    reader.read([FLEETS])
    assert len(counted) == 2
