"""Our lines over `_bulk` to a strict stand-in: refusals, retries, back-pressure, a real shipper.

Filebeat and Elasticsearch can't be had here. `Shipper` does what Filebeat's reference says of its
output, so that the stand-in is used as it will be; rsyslog's own module for Elasticsearch, where it
is installed, is a shipper that nobody wrote for this test.
"""

from __future__ import annotations

import io
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from greenlight.adapters.processes import LeashedProcess
from greenlight.core.logs import EcsFormatter, labelled
from greenlight.core.settings import PROJECT
from greenlight.testing.elastic_sink import ElasticSink, elastic_sink
from greenlight.testing.servers import free_port
from greenlight.testing.waiting import wait_for

sys.path.insert(0, str(PROJECT / "tests/monitoring"))
from elastic_lines import MAPPINGS, PIPELINE, STREAM, shipped

LOGIN = ("filebeat", "a-long-password")
WRONG = {"@timestamp": "never", "message": "of no time"}
eventually = partial(wait_for, seconds=30)
a_sink = partial(elastic_sink, stream=STREAM, mappings=MAPPINGS, pipeline=PIPELINE, login=LOGIN)


class Shipper:
    """Sends in batches, one after the other; what can't be kept goes to `dead_letters`.

    A busy server is asked again, later each time, and nothing behind it is read meanwhile.
    """

    def __init__(self, url: str, *, batch: int = 10) -> None:
        self.dead_letters: list[tuple[str, dict[str, Any]]] = []
        self.pauses: list[float] = []
        self._url, self._batch = url, batch

    def send(self, documents: list[dict[str, Any]]) -> None:
        for start in range(0, len(documents), self._batch):
            waiting, pause = documents[start : start + self._batch], 0.01
            while waiting := self._once(waiting):
                self.pauses.append(pause)
                time.sleep(pause)
                pause = min(2 * pause, 0.2)

    def _once(self, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return what must be sent again."""
        answer = bulk(self._url, documents)
        if answer.status_code == 429:
            return documents
        again = []
        for document, item in zip(documents, answer.json()["items"], strict=True):
            if item["create"]["status"] == 429:
                again.append(document)
            elif item["create"]["status"] >= 400:
                self.dead_letters.append((item["create"]["error"]["reason"], document))
        return again


def bulk(url: str, documents: list[dict[str, Any]], **options: Any) -> httpx.Response:
    lines = [json.dumps(one) for pair in documents for one in ({"create": {}}, pair)]
    content = options.pop("content", "\n".join([*lines, ""]).encode())
    headers = {"Content-Type": "application/x-ndjson"} | options.pop("headers", {})
    path = options.pop("path", f"/{STREAM}/_bulk")
    auth = options.pop("auth", LOGIN)
    return httpx.post(f"{url}{path}", content=content, headers=headers, auth=auth, trust_env=False)


@pytest.fixture
def sink() -> Iterator[ElasticSink]:
    with a_sink() as found:
        yield found


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two hundred lines as our processes write them, hostile ones among them."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(EcsFormatter("greenlight-gateway"))
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    with labelled(run_id="r1"):
        for number in range(200):
            logging.getLogger("greenlight.x").warning('line %d"}\n\u2028{', number)
    return stream.getvalue().splitlines()


def test_every_line_arrives_though_the_server_is_busy_now_and_then(
    sink: ElasticSink, lines: list[str]
) -> None:
    sink.busy_requests, sink.busy_documents = 3, 17
    shipper = Shipper(sink.url)
    shipper.send([shipped(line) for line in lines])
    assert sorted(one["message"] for one in sink.kept) == sorted(
        json.loads(line)["message"] for line in lines
    )
    assert len(shipper.pauses) >= 4
    assert shipper.dead_letters == []


def test_while_the_server_is_busy_nothing_more_is_read(sink: ElasticSink, lines: list[str]) -> None:
    sink.busy_requests = 5
    shipper = Shipper(sink.url, batch=50)
    shipper.send([shipped(line) for line in lines[:50]])
    assert shipper.pauses == [0.01, 0.02, 0.04, 0.08, 0.16]
    assert sink.requests == 6
    assert len(sink.kept) == 50


def test_a_document_that_is_refused_is_put_aside_and_the_others_are_kept(
    sink: ElasticSink, lines: list[str]
) -> None:
    shipper = Shipper(sink.url)
    shipper.send([shipped(lines[0]), WRONG, shipped(lines[1])])
    assert len(sink.kept) == 2
    ((why, document),) = shipper.dead_letters
    assert "[@timestamp]" in why
    assert document == WRONG


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"auth": ("filebeat", "guessed")}, 401),
        ({"path": "/another/_bulk"}, 404),
        ({"headers": {"Content-Type": "text/plain"}}, 406),
        ({"content": b'{"create": {}}\n{"@timestamp": "2026-11-26T03:00:00Z"}'}, 400),
        ({"content": b"no json\n"}, 400),
        ({"content": b'{"create": {}}\n'}, 400),
        ({"content": b'{"message": "an action is missing"}\n{}\n'}, 400),
    ],
)
def test_what_elasticsearch_would_not_read_is_not_read(
    sink: ElasticSink, options: dict[str, Any], status: int
) -> None:
    assert bulk(sink.url, [shipped("x")], **options).status_code == status
    assert sink.kept == []


def test_too_long_a_request_is_refused_whole() -> None:
    with a_sink(most_bytes=1000) as sink:
        assert bulk(sink.url, [shipped("x" * 2000)]).status_code == 413


def test_a_data_stream_takes_new_documents_only(sink: ElasticSink) -> None:
    content = b'{"index": {}}\n{"@timestamp": "2026-11-26T03:00:00Z"}\n'
    (item,) = bulk(sink.url, [], content=content).json()["items"]
    assert item["index"]["status"] == 400


@pytest.mark.skipif(shutil.which("rsyslogd") is None, reason="rsyslog-elasticsearch is missing")
def test_a_real_shipper_waits_for_the_server_and_loses_nothing(
    tmp_path: Path, lines: list[str]
) -> None:
    port, log = free_port(), tmp_path / "greenlight.log"
    log.write_text("")
    with rsyslog(log, port=port) as refused:
        documents = [*(shipped(line) for line in lines), WRONG]
        with log.open("a") as file:
            file.writelines(json.dumps(document) + "\n" for document in documents)
        time.sleep(2)  # it has tried, and holds what it read
        with a_sink(port=port) as sink:
            eventually(lambda: len(sink.kept) == len(lines) and sink.refused)
            eventually(lambda: refused.exists() and "@timestamp" in refused.read_text())
            assert len({one["message"] for one in sink.kept}) == len(lines)


@contextmanager
def rsyslog(log: Path, *, port: int) -> Iterator[Path]:
    """Ship a file's lines, each a document; yield where refused ones are written."""
    if not any(Path("/usr/lib").glob("**/rsyslog/omelasticsearch.so")):
        pytest.skip("rsyslog-elasticsearch is missing")
    folder = Path(tempfile.mkdtemp(prefix="rsyslog-", dir="/tmp"))  # it takes no blank in a path
    config = folder / "rsyslog.conf"
    config.write_text(f"""
module(load="imfile" mode="inotify")
module(load="omelasticsearch")
global(workDirectory="{folder}" maxMessageSize="64k")
template(name="document" type="string" string="%msg%")
template(name="id" type="string" string="%uuid%")
ruleset(name="ship") {{
  action(type="omelasticsearch" server="127.0.0.1" serverport="{port}"
    uid="{LOGIN[0]}" pwd="{LOGIN[1]}" searchIndex="{STREAM}" searchType="" bulkmode="on"
    writeoperation="create" bulkid="id" dynbulkid="on" template="document"
    errorFile="{folder}/refused.json" action.resumeretrycount="-1" action.resumeinterval="1"
    queue.type="LinkedList" queue.size="10000" queue.dequeuebatchsize="50")
}}
input(type="imfile" File="{log}" Tag="greenlight" ruleset="ship")
""")
    command = ["rsyslogd", "-n", "-f", str(config), "-i", str(folder / "pid")]
    try:
        with (
            (folder / "log").open("wb") as output,
            LeashedProcess(command, stdout=output, stderr=output, cwd=folder),
        ):
            yield folder / "refused.json"
    finally:
        shutil.rmtree(folder)
