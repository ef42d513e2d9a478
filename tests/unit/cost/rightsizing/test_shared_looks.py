"""Looking once at what the parts of a series share must change no answer."""

from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rightsizing_worlds import A_DAY, MINUTES, moved, series, weeks

from greenlight.cost.rightsizing.largest import DayPeaks, Largest, quantile_of
from greenlight.cost.rightsizing.series import Resource, weighted_quantile
from greenlight.cost.rightsizing.shifts import HourlyTracks, ShiftSettings, newest_shift
from greenlight.cost.rightsizing.strategies.percentile_headroom import PercentileHeadroom

DAYS = st.lists(
    st.lists(
        st.tuples(st.floats(min_value=0, max_value=1e6), st.integers(min_value=1, max_value=10**6)),
        max_size=40,
    ),
    min_size=1,
    max_size=8,
).filter(lambda days: any(days))


@given(days=DAYS, q=st.floats(min_value=0.8, max_value=1.0))
def test_quantiles_of_the_largest_are_those_of_everything(days, q):
    parts = [
        (np.array([v for v, _ in day]), np.array([w for _, w in day], dtype=np.int64))
        for day in days
    ]
    values = np.concatenate([v for v, _ in parts])
    weights = np.concatenate([w for _, w in parts])
    most = int((1 - q) * weights.sum() / weights.min()) + 2
    kept = [Largest.of(v, w, most) for v, w in parts]
    running = DayPeaks(most=most).running(kept, q)
    seen = 0
    for day, found in zip(parts, running, strict=True):
        seen += day[0].size
        if not seen:
            assert np.isnan(found)
            continue
        assert found == _by_sorting(values[:seen], weights[:seen], q)
    assert quantile_of(kept, q) == _by_sorting(values, weights, q)


def _by_sorting(values, weights, q):
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return values[order][np.searchsorted(reached, q * reached[-1] * (1 - 1e-12))]


def test_equal_weights_give_the_same_as_the_series_own_quantile():
    values = np.random.default_rng(1).random(2880)
    weights = np.full(values.size, 60_000_000)
    edges = range(0, 2881, 288)
    kept = [Largest.of(values[a:b], weights[a:b], 60) for a, b in pairwise(edges)]
    running = DayPeaks(most=60).running(kept, 0.99)
    assert running.tolist() == [
        weighted_quantile(values[:end], weights[:end], 0.99) for end in edges[1:]
    ]


def holes(values, *, at):
    trusted = np.ones(values.size, dtype=bool)
    for first, last in at:
        trusted[first:last] = False
    return trusted


WORLDS = {
    "whole": series(weeks(28)),
    "moved": series(moved(weeks(28), at_day=17.3, factor=1.6)),
    "memory": series(weeks(28), resource=Resource.MEMORY),
    "an hour lost": series(weeks(28), trusted=holes(weeks(28), at=[(3000, 3012), (5000, 5030)])),
    "a day lost": series(weeks(28), trusted=holes(weeks(28), at=[(3000, 3400)])),
    "uneven": series(weeks(28), trusted=np.random.default_rng(3).random(28 * A_DAY) > 0.05),
}


@pytest.mark.parametrize("name", WORLDS)
@settings(max_examples=20, deadline=None)
@given(
    start=st.integers(min_value=0, max_value=14 * A_DAY),
    length=st.integers(min_value=0, max_value=20 * A_DAY),
)
def test_a_part_is_sized_as_if_it_were_alone(name, start, length):
    whole = WORLDS[name]
    rule = PercentileHeadroom()
    begin = whole.start + start * MINUTES
    part = whole.between(begin, begin + length * MINUTES)
    assert repr(rule.sizer(whole)(part)) == repr(rule.size(part))


@pytest.mark.parametrize("name", WORLDS)
def test_shifts_are_found_in_parts_as_if_they_were_alone(name):
    whole, rules = WORLDS[name], ShiftSettings()
    tracks = HourlyTracks.of(whole, rules)
    for hours in range(24 * 10, 24 * 28, 7):
        part = whole.between(whole.start, whole.start + np.timedelta64(timedelta(hours=hours)))
        assert newest_shift(part, rules, tracks=tracks) == newest_shift(part, rules)


def test_the_whole_advice_is_the_same_from_strategies_that_share_nothing():
    class Alone(PercentileHeadroom):
        def sizer(self, series):
            return lambda part: PercentileHeadroom.sizer(self, part)(part)

    for whole in WORLDS.values():
        shared = PercentileHeadroom().advise(whole, current=20.0)
        assert repr(shared) == repr(Alone().advise(whole, current=20.0))
