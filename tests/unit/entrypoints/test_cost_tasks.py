from datetime import timedelta

import pytest
from cost_tools_worlds import HOUR, tools

from greenlight.core.errors import GateError
from greenlight.entrypoints import cost_tasks


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = tools(tmp_path)
    monkeypatch.setattr(cost_tasks, "open_tools", lambda: made)
    return made


def iso(*back):
    return [(HOUR - timedelta(hours=n)).isoformat() for n in back]


def test_hours_go_from_task_to_task_as_text(world):
    due = cost_tasks.find_due("", "")
    assert due[-1] == HOUR.isoformat()
    done = cost_tasks.compute(due[-2:])
    assert done == {"computed": 2, "aside": 0, "news": []}
    assert cost_tasks.report_aside(done) == done


def test_hours_of_the_past_are_found_whatever_is_due(world):
    assert cost_tasks.find_due("2026-11-24T08", "2026-11-24T10") == iso(2, 1)
    assert cost_tasks.find_due("2026-11-24T10:00+02:00", "2026-11-24T09")[0] == iso(2)[0]


def test_an_hour_that_is_first_kept_aside_fails_the_run_at_its_end(world):
    world.check.problems[HOUR] = ("the exporter counts wrongly",)
    done = cost_tasks.compute(iso(1, 0))
    assert (done["computed"], done["aside"], len(done["news"])) == (1, 1, 1)
    with pytest.raises(GateError, match=r"1 hours are kept aside.*the exporter counts wrongly"):
        cost_tasks.report_aside(done)


def test_an_hour_that_stays_aside_is_no_news_but_another_reason_is(world):
    world.check.problems[HOUR] = ("the exporter counts wrongly",)
    cost_tasks.compute(iso(0))
    again = cost_tasks.compute(iso(0))
    assert (again["aside"], again["news"]) == (1, [])
    assert cost_tasks.report_aside(again) == again
    world.check.problems[HOUR] = ("nothing was measured",)
    with pytest.raises(GateError, match="nothing was measured"):
        cost_tasks.report_aside(cost_tasks.compute(iso(0)))


def test_advice_is_plain_json(world):
    found = cost_tasks.advise()["hosts"]
    host = found[0]
    assert (host["host"], host["target"], host["monthly_saving"]) == ("gpu-1", "small", "1095.00")
    assert host["resources"]["cpu"]["answer"] == "size"
