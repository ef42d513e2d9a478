"""Lines of every process through the ingest pipeline's steps into the strict index template.

Filebeat, Elasticsearch and Kibana can't be had here: `elastic_lines` and
`greenlight.testing.elastic_documents` do what their references say, for what is used.
"""

import io
import json
import logging
import os
import re
import subprocess
import sys

import pytest
import yaml
from elastic_lines import FOLDER, MAPPINGS, PIPELINE, shipped

from greenlight.core.errors import ConfigError
from greenlight.core.logs import EcsFormatter, configure_logging, labelled
from greenlight.core.settings import PROJECT
from greenlight.core.traces import new_trace, within
from greenlight.testing.elastic_documents import field_names, nested, refusal, run_pipeline

sys.path.insert(0, str(FOLDER))
from saved_objects import FILE, objects, text

TASK = (
    "/var/log/airflow/dag_id=deploy_blue_green/run_id=manual__2026-11-26T03:30:00+00:00"
    "/task_id=shift_and_analyse/map_index=0/attempt=1.log"
)


def kept(line, **options):
    """Return what is kept of a line; fails when the template refuses it."""
    made = run_pipeline(PIPELINE, shipped(line, **options))
    assert refusal(made, MAPPINGS) is None
    return made


@pytest.fixture
def logged(monkeypatch):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(EcsFormatter("greenlight-gateway"))
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    return lambda: stream.getvalue().splitlines()


def test_a_line_of_greenlight_has_its_place_in_ecs(logged):
    trace = new_trace()
    with within(trace), labelled(run_id="r1"):
        logging.getLogger("greenlight.x").error("it broke", extra={"fleet": "one"})
    (line,) = logged()
    made = kept(line)
    assert made["message"] == "it broke"
    assert made["log"]["level"] == "error"
    assert made["log"]["logger"] == "greenlight.x"
    assert made["service"]["name"] == "greenlight-gateway"
    assert made["trace"]["id"] == trace.trace_id
    assert made["labels"]["run_id"] == "r1"
    assert made["json"] == {
        "labels": {"run_id": "r1", "fleet": "one"}
    }  # found by json.labels.fleet
    assert made["@timestamp"] == json.loads(line)["@timestamp"]


def test_an_exception_keeps_its_trace_of_calls(logged):
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("x").exception("failed")
    made = kept(logged()[0])
    assert made["error"]["type"] == "ValueError"
    assert "ValueError: why" in made["error"]["stack_trace"]


def test_every_field_that_the_formatter_can_write_has_a_place(logged):
    with within(new_trace()), labelled(run_id="r", dag_id="d", task_id="t"):
        try:
            raise ValueError("why")
        except ValueError:
            logging.getLogger("x").exception("failed")
    written = {name for name in json.loads(logged()[0]) if not name.startswith("labels.")}
    assert written <= field_names(MAPPINGS)


def test_a_task_of_airflow_is_found_by_its_run_and_its_trace():
    line = {
        "timestamp": "2026-11-26T03:33:08.570062Z", "level": "INFO", "event": "rollout r: shift",
        "logger": "greenlight.entrypoints.rollout_hold", "filename": "rollout_hold.py",
        "lineno": 3, "map_index": 0, "ti_id": "01a2", "try_number": 1, "bundle_version": None,
        "task_id": "shift_and_analyse", "run_id": "manual__2026-11-26T03:30:00+00:00",
        "dag_id": "deploy_blue_green", "trace.id": "a" * 32, "labels.run_id": "manual__x",
        "error_detail": [{"exc_type": "E", "frames": [{"filename": "f", "lineno": 3}]}],
    }  # fmt: skip
    made = kept(json.dumps(line), path=TASK, service={"name": "airflow-task"})
    assert (made["message"], made["log"]["level"]) == ("rollout r: shift", "info")
    assert made["labels"]["dag_id"] == "deploy_blue_green"
    assert made["labels"]["run_id"] == "manual__x"
    assert made["trace"]["id"] == "a" * 32
    assert made["service"]["name"] == "airflow-task"
    assert made["@timestamp"] == "2026-11-26T03:33:08.570062Z"


