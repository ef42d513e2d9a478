from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from cost_report_worlds import a_day, days, expected

from greenlight.adapters.cost_chart_frame import BOTTOM, LEFT, RIGHT, TOP
from greenlight.adapters.cost_charts import daily, heat, lines, savings
from greenlight.adapters.cost_charts import outlook as outlook_chart
from greenlight.cost.report import SavingRow

FIRST = date(2026, 11, 1)
UNKNOWN_DAY = dict.fromkeys(("serving", "warm", "idle", "unmeasured", "overhead"))


def calendar(count):
    return [FIRST + timedelta(days=n) for n in range(count)]


def test_the_parts_of_a_day_stand_on_each_other_and_reach_its_bill():
    chart = daily([a_day(0), a_day(1)])
    first = [block for block in chart.blocks if "1 Nov" in block.says]
    assert [block.kind for block in first] == ["serving", "warm", "idle", "overhead"]
    assert first[0].y + first[0].height == pytest.approx(BOTTOM)
    for below, above in pairwise(first):
        assert above.y + above.height == pytest.approx(below.y, abs=0.11)
    per_pixel = float(a_day(0).total) / (BOTTOM - first[-1].y)
    assert first[0].height * per_pixel == pytest.approx(float(a_day(0).serving), rel=0.01)


def test_everything_is_inside_the_frame():
    blocks = daily(days()).blocks
    assert all(block.x >= LEFT and block.x + block.width <= RIGHT + 0.1 for block in blocks)
    assert all(block.y >= TOP and block.height >= 0 for block in blocks)


def test_a_day_without_a_bill_is_a_question_mark_and_no_bar():
    chart = daily([a_day(0), a_day(1, **UNKNOWN_DAY)])
    assert len(chart.gaps) == 1
    assert not any("2 Nov" in block.says for block in chart.blocks)
    assert daily([a_day(0, **UNKNOWN_DAY)]) is None


def test_a_day_with_missing_hours_says_so():
    chart = daily([a_day(0, hours_missing=3)])
    assert len(chart.gaps) == 1
    assert "3 h without a bill" in chart.blocks[0].says


def test_a_line_is_broken_where_a_day_is_unknown():
    chart = lines(calendar(5), {"a": [1.0, 2.0, None, 3.0, 3.0]})
    assert [line.kind for line in chart.lines] == ["a", "a"]
    assert len(chart.gaps) == 1


def test_a_day_between_two_unknown_ones_is_still_seen():
    chart = lines(calendar(3), {"a": [None, 2.0, None]})
    assert len(chart.lines) == 1
    assert "L" in chart.lines[0].d


def test_nothing_known_has_no_chart():
    assert lines(calendar(2), {"a": [None, None]}) is None
    assert outlook_chart([a_day(0, **UNKNOWN_DAY)], (), budget=5.0) is None
    assert savings(()) is None
    assert heat(()) is None
    assert heat([[None] * 24] * 7) is None


def test_shares_are_drawn_to_a_hundred_percent_at_most():
    chart = lines(calendar(2), {"a": [0.97, 1.0]}, percent=True)
    assert chart.grid[-1].says == "100%"


def test_what_is_expected_begins_where_what_is_spent_ends():
    chart = outlook_chart([a_day(n) for n in range(26)], list(expected(days())), budget=6600.0)
    ends = {line.kind: line.d for line in chart.lines}
    assert ends["spent"].rsplit("L", 1)[1] == ends["expected"][1:].split("L", 1)[0]
    assert [area.kind for area in chart.areas] == ["band95", "band80", "band50"]
    assert chart.notes[0].says == "budget 6600"


def test_after_an_hour_without_a_bill_the_line_is_a_lower_bound():
    there = [a_day(n, hours_missing=2 if n == 5 else 0) for n in range(8)]
    chart = outlook_chart(there, (), budget=None)
    assert [line.kind for line in chart.lines] == ["spent", "at-least"]


def test_the_line_ends_where_a_day_has_no_bill():
    there = [a_day(0), a_day(1), a_day(2, **UNKNOWN_DAY), a_day(3)]
    (line,) = outlook_chart(there, (), budget=None).lines
    assert line.d.count("L") == 1


def test_a_budget_far_above_is_named_and_does_not_flatten_the_rest():
    chart = outlook_chart([a_day(0), a_day(1)], (), budget=1e6)
    assert all(line.kind != "budget" for line in chart.lines)
    assert "far above" in chart.notes[0].says


def test_a_saving_that_is_not_measured_yet_is_a_question_mark():
    rows = [
        SavingRow(month="Oct", advised=Decimal(10), realised=Decimal(8)),
        SavingRow(month="Nov", advised=Decimal(10), realised=None),
    ]
    chart = savings(rows)
    assert [block.kind for block in chart.blocks] == ["advised", "realised", "advised"]
    assert len(chart.gaps) == 1


def test_an_hour_that_was_not_measured_is_not_an_empty_one():
    rows = [[0.0] * 24 for _ in range(7)]
    rows[0][3] = None
    found = heat(rows)
    assert [cell.share for cell in found.cells[:5]] == [0.0, 0.0, 0.0, None, 0.0]
    assert found.cells[3].says == "Mon 03:00 UTC: not measured"
