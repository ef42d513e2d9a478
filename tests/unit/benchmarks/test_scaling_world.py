from pathlib import Path

import numpy as np
import pytest

from greenlight.core.errors import InputError

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
START = np.datetime64("2026-03-02T00:00", "us")


@pytest.fixture
def world(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import scaling_world

    return scaling_world


@pytest.fixture
def learned(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import scaling_learned

    return scaling_learned


def times(count, *, minutes=30.0, start=START):
    return start + (np.arange(count) * minutes * 60e6).astype("timedelta64[us]")


def test_steps_become_minutes_on_straight_lines(world):
    demand = world.by_minute("x", times(3), np.array([0.0, 30.0, 60.0]))
    assert demand.series.values[:61].tolist() == pytest.approx(list(range(61)))
    assert "straight lines" in demand.notes[0]


def test_seconds_are_averaged_to_minutes(world):
    demand = world.by_minute("x", times(6, minutes=0.5), np.array([1.0, 3, 5, 7, 9, 11]))
    assert demand.series.values.tolist() == [2, 6, 10]


def test_a_demand_starts_at_a_midnight(world):
    late = times(100, start=START + np.timedelta64(5, "h"))
    demand = world.by_minute("x", late, np.ones(100))
    assert demand.series.start == START + np.timedelta64(1, "D")


def test_missing_steps_are_bridged_and_said(world):
    values = np.array([1.0, np.nan, 3.0, 4.0])
    demand = world.by_minute("x", times(4), values)
    assert demand.series.values[30] == pytest.approx(2.0)
    assert "25.0% of the steps missing" in demand.notes[0]


@pytest.mark.parametrize(
    ("values", "minutes", "said"),
    [(np.zeros(50), 30, "no demand at all"), (np.ones(50), 120, "at least one an hour")],
)
def test_what_is_no_demand_is_refused(world, values, minutes, said):
    with pytest.raises(InputError, match=said):
        world.by_minute("x", times(50, minutes=minutes), values)


def test_generated_demands_are_seeded(world):
    first, again, other = world.bursty(3), world.bursty(3), world.bursty(4)
    np.testing.assert_array_equal(first.series.values, again.series.values)
    assert (first.series.values != other.series.values).any()


def test_days_to_tune_on_end_before_those_to_report_on(world, learned):
    for days in (14, 20, 84, 200):
        demand = world.by_minute("x", times(days * 48), np.ones(days * 48))
        tuning, held_out = learned.windows(demand)
        assert 8 <= tuning.first < tuning.last - 1
        assert tuning.last <= held_out.first + 1 < held_out.last == days


def test_too_few_days_are_not_enough_data(world, learned):
    with pytest.raises(InputError, match="13 whole days of demand are not enough data"):
        learned.windows(world.by_minute("x", times(13 * 48), np.ones(13 * 48)))
