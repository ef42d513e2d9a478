from decimal import Decimal

import pytest

from greenlight.core.errors import InputError
from greenlight.cost.reconciliation import Agreement, OutsideBill, reconcile


def theirs(**amounts):
    return OutsideBill(
        source="Cost Explorer",
        currency="USD",
        amounts={key: Decimal(value) for key, value in amounts.items()},
        estimated=True,
    )


def compared(ours, outside, tolerance=0.02):
    ours = {key: Decimal(value) for key, value in ours.items()}
    return reconcile(ours, outside, currency="USD", tolerance=tolerance)


def test_a_difference_within_the_tolerance_agrees_and_is_shown():
    found = compared({"ec2": "101"}, theirs(ec2="100"))
    assert found.agrees
    assert found.amount == 1
    assert found.differences[0].share == pytest.approx(0.01)


def test_a_larger_difference_does_not_agree():
    found = compared({"ec2": "103", "s3": "5"}, theirs(ec2="100", s3="5"))
    assert not found.agrees
    assert [(one.key, one.agreement) for one in found.differences] == [
        ("ec2", Agreement.BEYOND),
        ("s3", Agreement.WITHIN),
    ]


def test_what_only_one_side_has_is_named_and_not_taken_as_zero():
    found = compared({"ec2": "10"}, theirs(tax="4"))
    assert [(one.key, one.ours, one.theirs, one.agreement) for one in found.differences] == [
        ("ec2", Decimal(10), None, Agreement.ONLY_OURS),
        ("tax", None, Decimal(4), Agreement.ONLY_THEIRS),
    ]
    assert not found.agrees


def test_a_bill_of_zero_has_a_difference_without_a_share():
    found = compared({"ec2": "1"}, theirs(ec2="0"))
    assert (found.differences[0].share, found.agrees) == (None, False)


def test_two_currencies_are_not_compared():
    with pytest.raises(InputError, match=r"EUR.*Cost Explorer in USD"):
        reconcile({}, theirs(), currency="EUR", tolerance=0.1)