def test_a_task_that_says_nothing_of_its_run_is_found_by_its_path():
    made = kept("Traceback (most recent call last):", path=TASK)
    assert made["labels"] == {
        "dag_id": "deploy_blue_green",
        "run_id": "manual__2026-11-26T03:30:00+00:00",
        "task_id": "shift_and_analyse",
    }


@pytest.mark.parametrize(
    "line",
    [
        "<134>127.0.0.1:4711 [26/Nov/2026:03:33:08.570] clients engines/gpu-1-blue 0/0/0/1/1 500",
        '{"@timestamp": "2026-11-26T03:33:08.570Z", "log.level": "WARN", "message": "high disk", '
        '"ecs.version": "1.2.0", "process.thread.name": "main", "elasticsearch.node.name": "n"}',
        '{"level": "info", "ts": 1764127988.5, "msg": "scrape", "caller": "x.go:1"}',
        '{"timestamp": "yesterday", "event": "e", "trace": "not an object", "labels": 3}',
        '{"log": "a text where we have an object", "message": "m"}',
        '{"process": {"pid": "many"}, "message": "m"}',
        '["a list"]',
        "\x00\x1b[31m",
        "",
    ],
)
def test_lines_of_others_are_kept_too(line):
    kept(line)


@pytest.mark.parametrize("name", ["message", "event", "msg"])
def test_whatever_it_is_called_what_a_line_says_is_its_message(name):
    assert kept(json.dumps({name: "what it says"}))["message"] == "what it says"


def test_what_can_not_be_read_is_kept_without_its_text():
    made = kept('{"message": {"password": "hunter2", "deep": ["hunter2"]}}')
    assert "hunter2" not in json.dumps(made)
    assert "could not read" in made["message"]
    assert "gsub" in made["error"]["message"] or "no text" in made["error"]["message"]


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "x", "authorization": "Bearer hunter2", "password": "hunter2"}',
        '{"message": "x", "prompt": "hunter2", "messages": [{"content": "hunter2"}]}',
        '{"message": "x", "headers": {"Cookie": "hunter2"}, "token": "hunter2"}',
        "asked postgres://u:hunter2@db/x",
        'sent {"password": "hunter2"}',
        "Authorization: Bearer hunter2hunter2",
        '{"error": {"message": "api_key=hunter2", "stack_trace": "token: hunter2"}, "event": "e"}',
        'asked {"prompt": "hunter2 and more", "n": 1}',
    ],
)
def test_what_no_log_should_hold_is_taken_out_on_the_way(line):
    assert "hunter2" not in json.dumps(kept(line))


def test_addresses_stay_readable():
    line = "GET http://127.0.0.1:8080/v1/models answered 200"
    assert kept(line)["message"] == line


def test_a_real_process_writes_lines_that_are_taken(tmp_path):
    program = (
        "import logging, sys\n"
        "from greenlight.testing.engine_simulator import read_arguments\n"
        "from greenlight.core.logs import configure_logging\n"
        "configure_logging(service='greenlight-engine')\n"
        "logging.getLogger('greenlight.x').info('from %s\\nhere', 'a process', extra={'a': 1})\n"
        "logging.getLogger('greenlight.x').info('%d', 'wrong')\n"
        "try:\n    read_arguments(['--port', 'none'])\n"
        "except SystemExit:\n    logging.getLogger('y').exception('refused')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "include")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True,
        text=True, timeout=60, check=True,
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if line.startswith("{")]
    assert [kept(line)["log"]["level"] for line in lines] == ["info", "error", "error"]
    assert {kept(line)["service"]["name"] for line in lines} == {"greenlight-engine"}


