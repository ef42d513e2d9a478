"""Every alert can fire, can be quiet, says something when its data is missing, and has a page."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml
from promql import metrics_in, unknown_in

from greenlight.core.settings import PROJECT

FOLDER = PROJECT / "monitoring/prometheus"
RULE_FILES = sorted((FOLDER / "rules").glob("*.yml"))
TEST_FILES = sorted((FOLDER / "tests").glob("*_test.yml"))
SEVERITIES = {"critical", "warning"}
QUIET, NOTHING = "all is well", "nothing is measured"

promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing: apt install prometheus"
)


@cache
def read(path):
    return yaml.safe_load(path.read_text())


def rules(path):
    return [rule for group in read(path)["groups"] for rule in group["rules"]]


ALERTS = [(path, rule) for path in RULE_FILES for rule in rules(path) if "alert" in rule]
ids = [rule["alert"] for _, rule in ALERTS]
each_alert = pytest.mark.parametrize(("path", "rule"), ALERTS, ids=ids)


def expectations(rule_file, *, of, test_name=None):
    """What the tests of a rule file expect of an alert: one list of alerts for every look."""
    return [
        look["exp_alerts"]
        for path in TEST_FILES
        if f"../rules/{rule_file.name}" in read(path)["rule_files"]
        for test in read(path)["tests"]
        if test_name in (None, test["name"])
        for look in test["alert_rule_test"]
        if look["alertname"] == of
    ]


def anchors(path):
    """The anchors of a Markdown page, as GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def run_promtool(*arguments):
    return subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)


def test_there_are_rules_and_tests():
    assert ALERTS
    assert TEST_FILES


@promtool
@pytest.mark.parametrize("path", RULE_FILES, ids=lambda path: path.name)
def test_prometheus_takes_the_rules(path):
    done = run_promtool("check", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


@promtool
@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.name)
def test_the_alerts_do_what_their_tests_say(path):
    done = run_promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


@promtool
@pytest.mark.parametrize(
    ("good", "broken"),
    [
        ("vector(93600)", "vector(993600)"),
        ("== 1", "== 2"),
        ("absent(greenlight_backup_region_up)", "absent(greenlight_backup_regions_up)"),
        ("unless on (region)", "and on (region)"),
        ("for: 30m", "for: 5m"),
    ],
)
def test_a_broken_rule_is_found_by_the_tests(tmp_path, good, broken):
    for part in ("rules", "tests"):
        shutil.copytree(FOLDER / part, tmp_path / part)
    rule_file = tmp_path / "rules/backup.yml"
    text = rule_file.read_text()
    assert good in text
    rule_file.write_text(text.replace(good, broken))
    done = run_promtool("test", "rules", *sorted(tmp_path.glob("tests/backup*_test.yml")))
    assert done.returncode != 0


@each_alert
def test_every_alert_has_a_test_that_fires(path, rule):
    assert any(expectations(path, of=rule["alert"]))


@each_alert
def test_every_alert_is_quiet_when_all_is_well(path, rule):
    looks = expectations(path, of=rule["alert"], test_name=QUIET)
    assert looks
    assert not any(looks)


@each_alert
def test_every_alert_is_told_what_to_do_when_nothing_is_measured(path, rule):
    assert expectations(path, of=rule["alert"], test_name=NOTHING)


@pytest.mark.parametrize("path", RULE_FILES, ids=lambda path: path.name)
def test_missing_data_is_an_alert_of_its_own(path):
    names = {rule["alert"] for where, rule in ALERTS if where == path}
    assert any(any(expectations(path, of=name, test_name=NOTHING)) for name in names)


@each_alert
def test_every_alert_says_what_happened_how_bad_it_is_and_where_to_read_on(path, rule):
    assert rule["labels"]["severity"] in SEVERITIES
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert anchor == rule["alert"].lower()
    assert anchor in anchors(PROJECT / page)


@each_alert
def test_alerts_ask_for_metrics_that_exist(path, rule):
    assert metrics_in(rule["expr"])
    recorded = {one["record"] for one in rules(path) if "record" in one}
    assert not unknown_in(rule["expr"], recorded=recorded)


def test_no_two_alerts_share_a_name():
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("path", RULE_FILES, ids=lambda path: path.name)
def test_every_part_of_a_runbook_that_is_named_like_an_alert_belongs_to_one(path):
    """One whose alert is gone would be read by nobody."""
    text = Path(PROJECT / f"docs/runbooks/{path.stem}.md").read_text()
    headings = re.findall(r"^##+ ([A-Z][a-z]+(?:[A-Z][a-z]+)+)$", text, re.M)
    assert set(headings) == {rule["alert"] for where, rule in ALERTS if where == path}
