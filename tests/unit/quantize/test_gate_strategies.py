import pytest
from pydantic import ValidationError
from quantize_worlds import metric

from greenlight.quantize.gate_strategies.ceiling import Ceiling
from greenlight.quantize.gate_strategies.floor import Floor
from greenlight.quantize.gate_strategies.identity import Identity
from greenlight.quantize.gate_strategies.limit import Limit
from greenlight.quantize.gate_strategies.non_inferiority import NonInferiority
from greenlight.quantize.gate_strategies.reduction import Reduction
from greenlight.quantize.measurements import Verdict

COMMON = {"name": "g", "metric": "m"}
PERPLEXITY = NonInferiority(**COMMON, margin=0.05, better="lower", scale="ratio")
RECOVERY = NonInferiority(**COMMON, margin=0.05, better="higher", scale="ratio")
POINTS = NonInferiority(**COMMON, margin=0.05, better="higher", scale="difference")


def m(value, low=None, high=None, **kwargs):
    return metric("m", value, low=low, high=high, **kwargs)


@pytest.mark.parametrize(
    ("gate", "found", "verdict"),
    [
        (PERPLEXITY, m(1.02, 1.00, 1.04), Verdict.PASS),
        (PERPLEXITY, m(1.04, 1.02, 1.06), Verdict.INSUFFICIENT),
        (PERPLEXITY, m(1.08, 1.06, 1.10), Verdict.FAIL),
        (RECOVERY, m(0.99, 0.96, 1.02), Verdict.PASS),
        (RECOVERY, m(0.97, 0.94, 1.00), Verdict.INSUFFICIENT),
        (RECOVERY, m(0.90, 0.87, 0.93), Verdict.FAIL),
        (POINTS, m(0.0, -0.04, 0.04), Verdict.PASS),
        (POINTS, m(-0.02, -0.06, 0.02), Verdict.INSUFFICIENT),
        (POINTS, m(-0.10, -0.14, -0.06), Verdict.FAIL),
    ],
)
def test_non_inferiority_is_proven_disproven_or_open(gate, found, verdict):
    assert gate.judge(found).verdict is verdict


def test_a_value_inside_the_margin_without_proof_is_not_enough():
    result = POINTS.judge(m(-0.02, -0.06, 0.02, deviation=0.35))
    assert result.verdict is Verdict.INSUFFICIENT
    assert result.n_needed == 1474  # (3.29 * 0.35 / 0.03)²
    assert result.bound == -0.06


def test_a_number_without_an_interval_proves_nothing():
    assert PERPLEXITY.judge(m(1.0)).verdict is Verdict.INSUFFICIENT


def test_a_limit_on_both_sides_is_an_equivalence_test():
    gate = Limit(**COMMON, min=0.9, max=1.1)
    assert gate.judge(m(1.0, 0.95, 1.05)).verdict is Verdict.PASS
    assert gate.judge(m(1.0, 0.85, 1.05)).verdict is Verdict.INSUFFICIENT
    assert gate.judge(m(1.2, 1.15, 1.25)).verdict is Verdict.FAIL
    assert gate.judge(m(0.8, 0.75, 0.85)).limit == 0.9


def test_a_limit_on_an_exact_count_needs_no_interval():
    gate = Limit(**COMMON, max=0.01, uses="value")
    assert gate.judge(m(0.01)).verdict is Verdict.PASS
    assert gate.judge(m(0.011)).verdict is Verdict.FAIL


@pytest.mark.parametrize("limits", [{}, {"min": 1.0, "max": 0.5}])
def test_a_limit_that_limits_nothing_is_refused(limits):
    with pytest.raises(ValidationError):
        Limit(**COMMON, **limits)


def test_identity_forgives_nothing():
    gate = Identity(**COMMON, equals=1)
    assert gate.judge(m(1.0, 0.97, 1.0)).verdict is Verdict.PASS
    assert gate.judge(m(0.99, 0.95, 1.0)).verdict is Verdict.FAIL


def test_a_reduction_counts_against_the_baseline_it_names():
    gate = Reduction(**COMMON, at_least_reduced=0.6, baseline="fp32")
    assert gate.judge(m(0.4, baseline="parent float32")).verdict is Verdict.PASS
    assert gate.judge(m(0.41, baseline="parent fp32")).verdict is Verdict.FAIL
    assert gate.judge(m(0.2, baseline="parent bfloat16")).verdict is Verdict.INSUFFICIENT
    assert gate.judge(m(0.2)).verdict is Verdict.INSUFFICIENT


def test_a_floor_uses_the_lower_bound_where_there_is_one():
    gate = Floor(**COMMON, min=0.5)
    assert gate.judge(m(0.6)).verdict is Verdict.PASS
    assert gate.judge(m(0.4)).verdict is Verdict.FAIL
    assert gate.judge(m(0.55, 0.4, 0.7)).verdict is Verdict.INSUFFICIENT
    assert gate.judge(m(0.4, 0.35, 0.45)).verdict is Verdict.FAIL


def test_a_ceiling_fails_only_on_proof():
    gate = Ceiling(**COMMON, margin=0.02, better="lower", scale="ratio")
    assert gate.judge(m(0.97, 0.95, 0.99)).verdict is Verdict.PASS
    assert gate.judge(m(0.95, 0.93, 0.97)).verdict is Verdict.FAIL
    assert gate.judge(m(0.95)).verdict is Verdict.INSUFFICIENT
    higher = Ceiling(**COMMON, margin=0.05, better="higher", scale="difference")
    assert higher.judge(m(0.10, 0.06, 0.14)).verdict is Verdict.FAIL
