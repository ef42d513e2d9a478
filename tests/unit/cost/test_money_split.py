from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlight.core.errors import InputError
from greenlight.cost.money import from_nanos, split, to_nanos

WEIGHTS = st.lists(
    st.floats(min_value=0, allow_infinity=False, allow_nan=False), min_size=1, max_size=40
).filter(lambda weights: max(weights) > 0)
TOTALS = st.integers(min_value=-(10**20), max_value=10**20)


@given(total=TOTALS, weights=WEIGHTS)
def test_what_is_shared_out_adds_up_to_what_there_was(total, weights):
    assert sum(split(total, weights)) == total


@given(total=st.integers(min_value=0, max_value=10**20), weights=WEIGHTS)
def test_nobody_gets_a_whole_unit_more_or_less_than_is_due(total, weights):
    largest = max(weights)
    whole = [round(weight / largest * 2**50) for weight in weights]
    for part, weight in zip(split(total, weights), whole, strict=True):
        due = total * weight / sum(whole)
        assert abs(part - due) <= 1 + abs(due) * 1e-12


@given(total=TOTALS, weights=WEIGHTS)
def test_who_weighs_nothing_gets_nothing_and_a_credit_is_shared_like_a_debt(total, weights):
    parts = split(total, weights)
    assert all(part == 0 for part, weight in zip(parts, weights, strict=True) if not weight)
    assert split(-total, weights) == tuple(-part for part in parts)


def test_the_units_left_go_to_the_largest_remainders_then_to_the_first():
    assert split(10, [1, 1, 1]) == (4, 3, 3)
    assert split(100, [0.335, 0.335, 0.33]) == (34, 33, 33)
    assert split(1, [1.0, 2.0]) == (0, 1)


@pytest.mark.parametrize(
    "weights", [[], [0.0, 0.0], [1.0, -0.1], [float("nan"), 1.0], [float("inf"), 1.0]]
)
def test_weights_that_say_nothing_are_refused(weights):
    with pytest.raises(InputError, match="can be shared out by"):
        split(5, weights)


def test_amounts_go_to_billionths_and_back():
    assert to_nanos(Decimal("1.0000000005")) == 1_000_000_000
    assert to_nanos(Decimal("1.0000000015")) == 1_000_000_002
    assert from_nanos(1_258_000_000) == Decimal("1.258")
    with pytest.raises(InputError, match="no amount of money"):
        to_nanos(Decimal("NaN"))
