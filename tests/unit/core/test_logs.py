import io
import json
import logging
import re

import pytest

from greenlight.core.logs import configure_logging, labelled
from greenlight.core.traces import new_trace, within


class Log:
    def __init__(self):
        self.stream = io.StringIO()
        self.counts = configure_logging(service="greenlight-tested", stream=self.stream)
        (self.handler,) = logging.getLogger().handlers

    @property
    def lines(self):
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    @property
    def line(self):
        (found,) = self.lines
        return found


@pytest.fixture
def log():
    root = logging.getLogger()
    before, level = root.handlers, root.level
    yield Log()
    root.handlers, root.level = before, level


def test_every_record_is_one_line_with_the_names_of_the_elastic_common_schema(log):
    logging.getLogger("greenlight.x").info("job %s\nended", "j1", extra={"job": "j1", "n": 3})
    line = log.line
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["@timestamp"])
    assert line["message"] == "job j1\nended"
    assert (line["log.level"], line["log.logger"]) == ("info", "greenlight.x")
    assert (line["service.name"], line["ecs.version"]) == ("greenlight-tested", "8.11.0")
    assert (line["labels.job"], line["labels.n"]) == ("j1", "3")
    assert not {"trace.id", "error.type"} & set(line)


def test_an_exception_stays_inside_its_line(log):
    try:
        raise ValueError("why\nand how")
    except ValueError:
        logging.getLogger("x").exception("failed")
    line = log.line
    assert (line["error.type"], line["error.message"]) == ("ValueError", "why\nand how")
    assert "ValueError: why" in line["error.stack_trace"]


def test_a_line_knows_its_trace_and_its_run(log):
    trace = new_trace()
    with within(trace), labelled(run_id="r1"):
        logging.getLogger("x").info("inside")
    logging.getLogger("x").info("outside")
    inside, outside = log.lines
    assert (inside["trace.id"], inside["span.id"]) == (trace.trace_id, trace.span_id)
    assert inside["labels.run_id"] == "r1"
    assert not {"trace.id", "labels.run_id"} & set(outside)


@pytest.mark.parametrize(
    "text", ["\r\n", "\u2028\u2029\x85", "\x00\x1b[31m", '"}\n{"log.level": "info"', "ü" * 9]
)
def test_a_hostile_text_is_one_line_and_no_field_of_its_own(log, text):
    logging.getLogger("x").error("got %s", text, extra={"note": text})
    assert len(log.stream.getvalue().splitlines()) == 1
    assert log.stream.getvalue().isascii()
    assert log.line["log.level"] == "error"


def test_half_a_character_pair_which_elasticsearch_would_refuse_is_replaced(log):
    told = {"name": "x", "levelname": "ERROR", "msg": "got \ud800", "note": "\ud800"}
    log.handler.handle(logging.makeLogRecord(told))  # pytest can't carry what it would capture
    assert log.line["message"] == "got \ufffd"
    assert log.line["labels.note"] == "\ufffd"


def test_a_text_without_end_is_cut_and_said_to_be(log):
    logging.getLogger("x").info("%s", "a" * 1_000_000)
    assert len(log.line["message"]) < 20_000
    assert log.line["message"].endswith("more characters")


def test_what_can_not_be_rendered_is_said_in_a_line_of_its_own(log, capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [log.handler])  # without pytest's

    class Broken:
        def __str__(self):
            raise RuntimeError("no text")

    logging.getLogger("x").info("%d tokens", "many")
    logging.getLogger("x").info("%s", Broken())
    assert [line["log.level"] for line in log.lines] == ["error", "error"]
    assert "TypeError" in log.lines[0]["message"]
    assert "RuntimeError" in log.lines[1]["message"]
    assert capsys.readouterr() == ("", "")


def test_a_name_of_extra_becomes_a_word(log):
    logging.getLogger("x").info("hi", extra={"A.b c-D": 1, "password": "hunter2"})
    assert log.line["labels.a_b_c_d"] == "1"
    assert log.line["labels.password"] == "[redacted]"


def test_secrets_are_taken_out_of_every_part_of_a_line(log):
    try:
        raise ValueError("postgres://u:hunter2@db/x refused")
    except ValueError:
        logging.getLogger("x").exception("password=hunter2", extra={"dsn": "a://u:hunter2@h"})
    assert "hunter2" not in log.stream.getvalue()


def test_lines_are_counted_by_level(log):
    for level in (10, 20, 30, 30, 40, 50, 35):
        logging.getLogger("x").log(level, "a line")
    assert log.counts.by_level() == {
        "debug": 0, "info": 1, "warning": 2, "error": 1, "critical": 1, "other": 1,
    }  # fmt: skip


def test_configuring_twice_does_not_double_the_lines(log):
    again = Log()
    logging.getLogger("x").warning("once")
    assert (len(again.lines), len(log.lines)) == (1, 0)


def test_a_library_that_tells_at_length_is_heard_when_it_warns(log):
    logging.getLogger("great_expectations.inner").info("registering a method")
    logging.getLogger("great_expectations.inner").warning("a row is odd")
    assert log.line["message"] == "a row is odd"
