import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.core.errors import InputError
from greenlight.cost.samples import HOUR_S, Samples, count, gauge, gauges, gpu_use, mean_of
from greenlight.cost.usage import Count, Level, Mark, Unmeasured, whole

START = 1_800_000_000.0
STEP = 30.0


def samples(values, *, start=START, step=STEP, skip=()):
    pairs = [(start + i * step, v) for i, v in enumerate(values) if i not in skip]
    return Samples.of(pairs, step_s=step)


def a_gauge(found, **bounds):
    return gauge(found, start_s=START, what="gpu-1 engine active", **bounds)


def a_count(found, start=START):
    return count(found, start_s=start, what="tokens")


def test_a_gauge_is_its_mean_over_time_with_its_peak():
    found = a_gauge(samples([0.2] * 60 + [0.6] * 60))
    assert found == Level(mean=pytest.approx(0.4), peak=0.6, coverage=1.0)


def test_a_gap_is_marked_and_not_counted_as_idle():
    found = a_gauge(samples([0.8] * 120, skip=range(60, 120)))
    assert (found.mean, found.coverage, found.marks) == (0.8, 0.5, (Mark.GAP,))


def test_one_lost_scrape_is_bridged():
    found = a_gauge(samples([0.8] * 120, skip={50}))
    assert (found.coverage, found.marks) == (1.0, ())


def test_readings_out_of_range_are_left_out_and_marked():
    values = [0.5] * 120
    values[10], values[11] = 7.0, float("nan")
    found = a_gauge(samples(values), high=1.0)
    assert found.mean == 0.5
    assert found.coverage == pytest.approx(118 / 120)
    assert found.marks == (Mark.UNTRUSTED,)


def test_an_hour_without_any_trusted_sample_is_unmeasured_and_says_why():
    wrong = a_gauge(samples([9.0] * 120), high=1.0)
    assert wrong == Unmeasured(
        why="gpu-1 engine active: 9 is not in 0 to 1", marks=(Mark.UNTRUSTED,)
    )
    for nothing in (samples([]), samples([0.5], start=START - 3600)):
        assert a_gauge(nothing) == Unmeasured(
            why="gpu-1 engine active: no sample", marks=(Mark.GAP,)
        )


def test_a_counter_grows_from_the_sample_at_the_hours_start():
    found = a_count(samples(range(0, 1210, 10), start=START))
    assert found == Count(total=1200, coverage=1.0)


def test_a_restart_keeps_what_was_counted_before_and_after():
    found = a_count(samples([*range(100, 160), *range(60)], start=START))
    assert found.total == 59 + 59
    assert Mark.RESET in found.marks
    assert Mark.LOST not in found.marks


def test_a_restart_that_nobody_saw_is_marked_as_lost_and_its_gap_is_not_covered():
    values = [*range(1000, 1060), *range(60)]
    found = a_count(samples(values, skip=range(50, 70)))
    assert found.marks == (Mark.GAP, Mark.RESET, Mark.LOST)
    assert found.coverage == pytest.approx(1 - 21 / 120)


def test_a_counter_grows_across_a_gap_that_it_survived():
    found = a_count(samples(range(121), skip=range(30, 90)))
    assert found.total == 120
    assert found.coverage == 1.0


def test_a_counter_with_fewer_than_two_samples_did_not_stand_still():
    for few in ([], [5.0]):
        found = a_count(samples(few))
        assert isinstance(found, Unmeasured)
        assert whole(found) is None


def test_an_odd_counter_value_is_left_out_and_marked():
    values = [float(i) for i in range(121)]
    values[60] = float("nan")
    values[61] = -5.0
    found = a_count(samples(values))
    assert found == Count(total=120, coverage=1.0, marks=(Mark.UNTRUSTED,))


