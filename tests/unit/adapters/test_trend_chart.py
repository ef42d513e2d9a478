from datetime import UTC, datetime, timedelta

import pytest

from greenlight.adapters.trend_chart import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    TrendPoint,
    line_styles,
    trend_of,
)

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def points(*values, line="region a", outcome="pass"):
    return [
        TrendPoint(at=NOON + timedelta(days=day), value=value, line=line, outcome=outcome)
        for day, value in enumerate(values)
    ]


@pytest.mark.parametrize("values", [(41.0,), (0.0,), (3.0, 4000.0), (0.02, 0.04), (900.0,) * 30])
@pytest.mark.parametrize("target", [0.5, 60, 900, 86400])
def test_everything_is_inside_the_frame(values, target):
    trend = trend_of(points(*values), target=target)
    places = [tick.place for tick in trend.ticks] + [mark.y for mark in trend.marks]
    if trend.target_y is not None:
        places.append(trend.target_y)
    assert all(TOP <= place <= BOTTOM for place in places)
    assert all(LEFT <= mark.x <= RIGHT for mark in trend.marks)
    assert all(LEFT <= date.place <= RIGHT for date in trend.dates)


@pytest.mark.parametrize("highest", [0.03, 1, 41, 119, 900, 7000, 200_000, 10_000_000])
def test_a_drawing_has_few_and_different_grid_lines(highest):
    trend = trend_of(points(highest), target=highest)
    texts = [tick.text for tick in trend.ticks]
    assert 3 <= len(texts) <= 7
    assert len(set(texts)) == len(texts)


def test_a_higher_value_is_drawn_higher_and_a_later_one_further_right():
    low, high = trend_of(points(10.0, 20.0), target=30).marks
    assert high.y < low.y
    assert low.x < high.x


def test_units_fit_the_numbers():
    assert trend_of(points(41.0), target=60).target_says == "target 60 s"
    assert trend_of(points(600.0), target=900).target_says == "target 15 min"


def test_a_target_far_above_is_named_and_not_drawn():
    trend = trend_of(points(41.0), target=900)
    assert (trend.target_y, trend.target_says) == (None, "target 900 s, above")
    assert trend_of(points(41.0), target=100).target_y is not None


def test_what_was_not_measured_is_a_gap_and_never_a_zero():
    trend = trend_of(points(10.0, 11.0, None, 12.0, 13.0), target=20)
    assert len(trend.lines) == 2
    assert [mark.is_measured for mark in trend.marks] == [True, True, False, True, True]
    assert "not measured" in trend.marks[2].says


def test_a_number_that_was_never_measured_has_no_drawing():
    assert trend_of(points(None, None), target=20) is None
    assert trend_of([], target=20) is None


def test_every_line_has_dashes_of_its_own():
    both = points(1.0, 2.0) + points(3.0, 4.0, line="region b")
    dashes = [dashes for dashes, _ in trend_of(both, target=5).lines]
    assert dashes == list(line_styles(both).values()) == ["", "5 4"]


def test_a_mark_says_when_where_how_much_and_what_came_of_it():
    (mark,) = trend_of(points(41.04, outcome="fail"), target=60).marks
    assert mark.says == "2026-11-25 12:00 UTC, region a: 41 s, fail"


def test_one_day_is_named_once():
    twice = points(1.0) + points(2.0)
    assert [date.text for date in trend_of(twice, target=5).dates] == ["2026-11-25"]
