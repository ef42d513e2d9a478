"""One look at a Prometheus that a test decides."""

import json
import math
from datetime import UTC, datetime

import pytest

from greenlight.entrypoints.top import ALL, COST_HOUR, ENGINES, LIVE, MODELS, Cell, look

NOW = datetime(2026, 11, 26, 7, 0, tzinfo=UTC)
GREEN = {"fleet": "one", "host": "gpu-1", "colour": "green"}
BLUE = GREEN | {"colour": "blue"}


def at(answers):
    return look(lambda expression: answers.get(expression, []), at=NOW)


def test_what_nobody_measures_is_no_data_and_never_zero():
    view = at({})
    assert set(view.everything.cells.values()) == {None}
    assert (view.models, view.engines, view.cost_hour) == ((), (), None)
    assert json.loads(json.dumps(view.to_json()))["gateway"]["tokens_per_s"] is None


def test_a_row_has_every_cell_though_only_some_are_measured():
    (row,) = at({ENGINES[Cell.WAITING]: [(GREEN, 3.0)]}).engines
    assert row.labels == GREEN
    assert row.cells[Cell.WAITING] == 3
    assert set(row.cells) == {*ENGINES, Cell.LIVE}
    assert [cell for cell, value in row.cells.items() if value is not None] == [Cell.WAITING]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_quantile_of_no_request_is_no_data(value):
    view = at({MODELS[Cell.TTFT_P95]: [({"model": "m"}, value)], ALL[Cell.FAILED]: [({}, value)]})
    assert view.models[0].cells[Cell.TTFT_P95] is None
    assert view.everything.cells[Cell.FAILED] is None


def test_a_measured_zero_is_zero():
    view = at({ENGINES[Cell.WAITING]: [(GREEN, 0.0)], ALL[Cell.FAILED]: [({}, 0.0)]})
    assert view.engines[0].cells[Cell.WAITING] == 0
    assert view.everything.cells[Cell.FAILED] == 0


def test_engines_are_told_apart_and_the_one_that_serves_is_known():
    answers = {
        ENGINES[Cell.UP]: [(GREEN, 1.0), (BLUE, 0.0), (BLUE | {"fleet": "two"}, 1.0)],
        LIVE: [({"fleet": "one", "colour": "green"}, 3.0)],
    }
    live = {
        (r.labels["fleet"], r.labels["colour"]): r.cells[Cell.LIVE] for r in at(answers).engines
    }
    assert live == {("one", "green"): 1, ("one", "blue"): 0, ("two", "blue"): None}


def test_costs_say_which_hour_they_are_of():
    made = at({COST_HOUR: [({}, NOW.timestamp() - 7200)]})
    assert made.cost_hour == datetime(2026, 11, 26, 5, 0, tzinfo=UTC)
    assert made.to_json()["cost_hour"] == "2026-11-26T05:00:00+00:00"