def test_a_field_without_a_place_would_be_refused():
    made = kept("a line")
    assert "not allowed" in str(refusal(made | {"surprise": 1}, MAPPINGS))
    assert "not allowed" in str(refusal(made | {"log": {"surprise": 1}}, MAPPINGS))
    assert "failed to parse" in str(refusal(made | {"trace": {"id": {"a": 1}}}, MAPPINGS))
    assert "failed to parse" in str(refusal(made | {"@timestamp": "yesterday"}, MAPPINGS))
    assert "failed to parse" in str(refusal(made | {"json": "text"}, MAPPINGS))


def test_a_step_that_is_not_known_here_is_no_step():
    for processor in ({"grok": {"field": "message"}}, {"set": {"field": "a", "if": "true"}}):
        with pytest.raises(ConfigError, match="not known here"):
            run_pipeline({"processors": [processor]}, {})


def test_what_the_pipeline_keeps_is_what_the_template_has():
    last = PIPELINE["processors"][-1]["remove"]["keep"]
    assert set(last) == field_names(MAPPINGS)


def test_a_line_whose_processing_fails_is_cut_before_it_is_kept():
    (cut,) = [one["remove"]["keep"] for one in PIPELINE["on_failure"] if "remove" in one]
    assert set(cut) <= field_names(MAPPINGS)
    assert not {"json", "error.stack_trace"} & set(cut)


def test_filebeat_parses_json_where_the_pipeline_looks_for_it():
    beat = yaml.safe_load((FOLDER / "filebeat.yml").read_text())
    for one in beat["filebeat.inputs"]:
        (parser,) = [p["ndjson"] for p in one["parsers"] if "ndjson" in p]
        assert (parser["target"], parser["expand_keys"]) == ("json", True)
    refused = beat["output.elasticsearch"]["non_indexable_policy.dead_letter_index"]["index"]
    template = json.loads((FOLDER / "rejected-template.json").read_text())
    assert template["index_patterns"] == [refused]
    assert refused in (FOLDER / "prepare").read_text()


def test_the_saved_objects_are_what_their_module_says():
    assert FILE.read_text() == text(), "run monitoring/elastic/saved_objects.py and commit"


def test_the_saved_objects_hang_together():
    made = objects()
    names = {(one["type"], one["id"]) for one in made}
    assert len(names) == len(made)
    for one in made:
        assert {(r["type"], r["id"]) for r in one["references"]} <= names
        assert one["attributes"]["title"]
    (board,) = [one for one in made if one["type"] == "dashboard"]
    panels = json.loads(board["attributes"]["panelsJSON"])
    assert [p["panelRefName"] for p in panels] == [r["name"] for r in board["references"]]


def test_kibana_is_asked_for_fields_that_the_template_has():
    fields = field_names(MAPPINGS)
    asked = set()
    for one in objects():
        asked |= set(one["attributes"].get("columns", []))
        for aggregation in json.loads(one["attributes"].get("visState", "{}")).get("aggs", []):
            asked |= {aggregation["params"]["field"]} if "field" in aggregation["params"] else set()
        source = one["attributes"].get("kibanaSavedObjectMeta", {}).get("searchSourceJSON", "{}")
        query = json.loads(source).get("query", {}).get("query", "")
        asked |= set(re.findall(r"([\w.@]+) :", query))
    assert asked
    assert asked <= fields


def test_dotted_names_are_objects_to_elasticsearch():
    assert nested({"a.b": 1, "a": {"c": 2}, "d": {"e.f": 3}}) == {
        "a": {"b": 1, "c": 2}, "d": {"e": {"f": 3}},
    }  # fmt: skip


def test_logging_here_is_logging_there():
    """`configure_logging` renders with the formatter that the tests above use."""
    stream, root = io.StringIO(), logging.getLogger()
    before, level = root.handlers, root.level
    try:
        configure_logging(service="s", stream=stream)
        logging.getLogger("x").warning("w")
    finally:
        root.handlers, root.level = before, level
    assert kept(stream.getvalue().rstrip("\n"))["service"]["name"] == "s"
