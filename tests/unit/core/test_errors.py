import pytest

from greenlight.core import errors


@pytest.mark.parametrize("name", ["GateError", "InputError", "RefusedError", "ProcessDiedError"])
def test_an_error_class_is_found_by_the_name_that_crossed_a_process_boundary(name):
    assert errors.by_name(name) is getattr(errors, name)


@pytest.mark.parametrize("name", ["KeyError", "annotations", "by_name", ""])
def test_a_bug_under_another_name_is_permanent(name):
    assert errors.by_name(name) is errors.PermanentError


def test_nothing_is_both_permanent_and_worth_a_retry():
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    for found in classes:
        assert not (
            issubclass(found, errors.PermanentError) and issubclass(found, errors.RetryableError)
        )
