"""The dashboards are what their Python says, ask for what exists, and lead to a runbook."""

import json
import shutil
import subprocess
import sys

import pytest
import yaml
from promql import unknown_in
from test_alert_rules import RULE_FILES, anchors, promtool, rules, run_promtool

from greenlight.core.settings import PROJECT

FOLDER = PROJECT / "monitoring/grafana"
sys.path.insert(0, str(FOLDER))
from boards import BOARDS  # noqa: E402
from generate import CONSOLES, DASHBOARDS, console, dashboard, everything, index  # noqa: E402

PANELS = [(board, panel) for board in BOARDS for panel in board.panels]
each_panel = pytest.mark.parametrize(
    ("board", "panel"), PANELS, ids=[f"{board.uid}: {panel.title}" for board, panel in PANELS]
)
RECORDED = {one["record"] for path in RULE_FILES for one in rules(path) if "record" in one}


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_what_is_committed_is_what_the_boards_say(board):
    found = (DASHBOARDS / f"{board.uid}.json").read_text()
    assert found == dashboard(board), "run `make dashboards`, and commit what it writes"
    assert (CONSOLES / f"{board.uid}.html").read_text() == console(board)


def test_every_page_has_a_board():
    assert {path.stem for path in DASHBOARDS.glob("*.json")} == {board.uid for board in BOARDS}
    assert {path.stem for path in CONSOLES.glob("*.html")} == {
        "index",
        *(board.uid for board in BOARDS),
    }
    assert (CONSOLES / "index.html").read_text() == index()


@each_panel
def test_every_panel_asks_for_metrics_that_somebody_exposes(board, panel):
    assert panel.queries
    for query in panel.queries:
        assert not unknown_in(query.expr, recorded=RECORDED)


def test_a_metric_that_nobody_exposes_is_found():
    assert unknown_in('sum by (le) (rate(made_up_total{a="b",up="c"}[5m])) > on (x) up') == {
        "made_up_total"
    }


@each_panel
def test_every_panel_says_what_it_shows(board, panel):
    assert panel.about.endswith(".")
    assert panel.title


@pytest.mark.parametrize("panel", [p for _, p in PANELS if p.runbook], ids=lambda p: p.title)
def test_a_panel_leads_to_a_page_that_exists(panel):
    page, _, anchor = panel.runbook.partition("#")
    assert anchor in anchors(PROJECT / page)


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_no_dashboard_names_a_data_source_of_its_own(board):
    made = json.loads(dashboard(board))
    panels = [panel for panel in made["panels"] if panel["type"] != "row"]
    sources = [
        made["annotations"]["list"][0]["datasource"],
        *(panel["datasource"] for panel in panels),
        *(target["datasource"] for panel in panels for target in panel["targets"]),
    ]
    assert {source["uid"] for source in sources} == {"${datasource}"}
    assert made["templating"]["list"][0]["type"] == "datasource"
    assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in panels)


@promtool
def test_prometheus_can_read_every_query(tmp_path):
    """promtool reads rules only, so every query becomes one."""
    queries = [everything(q.expr, board) for board, panel in PANELS for q in panel.queries]
    path = tmp_path / "queries.yml"

    def check(expressions):
        recorded = [{"record": f"q:{n}", "expr": e} for n, e in enumerate(expressions)]
        path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
        return run_promtool("check", "rules", path)

    done = check(queries)
    assert done.returncode == 0, done.stdout + done.stderr
    assert check([*queries, "sum(rate("]).returncode != 0


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_there_is_a_command_that_writes_them():
    command = ["make", "-n", "dashboards"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert "monitoring/grafana/generate.py" in done.stdout
