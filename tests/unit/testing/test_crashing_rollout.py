from datetime import UTC, datetime

import pytest

from greenlight.core.errors import InputError
from greenlight.deploy.journal import Event, Phase, Step
from greenlight.testing.crashing_rollout import AFTER, BEFORE, Point, ended


def test_a_point_is_read_as_it_was_written():
    point = Point(phase=Phase.DONE, step=Step.ROLL_BACK, subject="50", side=AFTER)
    assert str(point) == "done:roll back:50:after"
    assert Point.parse(str(point)) == point


@pytest.mark.parametrize("text", ["done:shift:50", "done:jump:50:after", "done:shift:50:beside"])
def test_what_is_no_point_is_refused(text):
    with pytest.raises(InputError, match=text):
        Point.parse(text)


def test_a_point_is_on_one_side_of_one_entry():
    point = Point.parse("done:shift:50:before")
    event = Event(
        rollout_id="r", at=datetime.now(UTC), step=Step.SHIFT, phase=Phase.DONE, subject="50"
    )
    assert point.is_at(BEFORE, event)
    assert not point.is_at(AFTER, event)
    assert not Point.parse("began:shift:50:before").is_at(BEFORE, event)
    assert not Point.parse("done:shift:100:before").is_at(BEFORE, event)


def test_a_controller_that_was_killed_left_no_word(tmp_path):
    assert ended(tmp_path, "r") == {}
