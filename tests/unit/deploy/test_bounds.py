import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from greenlight.deploy import bounds
from greenlight.deploy.bounds import Bounds


@pytest.mark.parametrize(("n", "p"), [(5, 0.5), (27, 0.5), (505, 0.95), (2628, 0.99), (40, 0.95)])
@pytest.mark.parametrize("confidence", [0.95, 0.99, 0.9997])
def test_rank_bounds_err_no_more_than_promised_and_are_the_closest_that_do(n, p, confidence):
    low, _, high = bounds.ranks(n, p, confidence)
    alpha = 1 - confidence
    assert stats.binom.cdf(low - 1, n, p) <= alpha + 1e-12
    assert stats.binom.cdf(low, n, p) > alpha
    assert stats.binom.sf(high - 1, n, p) <= alpha + 1e-12
    assert high == 1 or stats.binom.sf(high - 2, n, p) > alpha - 1e-12


def test_few_values_do_not_bound_a_tail():
    found = bounds.quantile(np.arange(1.0, 21.0), 0.95, 0.99)
    assert found.high == math.inf
    assert found.low > 0


def test_failed_requests_leave_the_quantile_unbounded_above_before_they_move_it():
    values = np.array([1.0] * 95 + [math.inf] * 5)
    found = bounds.quantile(values, 0.95, 0.99)
    assert (found.value, found.high) == (1.0, math.inf)


@pytest.mark.parametrize(("hits", "n"), [(0, 50), (3, 50), (50, 50)])
def test_a_share_is_bounded_as_scipy_bounds_it_exactly(hits, n):
    exact = stats.binomtest(hits, n).proportion_ci(confidence_level=0.98, method="exact")
    found = bounds.share(hits, n, 0.99)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_a_mean_is_bounded_by_students_t():
    values = np.array([3.0, 4.0, 8.0, 5.0])
    low, high = stats.t.interval(0.98, 3, loc=values.mean(), scale=stats.sem(values))
    found = bounds.mean(values, 0.99)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_one_value_bounds_no_mean():
    assert bounds.mean(np.array([7.0]), 0.99) == Bounds(value=7.0, low=-math.inf, high=math.inf)


def test_the_difference_of_two_colours_is_bounded_closer_than_by_subtracting():
    green, blue = bounds.share(6, 100, 0.99), bounds.share(3, 100, 0.99)
    found = bounds.difference(green, blue)
    assert green.low - blue.high < found.low < found.value < found.high < green.high - blue.low


@pytest.mark.parametrize("blue_high", [2.0, math.inf])
def test_a_quantile_that_is_a_failed_request_is_compared_by_its_bounds_alone(blue_high):
    green = Bounds(value=math.inf, low=6.0, high=math.inf)
    found = bounds.ratio(green, Bounds(value=1.0, low=0.5, high=blue_high))
    assert found.low == pytest.approx(6.0 / blue_high)
    assert found.value == found.high == math.inf


def test_an_empty_answer_gives_a_ratio_near_zero_not_an_error():
    empty = Bounds(value=0.0, low=0.0, high=0.0)
    found = bounds.ratio(empty, Bounds(value=5.0, low=4.0, high=6.0))
    assert found.low <= found.value <= found.high < 1e-9


@given(
    values=st.lists(st.floats(0.001, 1e3), min_size=2, max_size=60),
    p=st.sampled_from([0.5, 0.9]),
    added=st.floats(0, 100),
)
def test_bounds_enclose_their_value_and_rise_with_it(values, p, added):
    blue = bounds.quantile(np.array(values), p, 0.99)
    later = np.array(values)
    later[::2] += added
    worse = bounds.quantile(later, p, 0.99)
    equal, found = bounds.ratio(blue, blue), bounds.ratio(worse, blue)
    assert found.low <= found.value <= found.high
    assert found.low >= equal.low * (1 - 1e-9)
    assert found.high >= equal.high * (1 - 1e-9)


def test_equal_times_exceed_a_ratio_bound_no_more_often_than_promised():
    rng = np.random.default_rng(11)
    wrong = 0
    for _ in range(1000):
        green, blue = (bounds.quantile(rng.lognormal(0, 1, 120), 0.5, 0.95) for _ in range(2))
        wrong += bounds.ratio(green, blue).high < 1
    assert wrong / 1000 < stats.binom.isf(0.001, 1000, 0.05) / 1000
    assert wrong > 5, "a bound that never errs is too wide to be of use"
