import io
import json
import logging

import pytest

from greenlight.core.logs import configure_logging


@pytest.fixture
def stream():
    root = logging.getLogger()
    before, level = root.handlers, root.level
    stream = io.StringIO()
    configure_logging(stream=stream)
    yield stream
    root.handlers, root.level = before, level


def test_every_record_is_one_json_line_with_time_level_logger_and_event(stream):
    logging.getLogger("greenlight.x").info("job %s\nended", "j1", extra={"job": "j1"})
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    record = json.loads(lines[0])
    assert record["event"] == "job j1\nended"
    assert (record["level"], record["logger"], record["job"]) == ("info", "greenlight.x", "j1")
    assert record["@timestamp"].endswith("Z")


def test_an_exception_stays_inside_its_line(stream):
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("x").exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: why" in json.loads(line)["exception"]


def test_configuring_twice_does_not_double_the_lines(stream):
    configure_logging(stream=stream)
    logging.getLogger("x").warning("once")
    assert len(stream.getvalue().splitlines()) == 1