@given(
    growth=st.lists(st.integers(min_value=0, max_value=10**6), min_size=330, max_size=330),
    offset=st.floats(min_value=0, max_value=29.9),
    lost=st.sets(st.integers(min_value=1, max_value=300), max_size=60),
)
def test_hours_that_follow_each_other_add_up_whatever_is_lost(growth, offset, lost):
    values = np.cumsum(growth).astype(float)
    start = START - 10 * STEP + offset
    found = samples(values, start=start, skip=lost)
    hours = [a_count(found, START + n * HOUR_S) for n in range(2)]
    inside = found.seconds <= START + 2 * HOUR_S
    base = np.flatnonzero(found.seconds <= START)
    first = found.values[base[-1]] if base.size else found.values[0]
    assert sum(hour.total for hour in hours) == found.values[inside][-1] - first


@given(
    values=st.lists(st.floats(min_value=0, max_value=1), min_size=1, max_size=140),
    lost=st.sets(st.integers(min_value=0, max_value=139)),
)
def test_a_mean_lies_between_the_samples_and_coverage_within_the_hour(values, lost):
    found = a_gauge(samples(values, skip=lost), high=1.0)
    if isinstance(found, Level):
        assert 0 <= found.mean <= found.peak <= 1
        assert 0 < found.coverage <= 1


@given(
    values=st.lists(
        st.one_of(st.just(-1.0), st.floats(min_value=0, max_value=1)), min_size=1, max_size=400
    ),
    offset=st.floats(min_value=-4000, max_value=4000),
    lost=st.sets(st.integers(min_value=0, max_value=399)),
)
def test_many_hours_at_once_are_each_hour_by_itself(values, offset, lost):
    found = samples(values, start=START + offset, skip=lost)
    together = gauges(found, start_s=START, hours=4, high=1.0, what="x")
    for n, one in enumerate(together):
        alone = gauge(found, start_s=START + n * HOUR_S, high=1.0, what="x")
        assert type(one) is type(alone)
        assert one.marks == alone.marks
        if isinstance(one, Level):
            assert (one.mean, one.peak) == pytest.approx((alone.mean, alone.peak))
            assert one.coverage == pytest.approx(alone.coverage, abs=1e-9)
    measured = sum(one.coverage for one in together if isinstance(one, Level))
    assert measured * 3600 <= len(found.values) * STEP * 2.5 + 1e-6


def level(mean, **more):
    return Level(mean=mean, peak=mean, coverage=1.0, **more)


GONE = Unmeasured(why="no sample", marks=(Mark.GAP,))


def test_engine_active_counts_while_utilisation_agrees():
    assert gpu_use(level(0.4), level(0.6)).mean == 0.4
    assert gpu_use(level(0.4), GONE).mean == 0.4


def test_two_metrics_that_contradict_each_other_are_not_trusted():
    found = gpu_use(level(0.02), level(0.97))
    assert isinstance(found, Unmeasured)
    assert found.why == "engine-active says 2% and utilisation 97%, more than 25% apart"
    assert Mark.UNTRUSTED in found.marks


def test_utilisation_stands_in_for_a_gpu_without_profiling_and_is_marked():
    found = gpu_use(GONE, level(0.7))
    assert (found.mean, found.marks) == (0.7, (Mark.SECOND_CHOICE,))
    assert gpu_use(GONE, GONE) == GONE


def test_a_host_with_one_silent_gpu_is_not_measured():
    assert mean_of([level(0.2), level(0.6)], what="gpu").mean == pytest.approx(0.4)
    assert mean_of([level(0.2), GONE], what="gpu") == GONE
    assert mean_of([], what="gpus of gpu-1") == Unmeasured(
        why="gpus of gpu-1: there is none", marks=(Mark.GAP,)
    )


def test_samples_must_be_told_apart():
    with pytest.raises(InputError, match="same time"):
        Samples.of([(1, 1), (1, 2)], step_s=30)
    with pytest.raises(InputError, match="step_s is 0"):
        Samples.of([(1, 1)], step_s=0)
