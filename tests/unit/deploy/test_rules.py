import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.deploy.bounds import Bounds
from greenlight.deploy.rules import Comparison, Levels, Limits, RuleResult, Verdict

LEVELS = Levels(to_pass=0.95, to_fail=0.999)
AT_MOST = Limits(at_most=1.2)


def comparison(value, reach, *, limits=AT_MOST, n=100):
    """Bounds reach farther at the confidence of a fail than at that of a pass, as always."""

    def at(confidence):
        wide = reach * (2 if confidence == LEVELS.to_fail else 1)
        return Bounds(value=value, low=value - wide, high=value + wide)

    return Comparison(
        rule="a rule",
        says="the numbers",
        bounds_at=at,
        limits=limits,
        limit_says="1.2",
        show="{:.2f}".format,
        blue=1.0,
        green=value,
        n_blue=n,
        n_green=n,
        fewest=10,
    ).judged(LEVELS)


@pytest.mark.parametrize(
    ("value", "reach", "verdict"),
    [
        (1.0, 0.2, Verdict.PASS),
        (1.0, 0.21, Verdict.INSUFFICIENT),
        (1.5, 0.14, Verdict.FAIL),
        (1.5, 0.16, Verdict.INSUFFICIENT),
    ],
)
def test_only_a_bound_beyond_the_limit_decides(value, reach, verdict):
    assert comparison(value, reach).verdict is verdict


def test_a_fail_is_shown_with_the_bounds_that_prove_it():
    found = comparison(1.5, 0.1)
    assert (found.low, found.confidence) == (pytest.approx(1.3), LEVELS.to_fail)
    passed = comparison(1.0, 0.1)
    assert (passed.high, passed.confidence) == (pytest.approx(1.1), LEVELS.to_pass)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(1.0, Verdict.PASS), (0.5, Verdict.FAIL), (1.5, Verdict.FAIL), (0.85, Verdict.INSUFFICIENT)],
)
def test_a_limit_on_both_sides_is_kept_or_broken_on_either(value, verdict):
    found = comparison(value, 0.1, limits=Limits(at_least=0.8, at_most=1.2))
    assert found.verdict is verdict


def test_an_undecided_rule_says_how_many_requests_would_decide_it():
    found = comparison(1.1, 0.2)
    assert found.n_needed == pytest.approx(400, abs=1)
    assert "settle" in found.reason


def test_an_estimate_beyond_the_limit_is_not_promised_to_pass_with_more_requests():
    assert comparison(1.25, 0.2).n_needed is None


@given(
    value=st.floats(0.5, 2), worse=st.floats(0, 1), reach=st.floats(0, 1), n=st.integers(1, 10_000)
)
def test_a_higher_estimate_never_improves_the_verdict(value, worse, reach, n):
    order = [Verdict.FAIL, Verdict.INSUFFICIENT, Verdict.PASS]
    before, after = comparison(value, reach, n=n), comparison(value + worse, reach, n=n)
    assert order.index(after.verdict) <= order.index(before.verdict)


def test_an_infinite_number_leaves_as_null():
    result = RuleResult(
        rule="a rule", verdict=Verdict.FAIL, reason="all failed", estimate=math.inf, low=2.0
    )
    assert (result.to_json()["estimate"], result.to_json()["low"]) == (None, 2.0)
