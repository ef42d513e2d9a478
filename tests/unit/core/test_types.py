import pytest
from pydantic import ValidationError

from greenlight.core.types import Value


class Point(Value):
    x: int


def test_a_value_is_frozen():
    with pytest.raises(ValidationError):
        Point(x=1).x = 2


def test_an_unknown_key_is_refused():
    with pytest.raises(ValidationError):
        Point.model_validate({"x": 1, "y": 2})
