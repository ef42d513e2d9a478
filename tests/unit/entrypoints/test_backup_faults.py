from contextlib import contextmanager

import pytest
from backup_homes import BackupHome

from greenlight.core.errors import GateError, InputError, UnavailableError
from greenlight.entrypoints.backup_faults import plant_all
from greenlight.testing.backup_faults import REGION, Fault, next_run, read_back


class World:
    """What faults act on, in memory."""

    def __init__(self, tmp_path):
        self.home = BackupHome(tmp_path)
        self.backup = self.home.run().backup

    def backups(self):
        return self.home.backups


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@contextmanager
def damaged(world):
    label = world.backup.copy_in(REGION).database_label
    world.home.copies.damage[REGION, label] = ["a page is bad"]
    yield
    del world.home.copies.damage[REGION, label]


@contextmanager
def damaged_for_good(world):
    label = world.backup.copy_in(REGION).database_label
    world.home.copies.damage[REGION, label] = ["a page is bad"]
    yield


@contextmanager
def away(world):
    world.home.regions.away.add(REGION)
    yield
    world.home.regions.away.clear()


@contextmanager
def nothing(world):
    yield


@contextmanager
def cannot(world):
    raise InputError("there is no object to damage")
    yield


def planted(world, *faults):
    said = []
    matrix = plant_all(world, faults, say=said.append, clock=world.home.clock)
    return matrix, "\n".join(said)


def test_a_fault_that_is_noticed_is_detected_and_the_healthy_set_is_not_accused(world):
    matrix, _ = planted(world, Fault(name="flip", plant=damaged, notice=read_back))
    assert matrix.summary == {
        "faults": 1, "detected": 1, "false_success": 0, "false_alarm": 0,
    }  # fmt: skip
    assert "a page is bad" in matrix.planted[0].noticed
    matrix.require_all()


def test_a_fault_that_nobody_notices_is_a_false_success(world):
    matrix, said = planted(world, Fault(name="silent", plant=nothing, notice=read_back))
    assert matrix.summary["false_success"] == 1
    assert "NOT NOTICED" in said
    with pytest.raises(GateError, match="not noticed: silent"):
        matrix.require_all()


def test_a_fault_that_could_not_be_planted_is_neither_and_the_matrix_fails(world):
    matrix, said = planted(world, Fault(name="odd", plant=cannot, notice=read_back))
    assert (matrix.summary["detected"], matrix.summary["false_success"]) == (0, 0)
    assert "could not be planted: InputError: there is no object" in said
    with pytest.raises(GateError, match="not noticed: odd"):
        matrix.require_all()


def test_a_healthy_set_that_is_accused_is_a_false_alarm(world):
    matrix, _ = planted(world, Fault(name="flip", plant=damaged_for_good, notice=read_back))
    assert matrix.summary["false_alarm"] == 1
    with pytest.raises(GateError, match="accused after: flip: fail: a page is bad"):
        matrix.require_all()


def test_a_region_that_is_away_is_noticed_by_the_next_run_and_by_reading_back(world):
    for notice in (next_run, read_back):
        matrix, _ = planted(world, Fault(name="dead", plant=away, notice=notice))
        assert matrix.planted[0].noticed.startswith(UnavailableError.__name__)
