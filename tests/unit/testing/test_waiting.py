import pytest

from greenlight.testing.waiting import wait_for


def test_what_comes_true_later_is_returned():
    answers = iter([[], [], ["found"]])
    assert wait_for(lambda: next(answers), every_s=0) == ["found"]


def test_what_never_comes_true_fails_and_says_what_is_known():
    with pytest.raises(AssertionError, match=r"not so after 0\.01 s: 3 of 4 are up"):
        wait_for(lambda: False, seconds=0.01, every_s=0.001, why=lambda: "3 of 4 are up")
